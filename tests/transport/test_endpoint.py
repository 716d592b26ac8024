"""Two endpoints in virtual time: who they are, what arrives, what is refused."""

from __future__ import annotations

from random import Random

from aioquic.quic.connection import QuicConnection
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.config import TransportConfig
from livestream.machine import SECOND, Address, Event, Train
from livestream.swarm.rates import TokenBucket
from livestream.transport.connection import (
    Connected,
    Connection,
    Disconnected,
    MessageReceived,
)
from livestream.transport.pathsize import DATAGRAM_BYTES
from livestream.transport.quic import Quic, QuicTransport
from livestream.transport.quics import QuicEndpoint
from tests.transport.identity import identity
from tests.world import Link, World

HERE, THERE = Address("192.0.2.1", 1000), Address("192.0.2.2", 2000)
GREETING = b"\x13BitTorrent protocol" + bytes(48)


class Pair:
    """Two endpoints, joined; `client` has called `server`."""

    def __init__(
        self, seed: int = 1, link: Link | None = None, *, world: World | None = None
    ) -> None:
        self.world = world or World(seed, link or Link())
        config = TransportConfig()
        self.client_end = QuicEndpoint(identity(1), config, Random(seed))
        self.server_end = QuicEndpoint(identity(2), config, Random(seed))
        self.world.add(HERE, self.client_end)
        self.world.add(THERE, self.server_end)
        self.events: dict[str, list[Event]] = {"client": [], "server": []}
        self.server: Connection | None = None
        self.client = self.client_end.connect(THERE, self.world.now)

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.world.run_until(self.world.now + int(seconds * SECOND), self._collect)

    def messages(self, side: str) -> list[bytes]:
        """Return the messages that a side got."""
        return [event.data for event in self.events[side] if isinstance(event, MessageReceived)]

    def _collect(self) -> None:
        while (report := self.client_end.next_event()) is not None:
            self.events["client"].append(report.event)
        while (report := self.server_end.next_event()) is not None:
            self.server = report.connection
            self.events["server"].append(report.event)


def connected(seed: int = 1, link: Link | None = None) -> tuple[Pair, Connection]:
    pair = Pair(seed, link)
    pair.run(3)
    assert pair.server is not None
    return pair, pair.server


def test_both_sides_learn_the_other_ones_key() -> None:
    pair, _ = connected()
    assert pair.events["client"] == [Connected(identity(2).public_key)]
    assert pair.events["server"] == [Connected(identity(1).public_key)]


def test_ordered_messages_arrive_in_order_both_ways_despite_loss() -> None:
    for seed in range(5):
        pair, server = connected(seed, Link(jitter_us=5_000, loss=0.1))
        wanted = [GREETING] + [bytes([number]) * (number * 50 + 1) for number in range(30)]
        for message in wanted:
            pair.client.send(message)
            server.send(message)
        pair.run(20)
        assert pair.messages("server") == wanted, f"seed {seed}"
        assert pair.messages("client") == wanted, f"seed {seed}"


def test_independent_messages_all_arrive_whole_despite_loss() -> None:
    for seed in range(5):
        pair, _ = connected(seed, Link(loss=0.1))
        wanted = [bytes([number]) * 8_000 for number in range(40)]
        for message in wanted:
            pair.client.send_independent(message, pair.world.now + 30 * SECOND)
        pair.run(20)
        assert sorted(pair.messages("server")) == wanted, f"seed {seed}"


def test_an_independent_message_past_its_deadline_is_cancelled() -> None:
    pair, _ = connected()
    for _ in range(40):
        pair.client.send_independent(bytes(8_000), pair.world.now + SECOND // 20)
    pair.run(10)
    assert len(pair.messages("server")) < 40
    assert pair.client.backlog_bytes == 0
    pair.client.send_independent(b"\x01still alive", pair.world.now + SECOND)
    pair.run(1)
    assert pair.messages("server")[-1] == b"\x01still alive"


def test_backlog_tells_what_has_not_left() -> None:
    pair, _ = connected()
    pair.client.send_independent(bytes(200_000), pair.world.now + 60 * SECOND)
    assert pair.client.backlog_bytes >= 200_000
    pair.run(10)
    assert pair.client.backlog_bytes == 0


def test_an_oversized_message_closes_the_connection() -> None:
    pair, _ = connected()
    pair.client.send(GREETING)
    pair.client.send(bytes((1 << 20) + 1))
    pair.run(10)
    assert any(isinstance(event, Disconnected) for event in pair.events["server"])


def test_closing_is_reported_once_on_each_side_with_its_reason() -> None:
    pair, _ = connected()
    pair.client.close("enough", pair.world.now)
    pair.run(5)
    assert pair.events["client"][-1] == Disconnected("enough", is_local=True)
    assert pair.events["server"][-1] == Disconnected("enough", is_local=False)
    for side in pair.events.values():
        assert sum(isinstance(event, Disconnected) for event in side) == 1


def test_calling_nobody_ends_after_the_handshake_timeout() -> None:
    pair = Pair()
    pair.world.remove(THERE)
    pair.run(6)
    assert pair.events["client"] == [Disconnected("no answer", is_local=True)]


def test_a_peer_that_vanishes_is_noticed() -> None:
    pair, _ = connected()
    pair.world.remove(THERE)
    pair.run(15)
    assert isinstance(pair.events["client"][-1], Disconnected)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=1300), max_size=5))
