"""All µTP connections of one socket (`UtpEndpoint`)."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from random import Random
from typing import Final

from livestream.config import TransportConfig
from livestream.errors import MessageDecodeError
from livestream.machine import SECOND, Address, Machine, Train, earliest
from livestream.transport.allowance import Allowance
from livestream.transport.connection import ConnectionEvent
from livestream.transport.precedence import Precedence
from livestream.transport.stream import Stream
from livestream.transport.timers import Timers
from livestream.transport.utp.connection import UtpConnection
from livestream.transport.utp.packet import (
    HEADER_BYTES,
    Packet,
    PacketType,
    parse_packet,
)
from livestream.transport.utp.receiving import EarlyBudget
from livestream.transport.utp.terms import Shared, Terms

__all__ = ["UtpEndpoint", "UtpStats"]

EARLY_BYTES_MAX: Final = 64 << 20  # What came before its turn, of all connections together.
RESETS_PER_SECOND: Final = 20  # Answers to packets of no connection; a flood gets no more.
IDS_TRIES_MAX: Final = 16
SCRATCH_BYTES: Final = 384 * 1024  # As long as what a connection takes out of a train at once.
FIRST_SEQ: Final = 2  # The SYN has number 1 (BEP 29).
ANSWER_WINDOW: Final = 1 << 20  # Bytes; the connection says more when there is one.
CHUNK_ROWS: Final = 44  # Of a train in which something is missing: the rest goes fast again.
FIRST_ROWS_MAX: Final = 10  # What callers send at once; of these any may come first.
CALLERS_SHARE: Final = 0.75  # Of all connections: callers cannot keep us from calling others.


class UtpStats:
    """Counters; they only grow."""

    def __init__(self) -> None:
        self.malformed = 0
        "Datagrams that are no µTP packet."
        self.unknown = 0
        "Packets of no connection."
        self.turned_away = 0
        "Callers not answered, since there are too many."


class UtpEndpoint(Machine):
    """Leads packets to their connections, and strangers through a handshake that costs nothing.

    A SYN is answered by a STATE of 20 bytes whose number is a keyed hash of who asked; only who
    sends that number back, and so receives at that address, is remembered, and is sent more.

    Invariant: a connection is in `_by_key` under its address and receiving id until it is over.
    """

    def __init__(
        self,
        config: TransportConfig,
        rng: Random,
        allowance: Allowance | None = None,
        precedence: Precedence | None = None,
    ) -> None:
        """Take what caps what streams are given (None: nothing), and whose flows go first."""
        self.stats = UtpStats()
        self._config = config
        self._rng = rng
        self._secret = rng.randbytes(32)
        budget = EarlyBudget(EARLY_BYTES_MAX)
        self._allowance = allowance
        self._waiting: dict[UtpConnection, None] = {}
        self._hand_out_at: int | None = None
        self._shared = Shared(
            budget,
            config.delay_target_us,
            precedence or Precedence(),
            self._mark,
            bytearray(SCRATCH_BYTES),
            allowance,
            self._waiting,
        )
        self._by_key: dict[tuple[Address, int], UtpConnection] = {}
        self._dirty: dict[UtpConnection, None] = {}
        self._timers: Timers[UtpConnection] = Timers()
        self._events: deque[ConnectionEvent] = deque()
        self._answers: list[Train] = []
        self._resets = 0
        self._resets_since = 0

    def connect(self, address: Address, now: int) -> Stream:
        """Open a connection; it reports `Connected` or `Disconnected`."""
        for _ in range(IDS_TRIES_MAX):
            receive_id = self._rng.randrange(1 << 16)
            if (address, receive_id) not in self._by_key:
                break
        terms = Terms(receive_id, (receive_id + 1) & 0xFFFF, FIRST_SEQ, None)
        connection = self._make(address, terms, now)
        if len(self._by_key) > self._config.connections_max:
            connection.stream.lost("too many connections")
        return connection.stream

    @property
    def connection_count(self) -> int:
        """Connections that cost memory now."""
        return len(self._by_key)

    @property
    def early_bytes_left(self) -> int:
        """How much more may be kept of what comes before its turn."""
        return self._shared.budget.left

    # The five verbs

    def receive_run(self, train: Train, now: int) -> bool:
        """Take a train if it is all one connection's data in its turn: the usual case."""
        data = train.data
        if len(data) <= train.datagram_size or train.datagram_size <= HEADER_BYTES:
            return False
        connection = self._by_key.get((train.address, int.from_bytes(data[2:4], "big")))
        if connection is None or not connection.receive_run(train, now):
            return False
        self._mark(connection)
        self._hand_out(now)
        return True

    def receive_train(self, train: Train, now: int) -> None:
        """Take datagrams in."""
        data, span = train.data, CHUNK_ROWS * train.datagram_size
        for at in range(0, len(data), span):
            part, size = data[at : at + span], train.datagram_size
            chunk = Train(train.address, part, size, waited_us=train.waited_us)
            if not self.receive_run(chunk, now):
                for datagram in chunk.datagrams():
                    self._receive_one(datagram, train, now)
        self._hand_out(now)

    def trains_to_send(self, now: int) -> list[Train]:
        """Return what must go out now."""
        trains, self._answers = self._answers, []
        dirty, self._dirty = self._dirty, {}
        for connection in dirty:
            trains += connection.trains_to_send(now)
            self._collect(connection)
            if connection.is_over:
                self._forget(connection)
                continue
            self._timers.set(connection, connection.get_timer())
            if connection.has_more:
                self._mark(connection)
        if self._allowance is not None:
            self._hand_out_at = self._allowance.next_tokens_at(now) if self._waiting else None
        return trains

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return earliest(self._timers.first(), self._hand_out_at)

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        while (connection := self._timers.pop_due(now)) is not None:
            connection.handle_timer(now)
            self._mark(connection)
        self._hand_out(now)

    def next_event(self) -> ConnectionEvent | None:
        """Return the oldest event that was not yet taken, or None."""
        if not self._events:
            for connection in self._dirty:
                self._collect(connection)
        return self._events.popleft() if self._events else None

    # Helpers

    def _hand_out(self, now: int) -> None:
        """Give each of those that wait a share, as far as the allowance goes."""
        if self._allowance is None:
            return
        for connection in list(self._waiting):
            if not self._allowance.has_tokens(now):
                break
            if connection in self._waiting:
                connection.hand_out(now)
                self._mark(connection)

    def _receive_one(self, datagram: bytes, train: Train, now: int) -> None:
        address, arrived_at = train.address, now - train.waited_us
        try:
            packet = parse_packet(datagram)
        except MessageDecodeError:
            self.stats.malformed += 1
            return
        connection = self._by_key.get((address, packet.connection_id))
        if packet.type is PacketType.SYN:
            self._answer_syn(packet, address, now, arrived_at)
        elif connection is not None:
            connection.receive_packet(packet, now, arrived_at)
            self._mark(connection)
        elif packet.type is PacketType.RESET:
            self._receive_reset(packet, address, now)
        elif packet.type is PacketType.DATA and self._is_proved(packet, address):
            self._accept(packet, address, now, arrived_at)
        else:
            self._refuse(packet, address, now)

    def _answer_syn(self, packet: Packet, address: Address, now: int, arrived_at: int) -> None:
        key = address, (packet.connection_id + 1) & 0xFFFF
        if key not in self._by_key and self._is_full():
            self.stats.turned_away += 1
            return
        delay = (arrived_at - packet.timestamp) & 0xFFFFFFFF
        seq = self._cookie(address, packet.connection_id, packet.seq)
        fields = packet.connection_id, now, delay, ANSWER_WINDOW, seq, packet.seq
        answer = Packet(PacketType.STATE, *fields)
        self._answers.append(Train(address, answer.to_bytes(), HEADER_BYTES))

    def _is_proved(self, packet: Packet, address: Address) -> bool:
        """Whether a stranger's first data shows that our answer reached it."""
        return not self._is_full() and self._first_seq(packet, address) is not None

    def _first_seq(self, packet: Packet, address: Address) -> int | None:
        """Return the number that a stranger's data begins with; the first of it may be late."""
        key = self._cookie(address, (packet.connection_id - 1) & 0xFFFF, 0)
        syn = (packet.ack + 1 - key) & 0xFFFF
        is_near = 1 <= (packet.seq - syn) & 0xFFFF <= FIRST_ROWS_MAX
        return (syn + 1) & 0xFFFF if is_near else None

    def _accept(self, packet: Packet, address: Address, now: int, arrived_at: int) -> None:
        ours = (packet.ack + 1) & 0xFFFF
        send_id = (packet.connection_id - 1) & 0xFFFF
        terms = Terms(packet.connection_id, send_id, ours, self._first_seq(packet, address))
        connection = self._make(address, terms, now)
        connection.receive_packet(packet, now, arrived_at)

    def _receive_reset(self, packet: Packet, address: Address, now: int) -> None:
        """Some name the connection by the id that we send with."""
        for connection_id in (packet.connection_id - 1, packet.connection_id + 1):
            connection = self._by_key.get((address, connection_id & 0xFFFF))
            if connection is not None and connection.send_id == packet.connection_id:
                connection.receive_packet(packet, now, now)
                self._mark(connection)
                return
        self.stats.unknown += 1

    def _refuse(self, packet: Packet, address: Address, now: int) -> None:
        """Tell a stranger that its connection is not known here; no more bytes than it sent."""
        self.stats.unknown += 1
        if packet.type is PacketType.STATE:
            return
        if now - self._resets_since >= SECOND:
            self._resets, self._resets_since = 0, now
        if self._resets < RESETS_PER_SECOND:
            self._resets += 1
            seq = self._rng.randrange(1 << 16)
            fields = packet.connection_id, now, 0, 0, seq, packet.seq
            self._answers.append(
                Train(address, Packet(PacketType.RESET, *fields).to_bytes(), HEADER_BYTES)
            )

    def _cookie(self, address: Address, connection_id: int, syn: int) -> int:
        """Return the number of our first packet to a caller: its proof that it hears us.

        What it makes of the SYN's number can be undone, so that strangers cost one hash.
        """
        about = f"{address} {connection_id}".encode()
        digest = blake2b(about, key=self._secret, digest_size=2).digest()
        return (int.from_bytes(digest, "big") + syn) & 0xFFFF

    def _is_full(self) -> bool:
        return len(self._by_key) >= self._config.connections_max * CALLERS_SHARE

    def _make(self, address: Address, terms: Terms, now: int) -> UtpConnection:
        connection = UtpConnection(address, terms, self._shared, now)
        self._by_key[address, terms.receive_id] = connection
        self._mark(connection)
        return connection

    def _mark(self, connection: UtpConnection) -> None:
        self._dirty[connection] = None

    def _collect(self, connection: UtpConnection) -> None:
        while (event := connection.stream.next_event()) is not None:
            self._events.append(ConnectionEvent(connection.stream, event))

    def _forget(self, connection: UtpConnection) -> None:
        self._by_key.pop((connection.address, connection.receive_id), None)
        self._timers.set(connection, None)
