"""When QUIC acknowledges: seldom, but at once where something may be lost, or much has come."""

from __future__ import annotations

import pytest

from livestream.machine import MILLISECOND, SECOND, Address, Train
from livestream.transport.quic import Quic
from tests.transport.test_endpoint import HERE, THERE, Pair
from tests.world import Link, World

LINK = Link(delay_us=20 * MILLISECOND)


class Wire(World):
    """Notes what departs; loses the datagrams of `HERE` whose turns are in `lost`."""

    def __init__(self) -> None:
        super().__init__(1, LINK)
        self.departed: dict[Address, list[int]] = {}
        "When each datagram of an address left."
        self.lost: set[int] = set()

    def depart(self, source: Address, train: Train) -> None:
        times = self.departed.setdefault(source, [])
        for datagram in train.datagrams():
            times.append(self.now)
            if source != HERE or len(times) - 1 not in self.lost:
                super().depart(source, Train(train.address, datagram, len(datagram)))


def quiet_pair() -> tuple[Pair, Wire]:
    """Two who are connected and have nothing to say."""
    wire = Wire()
    pair = Pair(world=wire)
    pair.run(3)
    assert pair.server is not None
    wire.departed.clear()
    return pair, wire


def test_what_comes_within_twenty_five_milliseconds_is_acknowledged_together() -> None:
    """Else a twentieth of what a viewer receives goes out of the uplink that feeds others."""
    pair, wire = quiet_pair()
    for _ in range(100):
        pair.client.send_independent(bytes(200), wire.now + SECOND)
        pair.run(0.002)
    pair.run(0.1)
    assert len(wire.departed[HERE]) >= 100
    assert 6 <= len(wire.departed[THERE]) <= 12, "200 ms, in steps of 25"
    assert len(pair.messages("server")) == 100


def test_a_gap_is_acknowledged_at_once() -> None:
    pair, wire = quiet_pair()
    wire.lost = {1}
    began = wire.now
    for _ in range(3):
        pair.client.send_independent(bytes(200), wire.now + SECOND)
        pair.run(0.005)
    pair.run(0.030)
    assert wire.departed[THERE][0] == began + 10 * MILLISECOND + LINK.delay_us


def test_what_was_overtaken_is_acknowledged_at_once() -> None:
    pair, wire = quiet_pair()
    for delay_us in (30_000, 20_000):
        wire.link = Link(delay_us=delay_us)
        pair.client.send_independent(bytes(200), wire.now + SECOND)
        pair.run(0.001)
    pair.run(0.035)
    times = wire.departed[THERE]
    assert len(times) == 2, "the gap, and what fills it"
    assert times[1] - times[0] == 9 * MILLISECOND


def test_a_piece_is_acknowledged_with_its_last_datagram() -> None:
    """A quick line must not wait 25 ms for each round of slow start."""
    pair, wire = quiet_pair()
    began = wire.now
    pair.client.send_independent(bytes(8_284), wire.now + SECOND)
    pair.run(0.1)
    assert wire.departed[HERE][-1] < began + 2 * LINK.delay_us, "all of it in the first window"
    assert wire.departed[THERE] == [wire.departed[HERE][-1] + LINK.delay_us]


def test_the_wait_of_an_acknowledgement_is_not_taken_for_a_queue() -> None:
    """A lone message is answered 25 ms late: as long as LEDBAT's whole target."""
    pair, wire = quiet_pair()
    for _ in range(40):
        pair.client.send_independent(bytes(300), wire.now + SECOND)
        pair.run(0.1)
    assert isinstance(pair.client, Quic)
    assert pair.client._quic.ledbat.queuing_delay_us < 3 * MILLISECOND


def test_what_goes_anyway_takes_an_acknowledgement_along() -> None:
    """Where both sides send, half of the datagrams would be acknowledgements."""
    pair, wire = quiet_pair()
    assert pair.server is not None
    pair.client.send_independent(bytes(200), wire.now + SECOND)
    pair.run(0.022)  # It has just come.
    pair.server.send_independent(bytes(200), wire.now + SECOND)
    pair.run(0.200)
    assert len(wire.departed[THERE]) == 1
    assert len(pair.messages("client")) == len(pair.messages("server")) == 1


