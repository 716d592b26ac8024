"""One whole peer: the endpoint, its swarms, and who talks to whom (`Node`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from random import Random
from typing import Final

from livestream.config import Identity, SwarmConfig, Transport, TransportConfig
from livestream.errors import MessageDecodeError
from livestream.machine import SECOND, Address, Event, Machine, Train
from livestream.swarm.calls import Calls
from livestream.swarm.peer import Peer, PeerState
from livestream.swarm.rates import TokenBucket
from livestream.swarm.swarm import Swarm
from livestream.transport.allowance import Allowance
from livestream.transport.connection import (
    BlocksPlaced,
    BlocksReceived,
    Connected,
    Connection,
    ConnectionEvent,
    Disconnected,
    KeepAliveReceived,
    MessageReceived,
    RequestsReceived,
)
from livestream.transport.dialler import Dialler
from livestream.transport.endpoint import Endpoint
from livestream.transport.streams import StreamEndpoint
from livestream.transport.webseed import WebSource
from livestream.transport.webseeds import WebSeedEndpoint
from livestream.wire.messages import Handshake

__all__ = ["Node"]

_GREETING: Final = PeerState.GREETING  # Asked for each message, and an enum's members are slow.
DATAGRAM_OVERHEAD: Final = 28  # IPv4 and UDP headers, counted against the cap.
BURST_SECONDS: Final = 0.05  # What a capped node may send at once after a pause: the line's queue.
BURST_BYTES_MIN: Final = 16 * 1024  # Two live pieces, or one block.
ATTEMPT_INTERVAL_US: Final = SECOND // 4  # How often addresses are looked at.
ANSWERS_SHARE: Final = 0.2  # Of a capped upload: a crowd that calls does not take it all.
STRANGERS_MAX: Final = 100  # Callers that have not said which swarm they want.
STRANGER_TIMEOUT_US: Final = 5 * SECOND
SEGMENT_BYTES: Final = 1448  # What a full TCP segment carries on Ethernet...
SEGMENT_OVERHEAD: Final = 52  # ...behind IPv4 and TCP headers, with timestamps.


class Node(Machine):
    """Bytes and time in; bytes, a timer and events out, for everything that this process shares.

    Invariant: every open connection is either of a call that we make (`_calls`), a stranger that
    has not said hello yet (`_strangers`), or belongs to one peer of one swarm (`_peers`).
    """

    def __init__(
        self,
        identity: Identity,
        rng: Random,
        *,
        transport: TransportConfig | None = None,
        swarm: SwarmConfig | None = None,
        allowance: Allowance | None = None,
        diallers: Mapping[Transport, Dialler] | None = None,
    ) -> None:
        """Take who we are, what caps that which comes over µTP (None: no cap), and what carries.

        `diallers` carry connections in place of QUIC, µTP and TCP.
        """
        self.identity = identity
        self.wire_bytes_out = 0
        self.wire_bytes_in = 0
        self._config = swarm or SwarmConfig()
        self.streams = StreamEndpoint()
        "What TCP carries; empty unless a driver moves its bytes."
        self.web_seeds = WebSeedEndpoint(rng)
        "Web servers as peers; they answer only if a driver carries out their fetches."
        self.answers: TokenBucket | None = None
        "What those who call may be sent before they are connected; None: no cap."
        self._budget: TokenBucket | None = None
        if self._config.upload_bps is not None:
            rate = self._config.upload_bps / 8
            self._budget = _bucket(rate)
            self.answers = _bucket(ANSWERS_SHARE * rate)
        self._endpoint: Endpoint | None = None
        if diallers is None:
            self._endpoint = Endpoint(
                identity, transport or TransportConfig(), rng, allowance, answers=self.answers
            )
            diallers = {
                Transport.QUIC: self._endpoint.quic,
                Transport.UTP: self._endpoint.utp,
                Transport.TCP: self.streams,
            }
        self._diallers = diallers
        self._reporting: tuple[Dialler | WebSeedEndpoint, ...] = tuple(diallers.values())
        "All that may report something; it is asked after each event."
        self._swarms: dict[bytes, Swarm] = {}
        self._calls = Calls(self._diallers)
        self._named: dict[bytes, Swarm] = {}
        "The swarms by every name that callers may use."
        self._strangers: dict[Connection, tuple[bytes, int]] = {}
        self._peers: dict[Connection, tuple[Swarm, Peer]] = {}
        self._last_events: deque[Event] = deque()
        "Of swarms that were left."
        self._attempt_at: int | None = None
        self._blocked_until: int | None = None
        self._stream_bytes_paid = 0

    # Commands

    def add_swarm(self, swarm: Swarm, now: int) -> None:
        """Take part in a swarm from now on."""
        self._swarms[swarm.info_hash] = swarm
        self._named.update(dict.fromkeys(swarm.info_hashes, swarm))
        self._attempt_at = now

    def remove_swarm(self, swarm: Swarm, now: int) -> None:
        """Leave a swarm."""
        self.web_seeds.remove(swarm.info_hash)
        self._calls.drop(swarm, "leaving", now)
        for peer in list(swarm.peers.values()):
            swarm.drop(peer, "leaving", now)
        for name in swarm.info_hashes:
            if self._named.get(name) is swarm:
                del self._named[name]
        if self._swarms.pop(swarm.info_hash, None) is not None:
            while (event := swarm.next_event()) is not None:
                self._last_events.append(event)

    def add_candidates(
        self, info_hash: bytes, addresses: Iterable[Address], now: int, *, is_root: bool = False
    ) -> None:
        """Tell a swarm where peers may be."""
        swarm = self._swarms.get(info_hash)
        if swarm is not None:
            swarm.candidates.add(addresses, is_root=is_root)
            self._attempt_at = now

    def add_web_seeds(self, sources: Iterable[WebSource], now: int) -> None:
        """Take web servers for peers, each in the swarm of its source."""
        self.web_seeds.add(sources, now)
        self._reporting = (*self._diallers.values(), self.web_seeds)
        self._attempt_at = now

    def close(self, reason: str, now: int) -> None:
        """Say goodbye to everyone; drain once more, then stop."""
        for swarm, peer in list(self._peers.values()):
            swarm.drop(peer, reason, now)
        self._calls.drop(None, reason, now)
        for connection in list(self._strangers):
            connection.close(reason, now)
        self._swarms.clear()
        self._named.clear()
        self._attempt_at = None

    # Queries

    @property
    def transports(self) -> list[Transport]:
        """By what this node can call."""
        return list(self._diallers)

    @property
    def connection_count(self) -> int:
        """QUIC connections that cost memory now."""
        return self._endpoint.quic.connection_count if self._endpoint is not None else 0

    @property
    def stranger_count(self) -> int:
        """Callers that have not said which swarm they want."""
        return len(self._strangers)

    def may_upload(self, now: int) -> bool:
        """Whether a connection would be given something if it had room: the cap allows for it."""
        if self._blocked_until is not None and now < self._blocked_until:
            return False
        return any(swarm.has_uploads for swarm in self._swarms.values())

    # The five verbs

    def receive_train(self, train: Train, now: int) -> None:
        """Take datagrams in."""
        self.wire_bytes_in += _wire_size(train)
        if self._endpoint is not None:
            self._endpoint.receive_train(train, now)
        self.handle_streams(now)

    def trains_to_send(self, now: int) -> list[Train]:
        """Return what must go out now, as far as the upload cap allows pieces to."""
        trains: list[Train] = []
        while True:
            started = self._start_uploads(now)
            batch = self._endpoint.trains_to_send(now) if self._endpoint is not None else None
            if batch:
                self.book(sum(_wire_size(train) for train in batch), now)
                trains += batch
            elif not started or self._budget is None:
                return trains  # Without a cap, all that could be started has been.

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        first = self._attempt_at  # In plain steps, for it is asked after each event.
        timer = self._blocked_until
        if timer is not None and (first is None or timer < first):
            first = timer
        timer = self._calls.get_timer()
        if timer is not None and (first is None or timer < first):
            first = timer
        for endpoint in self._reporting:
            timer = endpoint.get_timer()
            if timer is not None and (first is None or timer < first):
                first = timer
        for swarm in self._swarms.values():
            timer = swarm.get_timer()
            if timer is not None and (first is None or timer < first):
                first = timer
        return first

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        for dialler in self._diallers.values():
            dialler.handle_timer(now)
        self.web_seeds.handle_timer(now)
        self.handle_streams(now)
        self._calls.handle_timer(now)
        self._greet(now)
        self.handle_streams(now)
        if self._blocked_until is not None and self._blocked_until <= now:
            self._blocked_until = None
        for swarm in self._swarms.values():
            timer = swarm.get_timer()
            if timer is not None and timer <= now:
                swarm.handle_timer(now)
        if self._attempt_at is not None and self._attempt_at <= now:
            self._call(now)
            self.handle_streams(now)  # Web seeds connect at once.
            self._drop_strangers(now)
            self._attempt_at = now + ATTEMPT_INTERVAL_US if self._swarms else None

    def next_event(self) -> Event | None:
        """Return the oldest event of any swarm that was not yet taken, or None."""
        if self._last_events:
            return self._last_events.popleft()
        for swarm in self._swarms.values():
            event = swarm.next_event()
            if event is not None:
                return event
        return None

    # Connections

    def handle_streams(self, now: int) -> None:
        """Take what streams and web seeds report. Call it after bytes came, before more do."""
        for endpoint in self._reporting:
            while (report := endpoint.next_event()) is not None:
                self._handle_report(report, now)

    def _handle_report(self, report: ConnectionEvent, now: int) -> None:
        connection, event = report.connection, report.event
        if isinstance(event, MessageReceived):
            self._on_message(connection, event.data, now)
        elif isinstance(event, (BlocksPlaced, BlocksReceived, RequestsReceived)):
            known = self._peers.get(connection)
            if known is not None:
                known[0].receive_run(known[1], event, now)
        elif isinstance(event, KeepAliveReceived):
            known = self._peers.get(connection)
            if known is not None:
                known[1].heard_at = now
        elif isinstance(event, Connected):
            self._on_connected(connection, event.public_key, now)
        elif isinstance(event, Disconnected):
            self._on_disconnected(connection, event, now)

    def _on_connected(self, connection: Connection, public_key: bytes, now: int) -> None:
        if connection in self._calls:
            self._calls.on_connected(connection, public_key, now)
            self._greet(now)
        elif len(self._strangers) < STRANGERS_MAX:
            self._strangers[connection] = public_key, now
        else:
            connection.close("busy", now)

    def _on_message(self, connection: Connection, data: bytes, now: int) -> None:
        known = self._peers.get(connection)
        if known is not None:
            swarm, peer = known
            was_greeting = peer.state is _GREETING
            swarm.receive_message(peer, data, now)
            if was_greeting and peer.state is PeerState.READY and connection in self._calls:
                self._calls.on_greeted(connection, now)
            return
        stranger = self._strangers.pop(connection, None)
        if stranger is None:
            return
        try:
            handshake = Handshake.parse(data)
        except MessageDecodeError as error:
            connection.close(str(error), now)
            return
        wanted = self._named.get(handshake.info_hash)
        if wanted is None:
            connection.close("not in this swarm", now)
            return
        self._adopt(wanted, connection, wanted.admit(connection, stranger[0], handshake, now), now)

    def _adopt(self, swarm: Swarm, connection: Connection, peer: Peer | None, now: int) -> None:
        if peer is None:
            connection.close("not wanted", now)
        else:
            self._peers[connection] = swarm, peer

    def _on_disconnected(self, connection: Connection, event: Disconnected, now: int) -> None:
        self._strangers.pop(connection, None)
        known = self._peers.pop(connection, None)
        if known is not None:
            swarm, peer = known
            swarm.on_disconnected(peer, event.reason, now)
        if connection in self._calls:
            self._calls.on_disconnected(connection, now, is_local=event.is_local)
            self._greet(now)

    def _greet(self, now: int) -> None:
        while (greeting := self._calls.next_greeting()) is not None:
            swarm, connection = greeting.swarm, greeting.connection
            peer = swarm.greet(connection, greeting.public_key, now)
            self._adopt(swarm, connection, peer, now)

    def _call(self, now: int) -> None:
        for swarm in self._swarms.values():
            for address in swarm.next_attempts(now):
                self._calls.call(swarm, address, swarm.transports_to(address, now), now)
        for address, info_hash in self.web_seeds.next_attempts(now):
            wanting = self._swarms.get(info_hash)
            if wanting is None or wanting.candidates.bans(address, b"", now):
                self.web_seeds.forget(address)
            else:
                self._calls.add(wanting, self.web_seeds.connect(address, now))

    def _drop_strangers(self, now: int) -> None:
        for connection, (_, since) in list(self._strangers.items()):
            if now - since > STRANGER_TIMEOUT_US:
                connection.close("no greeting", now)

    # Uploads

    def _start_uploads(self, now: int) -> bool:
        """Give connections the pieces that they can take, most urgent first, within the cap.

        Under a cap it is one at a time, so that each is paid for before the next.
        """
        budget = self._budget
        if budget is None:
            started = False
            for swarm in self._swarms.values():
                while swarm.has_uploads and swarm.next_upload(now):
                    started = True
            return started
        if self.streams.bytes_taken != self._stream_bytes_paid:
            self._pay_for_streams(budget, now)
        for swarm in self._swarms.values():
            if not swarm.has_uploads:
                continue
            if not budget.has_tokens(now):
                self._blocked_until = budget.next_tokens_at(now)
                return False
            if swarm.next_upload(now):
                self._pay_for_streams(budget, now)
                return True
        return False

    def book(self, size: int, now: int) -> None:
        """Take from the upload cap what leaves for this node other than by its trains, bytes."""
        self.wire_bytes_out += size
        if self._budget is not None:
            self._budget.take(size, now)

    def _pay_for_streams(self, budget: TokenBucket, now: int) -> None:
        """Take from the budget what byte streams have accepted, and the headers around it."""
        size = self.streams.bytes_taken - self._stream_bytes_paid
        self._stream_bytes_paid += size
        if size:
            budget.take(size + size * SEGMENT_OVERHEAD // SEGMENT_BYTES, now)


def _bucket(bytes_per_second: float) -> TokenBucket:
    return TokenBucket(bytes_per_second, max(bytes_per_second * BURST_SECONDS, BURST_BYTES_MIN))


def _wire_size(train: Train) -> int:
    datagrams = -(-len(train.data) // train.datagram_size)
    return len(train.data) + DATAGRAM_OVERHEAD * datagrams
