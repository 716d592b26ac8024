"""The model of a transport, between two hosts without nodes."""

from __future__ import annotations

from collections import Counter

import pytest

from livestream.machine import MILLISECOND, SECOND, Address
from livestream.sim.connection import ModelConnection
from livestream.sim.host import Host, Internet
from livestream.sim.links import (
    ACK_BYTES,
    DATAGRAM_BYTES,
    DATAGRAM_OVERHEAD,
    FRAME_BYTES,
    PREFIX_BYTES,
    Access,
    Path,
    wire_size,
)
from livestream.sim.world import World
from livestream.transport.connection import (
    Connected,
    ConnectionEvent,
    Disconnected,
    MessageReceived,
)

DELAY_US = 20 * MILLISECOND
FOREVER = 1 << 60


class Pair:
    """Two hosts, and a connection from the first to the second."""

    def __init__(self, *, loss: float = 0.0, uplink_bps: int = 8_000_000, seed: int = 1) -> None:
        self.world = World(seed)
        path = Path(DELAY_US, DELAY_US, jitter_us=0, loss=loss)
        self.internet = Internet(self.world, path, seed)
        access = Access(uplink_bps)
        self.caller = self.internet.add(1, access, b"\x01" * 32)
        self.called = self.internet.add(2, access, b"\x02" * 32)
        self.connection = self.caller.connect(self.called.address, self.world.now)

    def run(self, duration_us: int = SECOND) -> None:
        self.caller.settle(self.world.now)
        self.called.settle(self.world.now)
        self.world.run_until(self.world.now + duration_us)

    def connect(self) -> ModelConnection:
        """Bring both ends up; returns the end of who was called."""
        self.run()
        self.connection.send(b"hello")
        self.run()
        self.events(self.caller)
        return self.called_end(self.events(self.called))

    @staticmethod
    def events(host: Host) -> list[ConnectionEvent]:
        found = []
        while (event := host.next_event()) is not None:
            found.append(event)
        return found

    @staticmethod
    def called_end(events: list[ConnectionEvent]) -> ModelConnection:
        end = events[0].connection
        assert isinstance(end, ModelConnection)
        return end

    def received(self, host: Host) -> list[bytes]:
        return [
            each.event.data for each in self.events(host) if isinstance(each.event, MessageReceived)
        ]


def test_both_ends_learn_each_others_keys() -> None:
    pair = Pair()
    pair.run()
    assert [each.event for each in pair.events(pair.caller)] == [Connected(b"\x02" * 32)]
    assert pair.events(pair.called) == [], "the called end is up when it hears from the caller"
    pair.connection.send(b"hello")
    pair.run()
    events = [each.event for each in pair.events(pair.called)]
    assert events == [Connected(b"\x01" * 32), MessageReceived(b"hello")]


def test_who_is_not_there_does_not_answer() -> None:
    pair = Pair()
    lonely = pair.caller.connect(Address("45.9.9.9", 4000), pair.world.now)
    pair.run(6 * SECOND)
    events = [each.event for each in pair.events(pair.caller) if each.connection is lonely]
    assert events == [Disconnected("no answer", is_local=False)]


def test_ordered_messages_arrive_in_order_despite_loss() -> None:
    for seed in range(5):
        pair = Pair(loss=0.2, seed=seed)
        pair.connect()
        sent = [b"%d" % number + bytes(900) for number in range(100)]
        for message in sent:
            pair.connection.send(message)
        pair.run(20 * SECOND)
        assert pair.received(pair.called) == sent, f"seed {seed}"