def test_no_second_datagram_goes_for_an_acknowledgement_that_can_wait() -> None:
    pair, wire = quiet_pair()
    assert isinstance(pair.client, Quic)
    assert pair.server is not None
    pair.client.send_independent(bytes(200), wire.now + SECOND)
    pair.run(0.022)
    full_bytes = pair.client.datagram_bytes - 7 - 16 - 3  # Less header, tag and frame.
    pair.server.send_independent(bytes(full_bytes), wire.now + SECOND)
    pair.run(0.010)
    assert len(wire.departed[THERE]) == 1
    pair.run(0.200)
    assert len(wire.departed[THERE]) == 2


class SlowReaders(Wire):
    """Each looks at its socket so long after a datagram came, and knows it."""

    waited_us = 0

    def fly(self, at: int, to: Address, train: Train) -> None:
        train.waited_us = self.waited_us
        super().fly(at + self.waited_us, to, train)


def test_what_a_datagram_waited_in_the_socket_is_no_round_trip() -> None:
    """Else a machine that rests between turns would take its rests for queues."""
    world = SlowReaders()
    pair = Pair(world=world)
    pair.run(1)
    world.waited_us = 10 * MILLISECOND
    for _ in range(20):
        pair.client.send_independent(bytes(200), world.now + SECOND)
        pair.run(0.1)
    assert pair.client.rtt_us == pytest.approx(2 * LINK.delay_us, abs=MILLISECOND)


def test_what_is_not_acknowledged_is_told_from_when_it_left() -> None:
    pair, wire = quiet_pair()
    pair.client.keep_alive()
    seen = []
    for _ in range(2):
        pair.run(0.100)
        seen.append(pair.client.unanswered_at)
        pair.client.keep_alive()
        pair.run(0.010)
        seen.append(pair.client.unanswered_at)
    assert seen[0] is seen[2] is None
    for since, left_at in zip(seen[1::2], wire.departed[HERE][1:], strict=True):
        assert since is not None
        assert abs(since - left_at) <= 1
    assert len(wire.departed[THERE]) == 2, "an acknowledgement each"


def test_nothing_is_acknowledged_where_nobody_is() -> None:
    """Though it is asked for again and again, the time counts from the first."""
    pair, wire = quiet_pair()
    wire.lost = set(range(100))
    for _ in range(5):
        pair.client.keep_alive()
        pair.run(0.2)
    since = pair.client.unanswered_at
    assert since is not None
    assert wire.now - since >= 980 * MILLISECOND


def test_whoever_acknowledges_anything_is_there_whatever_was_lost() -> None:
    pair, wire = quiet_pair()
    wire.lost = {0, 3, 6, 9, 12}
    for _ in range(15):
        pair.client.send_independent(bytes(200), wire.now + SECOND)
        pair.run(0.05)
        since = pair.client.unanswered_at
        assert since is None or wire.now - since < 200 * MILLISECOND


def test_who_answers_late_answers() -> None:
    """A queue of 300 ms: each probe timeout takes for lost what is acknowledged after it."""
    pair, wire = quiet_pair()
    pair.client.send_independent(bytes(200), wire.now + SECOND)
    pair.run(0.2)
    wire.link = Link(delay_us=170 * MILLISECOND)
    longest_us = 0
    pair.client.keep_alive()
    for _ in range(100):
        pair.run(0.01)
        since = pair.client.unanswered_at
        longest_us = max(longest_us, 0 if since is None else wire.now - since)
    assert longest_us < 450 * MILLISECOND


def test_a_lost_ping_that_is_not_repeated_does_not_count_for_ever() -> None:
    pair, wire = quiet_pair()
    wire.lost = {0}
    pair.client.keep_alive()
    pair.run(0.01)
    pair.client.send_independent(bytes(200), wire.now + SECOND)
    pair.run(1)
    assert pair.client.unanswered_at is None


def test_after_the_handshake_nothing_is_unanswered() -> None:
    pair, _ = quiet_pair()
    assert pair.client.unanswered_at is None
    assert pair.server is not None
    assert pair.server.unanswered_at is None
