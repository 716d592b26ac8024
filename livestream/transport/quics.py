"""All QUIC connections of one socket (`QuicEndpoint`)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Final

from livestream.config import Identity, TransportConfig
from livestream.machine import Address, Machine, Train
from livestream.transport.allowance import Budget
from livestream.transport.connection import ConnectionEvent
from livestream.transport.listener import Listener
from livestream.transport.precedence import Precedence
from livestream.transport.quic import Quic, QuicTransport
from livestream.transport.timers import Timers

__all__ = ["QuicEndpoint", "QuicStats"]

ANSWER_BYTES: Final = 1_800  # One padded datagram and a certificate, and headers around them.


@dataclass(slots=True)
class QuicStats:
    """Counters; they only grow."""

    unknown: int = 0
    "Datagrams that belong to no connection and open none."
    turned_away: int = 0
    "Callers not answered, since there are too many, or they came too fast."


class QuicEndpoint(Machine):
    """Invariant: every id that a live connection was given leads to it; a connection that may have
    something to say is in `_dirty`.
    """

    def __init__(
        self,
        identity: Identity,
        config: TransportConfig,
        rng: Random,
        precedence: Precedence | None = None,
        answers: Budget | None = None,
    ) -> None:
        """Take who we are, settings, entropy, which flows go first, and what answers may take.

        Without `answers` nothing caps what callers are sent.
        """
        self.stats = QuicStats()
        self._config = config
        self._answers_budget = answers
        self._quic = QuicTransport(identity, config, precedence)
        self._listener = Listener(self._quic, rng)
        self._by_cid: dict[bytes, Quic] = {}
        self._cids: dict[Quic, list[bytes]] = {}
        self._dirty: dict[Quic, None] = {}
        self._changed: dict[Quic, None] = {}
        "Those of them that may have something to report."
        self._timers: Timers[Quic] = Timers()
        self._events: deque[ConnectionEvent] = deque()
        self._answers: list[Train] = []

    def connect(self, address: Address, now: int) -> Quic:
        """Open a connection."""
        connection = self._quic.dial(address, self._mark, now)
        self._register(connection)
        return connection

    @property
    def connection_count(self) -> int:
        """Connections that cost memory now."""
        return len(self._cids)

    def knows(self, datagram: bytes) -> bool:
        """Whether it is for a connection that we have."""
        return self._listener.destination_of(datagram) in self._by_cid

    # The five verbs

    def receive_train(self, train: Train, now: int) -> None:
        """Take datagrams in. A train is of one sender, and nearly always of one connection."""
        known: Quic | None = None
        run: list[bytes] = []
        for datagram in train.datagrams():
            connection = self._by_cid.get(self._listener.destination_of(datagram))
            if connection is None:
                connection = self._accept(datagram, train.address, now)
                if connection is None:
                    continue
            if connection is not known:
                self._deliver(known, run, train, now)
                known, run = connection, []
            run.append(datagram)
        self._deliver(known, run, train, now)

    def trains_to_send(self, now: int) -> list[Train]:
        """Return what must go out now."""
        trains, self._answers = self._answers, []
        dirty, self._dirty = self._dirty, {}
        for connection in dirty:
            trains += connection.trains_to_send(now)
            self._collect(connection)
            self._rearm(connection)
        for train in trains:
            train.dont_fragment = True  # RFC 9000 section 14.
        return trains

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return self._timers.first()

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        while (connection := self._timers.pop_due(now)) is not None:
            connection.handle_timer(now)
            self._collect(connection)
            if connection.is_over:
                self._forget(connection)

    def next_event(self) -> ConnectionEvent | None:
        """Return the oldest event that was not yet taken, or None."""
        if self._changed:
            for connection in self._changed:
                self._collect(connection)
            self._changed.clear()
        return self._events.popleft() if self._events else None

    # Helpers

    def _accept(self, datagram: bytes, address: Address, now: int) -> Quic | None:
        unfinished = self._listener.count_unfinished()
        must_prove = unfinished >= self._config.retry_threshold
        budget = self._answers_budget
        is_over = budget is not None and not budget.has_tokens(now)
        if is_over or len(self._cids) >= self._config.connections_max:
            self.stats.turned_away += 1
            return None
        answer, connection = self._listener.receive(
            datagram, address, self._mark, now, must_prove=must_prove
        )
        if answer is not None:
            self._answers.append(answer)
        elif connection is not None:
            self._register(connection)
            if budget is not None:
                budget.take(ANSWER_BYTES, now)
        else:
            self.stats.unknown += 1
        return connection

    def _deliver(self, connection: Quic | None, run: list[bytes], train: Train, now: int) -> None:
        if connection is None:
            return
        whole = len(run) * train.datagram_size >= len(train.data)
        data = train.data if whole else b"".join(run)
        part = Train(train.address, data, train.datagram_size, waited_us=train.waited_us)
        connection.receive_train(part, now)
        self._dirty[connection] = None
        self._collect(connection)

    def _register(self, connection: Quic) -> None:
        self._cids[connection] = []
        self._mark(connection)
        self._collect(connection)

    def _mark(self, connection: Quic) -> None:
        if connection in self._cids:
            self._dirty[connection] = self._changed[connection] = None

    def _collect(self, connection: Quic) -> None:
        known = self._cids.get(connection)
        if known is None:
            return
        if connection.has_other_cids:
            connection.has_other_cids = False
            for cid in known:
                self._by_cid.pop(cid, None)
            self._cids[connection] = [*connection.cids]
            for cid in connection.cids:
                self._by_cid[cid] = connection
        while (event := connection.next_event()) is not None:
            self._events.append(ConnectionEvent(connection, event))

    def _rearm(self, connection: Quic) -> None:
        if connection.is_over:
            self._forget(connection)
            return
        self._timers.set(connection, connection.get_timer())

    def _forget(self, connection: Quic) -> None:
        self._collect(connection)
        for cid in self._cids.pop(connection, []):
            self._by_cid.pop(cid, None)
        self._listener.forget(connection)
        self._timers.set(connection, None)
        self._dirty.pop(connection, None)
        self._changed.pop(connection, None)