def test_a_lost_last_datagram_shows_only_by_a_probe() -> None:
    pair = Pair(loss=0.03, uplink_bps=80_000_000)
    pair.connect()
    took: Counter[int] = Counter()
    for _ in range(4_000):
        began_at = pair.world.now
        pair.connection.send_independent(bytes(4 * DATAGRAM_BYTES), FOREVER)
        pair.caller.settle(began_at)
        while not pair.received(pair.called):
            pair.world.run_until(pair.world.now + MILLISECOND)
        took[(pair.world.now - began_at - DELAY_US) // MILLISECOND] += 1
    in_time, repeated = took.most_common(3)[0], took.most_common(3)[1:]
    assert in_time[0] <= 1
    assert in_time[1] == pytest.approx(4_000 * 0.97**4, rel=0.05)
    # 9/8 of a round trip, and for one in four that were lost one of them and 50 ms.
    (sooner_ms, sooner), (later_ms, later) = repeated
    assert sooner_ms - in_time[0] == 45
    assert later_ms - in_time[0] == 90
    assert later / (sooner + later) == pytest.approx(1 / 4, abs=0.08)


def test_the_backlog_goes_down_as_the_uplink_takes_it() -> None:
    pair = Pair(uplink_bps=800_000)  # 100 bytes a millisecond.
    pair.connect()
    for _ in range(4):
        pair.connection.send_independent(bytes(10_000), FOREVER)
    assert pair.connection.backlog_bytes == 40_000
    pair.run(10 * MILLISECOND)
    assert pair.connection.backlog_bytes == 30_000, "the queue at the uplink stays short"
    pair.run(SECOND)
    assert pair.connection.backlog_bytes == 0
    assert len(pair.received(pair.called)) == 4


def test_what_is_too_late_does_not_leave() -> None:
    pair = Pair(uplink_bps=800_000)
    pair.connect()
    deadline = pair.world.now + 50 * MILLISECOND
    for number in range(4):
        pair.connection.send_independent(bytes([number]) + bytes(10_000), deadline)
    pair.run()
    assert [message[0] for message in pair.received(pair.called)] == [0]
    assert pair.connection.backlog_bytes == 0


def test_a_partition_fills_the_queue_of_who_sends() -> None:
    pair = Pair()
    pair.connect()
    pair.internet.paths.split({2: 1})
    for _ in range(40):
        pair.connection.send_independent(bytes(8_000), FOREVER)
    pair.run(5 * SECOND)
    assert pair.received(pair.called) == []
    assert pair.connection.backlog_bytes > 200_000, "nothing is acknowledged"


def test_the_other_end_hears_of_a_goodbye() -> None:
    pair = Pair()
    pair.connect()
    pair.connection.close("enough", pair.world.now)
    pair.run()
    own = [each.event for each in pair.events(pair.caller)]
    theirs = [each.event for each in pair.events(pair.called)]
    assert own == [Disconnected("enough", is_local=True)]
    assert theirs == [Disconnected("enough", is_local=False)]


def test_two_connections_share_an_uplink_in_turns() -> None:
    pair = Pair(uplink_bps=800_000)
    pair.connect()
    other = pair.internet.add(3, Access(800_000), b"\x03" * 32)
    second = pair.caller.connect(other.address, pair.world.now)
    pair.run()
    for _ in range(10):
        pair.connection.send_independent(bytes(8_000), FOREVER)
        second.send_independent(bytes(8_000), FOREVER)
    pair.run(SECOND)
    counts = len(pair.received(pair.called)), len(pair.received(other))
    assert abs(counts[0] - counts[1]) <= 1, counts
    assert sum(counts) >= 10


def test_what_can_wait_goes_with_a_piece_or_an_acknowledgement_and_else_alone() -> None:
    """Each saves a datagram: that is what an uplink has left for others."""
    pair = Pair()
    called = pair.connect()
    costs: list[int] = []
    sent: list[int] = []
    for companion in ("piece", "acknowledgement", "none"):
        pair.events(pair.called)
        before, sent_before = pair.caller.control_bytes_out, pair.caller.uplink.bytes_out
        by = pair.world.now + SECOND // 4
        pair.connection.send_later(b"status", by)
        if companion == "piece":
            pair.connection.send_independent(bytes(1_000), FOREVER)
        elif companion == "acknowledgement":
            called.send_independent(bytes(1_000), FOREVER)
        pair.run(SECOND // 5)
        is_there = b"status" in pair.received(pair.called)
        assert is_there is (companion != "none")
        pair.run()
        assert is_there or pair.received(pair.called) == [b"status"]
        costs.append(pair.caller.control_bytes_out - before)
        sent.append(pair.caller.uplink.bytes_out - sent_before)
    along = 6 + FRAME_BYTES + PREFIX_BYTES
    alone = 6 + PREFIX_BYTES + DATAGRAM_OVERHEAD
    assert costs == [along, along, alone]
    assert sent == [wire_size(1_000) + along, ACK_BYTES + along, alone]


def test_what_must_go_sooner_takes_along_what_waits() -> None:
    pair = Pair()
    pair.connect()
    began = pair.world.now
    pair.connection.send_later(b"status", began + SECOND)
    pair.connection.send_later(b"window", began + SECOND // 20)
    pair.run(SECOND // 10)
    assert pair.received(pair.called) == [b"status", b"window"]


def test_what_goes_along_with_pieces_stays_in_order_despite_loss() -> None:
    pair = Pair(loss=0.3)
    pair.connect()
    wanted = []
    for number in range(100):
        wanted += [b"later %d" % number, b"now %d" % number]
        pair.connection.send_later(wanted[-2], pair.world.now + SECOND // 4)
        pair.connection.send_independent(bytes(8_000), FOREVER)
        pair.run(SECOND // 50)
        pair.connection.send(wanted[-1])
        pair.run(SECOND // 50)
    pair.run(20 * SECOND)
    assert [each for each in pair.received(pair.called) if len(each) < 100] == wanted


def test_what_waits_is_not_overtaken() -> None:
    pair = Pair()
    pair.connect()
    pair.connection.send_later(b"first", pair.world.now + SECOND)
    pair.connection.send(b"second")
    pair.run()
    assert pair.received(pair.called) == [b"first", b"second"]
