"""Calls by several transports: who is tried when, who is greeted, and who is hung up on."""

from __future__ import annotations

from random import Random

from livestream.config import SwarmConfig, Transport
from livestream.machine import SECOND, Address
from livestream.swarm.calls import HEAD_START_US, Calls
from livestream.swarm.candidates import BETTER_AFTER_US
from livestream.swarm.seekers import SeekerSwarm
from livestream.transport.connection import Connection, ConnectionEvent, ConnectionState
from tests.swarm.memory import QuietConnection

THERE = Address("198.51.100.1", 6881)
BOTH = [Transport.QUIC, Transport.TCP]
KEY = b"k" * 32


class Dialled:
    """A transport on which nothing happens by itself."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.connections: list[QuietConnection] = []

    def connect(self, address: Address, now: int) -> Connection:
        connection = QuietConnection(1, self.transport)
        connection.address = address
        self.connections.append(connection)
        return connection

    def next_event(self) -> ConnectionEvent | None:
        return None

    def get_timer(self) -> int | None:
        return None

    def handle_timer(self, now: int) -> None:
        """Nothing is due."""


class Stage:
    """A swarm that has begun to call one address."""

    def __init__(self) -> None:
        self.swarm = SeekerSwarm(b"h" * 20, b"o" * 32, SwarmConfig(), Random(1))
        self.swarm.candidates.add([THERE], is_root=True)
        self.quic, self.tcp = Dialled(Transport.QUIC), Dialled(Transport.TCP)
        self.calls = Calls({Transport.QUIC: self.quic, Transport.TCP: self.tcp})
        self.begin(0)

    def begin(self, now: int) -> None:
        assert self.swarm.next_attempts(now) == [THERE]
        self.calls.call(self.swarm, THERE, self.swarm.candidates.transports(THERE, BOTH, now), now)

    @property
    def dialled(self) -> tuple[int, int]:
        """How many calls went out, by QUIC and by TCP."""
        return len(self.quic.connections), len(self.tcp.connections)

    def greeted(self) -> list[Connection]:
        """Take whom to say hello to."""
        greetings = iter(self.calls.next_greeting, None)
        return [greeting.connection for greeting in greetings if greeting is not None]

    @property
    def is_over(self) -> bool:
        """Whether nothing is under way."""
        every = [*self.quic.connections, *self.tcp.connections]
        return not any(each in self.calls for each in every) and self.calls.get_timer() is None


def test_the_second_transport_begins_when_the_head_start_is_over_and_not_before() -> None:
    stage = Stage()
    assert stage.dialled == (1, 0)
    stage.calls.handle_timer(HEAD_START_US - 1)
    assert stage.dialled == (1, 0)
    assert stage.calls.get_timer() == HEAD_START_US
    stage.calls.handle_timer(HEAD_START_US)
    assert stage.dialled == (1, 1)
    assert stage.calls.get_timer() is None


def test_a_refusal_is_answered_by_the_next_transport_at_once_and_then_by_patience() -> None:
    stage = Stage()
    stage.calls.on_disconnected(stage.quic.connections[0], 100, is_local=False)
    assert stage.dialled == (1, 1)
    assert stage.swarm.next_attempts(SECOND // 2) == [], "the call is under way yet"
    stage.calls.on_disconnected(stage.tcp.connections[0], 200, is_local=False)
    assert stage.is_over
    assert stage.swarm.next_attempts(SECOND // 2) == []
    assert stage.swarm.next_attempts(2 * SECOND) == [THERE]


def test_of_two_that_connect_one_is_greeted_and_the_other_is_hung_up_when_that_answers() -> None:
    stage = Stage()
    stage.calls.handle_timer(HEAD_START_US)
    quic, tcp = stage.quic.connections[0], stage.tcp.connections[0]
    stage.calls.on_connected(tcp, b"", HEAD_START_US + 10)
    stage.calls.on_connected(quic, KEY, HEAD_START_US + 20)
    assert stage.greeted() == [tcp]
    stage.calls.on_greeted(tcp, HEAD_START_US + 30)
    assert quic.state is ConnectionState.CLOSED
    assert tcp.state is ConnectionState.CONNECTED
    assert stage.is_over


def test_who_connects_and_does_not_answer_makes_way_for_the_other() -> None:
    """A firewall may let a handshake through and drop what follows."""
    stage = Stage()
    stage.calls.on_connected(stage.quic.connections[0], KEY, 100)
    assert stage.greeted() == stage.quic.connections
    stage.calls.handle_timer(100 + HEAD_START_US)
    stage.calls.on_connected(stage.tcp.connections[0], b"", 200 + HEAD_START_US)
    assert stage.greeted() == [], "one hello at a time"
    stage.calls.on_disconnected(stage.quic.connections[0], 300 + HEAD_START_US, is_local=False)
    assert stage.greeted() == stage.tcp.connections


def test_an_address_is_not_called_twice_while_the_next_transport_is_tried() -> None:
    stage = Stage()
    quic = stage.quic.connections[0]
    stage.calls.on_connected(quic, KEY, 100)
    assert stage.greeted() == [quic]
    peer = stage.swarm.greet(quic, KEY, 100)
    assert peer is not None
    stage.swarm.on_disconnected(peer, "lost", 200)
    stage.calls.on_disconnected(quic, 200, is_local=False)
    assert stage.dialled == (1, 1)
    assert stage.swarm.next_attempts(10 * SECOND) == []


def test_whom_we_hang_up_on_after_the_hello_is_not_called_by_other_means() -> None:
    """It was banned, or is here already."""
    stage = Stage()
    stage.calls.on_connected(stage.quic.connections[0], KEY, 100)
    stage.calls.on_disconnected(stage.quic.connections[0], 200, is_local=True)
    assert stage.dialled == (1, 0)
    assert stage.is_over


def test_what_worked_is_first_for_a_minute_and_then_the_better_one_is() -> None:
    stage = Stage()
    stage.calls.handle_timer(HEAD_START_US)
    stage.calls.on_connected(stage.tcp.connections[0], b"", HEAD_START_US)
    stage.calls.on_greeted(stage.tcp.connections[0], HEAD_START_US)
    candidates = stage.swarm.candidates
    assert candidates.transports(THERE, BOTH, HEAD_START_US + SECOND) == BOTH[::-1]
    assert candidates.transports(THERE, BOTH, HEAD_START_US + BETTER_AFTER_US) == BOTH


def test_who_goes_silent_is_called_at_once_and_by_the_other_transport_first() -> None:
    stage = Stage()
    connection = stage.quic.connections[0]
    stage.calls.on_greeted(connection, 100)
    candidates = stage.swarm.candidates
    candidates.on_lost(THERE, SECOND, was_ready=True)
    assert stage.swarm.next_attempts(SECOND) == []
    candidates.on_silent(THERE, Transport.QUIC, BOTH, SECOND)
    stage.begin(SECOND)
    assert stage.dialled == (1, 1)


def test_who_goes_silent_is_called_at_once_where_there_is_one_transport_only() -> None:
    stage = Stage()
    stage.calls.on_greeted(stage.quic.connections[0], 100)
    candidates = stage.swarm.candidates
    candidates.on_lost(THERE, SECOND, was_ready=True)
    candidates.on_silent(THERE, Transport.QUIC, [Transport.QUIC], SECOND)
    assert stage.swarm.next_attempts(SECOND) == [THERE]
    assert candidates.transports(THERE, BOTH, SECOND) == BOTH


def test_leaving_a_swarm_ends_its_calls() -> None:
    stage = Stage()
    stage.calls.handle_timer(HEAD_START_US)
    stage.calls.on_connected(stage.quic.connections[0], KEY, HEAD_START_US)
    stage.calls.drop(stage.swarm, "leaving", HEAD_START_US)
    assert stage.greeted() == []
    assert stage.is_over
    assert all(each.state is ConnectionState.CLOSED for each in stage.tcp.connections)