def test_garbage_never_raises_and_opens_nothing(datagrams: list[bytes]) -> None:
    endpoint = QuicEndpoint(identity(2), TransportConfig(), Random(1))
    for data in datagrams:
        endpoint.receive_train(Train(HERE, data, max(1, len(data))), 0)
        endpoint.receive_train(Train(HERE, b"\xc0\x00\x00\x00\x01\x08" + data, 1400), 0)
        endpoint.trains_to_send(0)
    assert all(report.event for report in iter(endpoint.next_event, None))


def test_a_flood_of_callers_must_prove_their_addresses_first() -> None:
    config = TransportConfig(retry_threshold=10)
    endpoint = QuicEndpoint(identity(2), config, Random(1))
    answers: list[Train] = []
    sent = 0
    for number in range(100):
        source = Address("192.0.2.9", 1024 + number)
        caller = QuicEndpoint(identity(1), TransportConfig(), Random(number))
        caller.connect(THERE, 0)
        for train in caller.trains_to_send(0):
            sent += len(train.data)
            endpoint.receive_train(Train(source, train.data, train.datagram_size), 0)
        answers += endpoint.trains_to_send(0)
    assert endpoint.connection_count <= 10
    assert sum(len(train.data) for train in answers) <= 3 * sent


class Metered(World):
    """Counts the bytes that leave an address."""

    sent = 0

    def depart(self, source: Address, train: Train) -> None:
        """Let a train go."""
        self.sent += len(train.data) * (source == THERE)
        super().depart(source, train)


def test_a_crowd_is_answered_within_a_budget_and_all_of_it_in_the_end() -> None:
    rate, count = 20_000, 30
    world = Metered(1, Link())
    answers = TokenBucket(rate, rate)
    server = QuicEndpoint(identity(2), TransportConfig(), Random(1), answers=answers)
    world.add(THERE, server)
    callers = [QuicEndpoint(identity(1), TransportConfig(), Random(n)) for n in range(count)]
    for number, caller in enumerate(callers):
        world.add(Address("192.0.2.9", 1024 + number), caller)
        caller.connect(THERE, world.now)
    world.run_until(world.now + SECOND)
    assert rate < world.sent < 2.2 * rate
    assert server.stats.turned_away > count / 2
    world.run_until(world.now + 4 * SECOND)
    reports = [caller.next_event() for caller in callers]
    assert [each and each.event for each in reports] == [Connected(identity(2).public_key)] * count


def test_a_caller_that_made_its_first_id_too_short_is_not_answered() -> None:
    """RFC 9000 section 7.2: eight bytes, which nobody guesses who does not see them."""
    transport = QuicTransport(identity(1), TransportConfig())
    configuration = transport.configuration(is_client=True, datagram_bytes=DATAGRAM_BYTES)
    configuration.connection_id_length = 7
    plain = QuicConnection(configuration=configuration)
    plain.connect((THERE.host, THERE.port), now=0.0)
    endpoint = QuicEndpoint(identity(2), TransportConfig(), Random(1))
    for data, _ in plain.datagrams_to_send(now=0.0):
        endpoint.receive_train(Train(HERE, data, len(data)), 0)
    assert endpoint.connection_count == 0
    assert endpoint.trains_to_send(0) == []
    ours = transport.dial(THERE, lambda _: None, 0)
    for train in ours.trains_to_send(0):
        endpoint.receive_train(Train(HERE, train.data, train.datagram_size), 0)
    assert endpoint.connection_count == 1


def test_who_stops_listening_ends_its_connection_and_nothing_else() -> None:
    """RFC 9000 section 19.5: after STOP_SENDING nothing can be written to a stream any more."""
    pair, server = connected()
    assert isinstance(server, Quic)
    pair.client.send(GREETING)
    pair.client.send_independent(bytes(60_000), pair.world.now + 9 * SECOND)
    pair.run(0.05)
    server._quic.stop_stream(2, 7)  # The first piece's: it may be unwanted.
    pair.run(1)
    pair.client.send(b"\x14heard")
    pair.run(1)
    assert pair.messages("server")[-1] == b"\x14heard"
    server._quic.stop_stream(0, 7)
    server.send(b"\x14more")
    pair.run(1)
    pair.client.send(b"\x14lost")
    pair.client.send_later(b"\x14lost", pair.world.now)
    pair.run(1)
    ended = pair.events["client"][-1]
    assert ended == Disconnected("control stream reset", is_local=True)
    assert pair.messages("server")[-1] == b"\x14heard"
