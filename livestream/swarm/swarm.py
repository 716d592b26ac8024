"""One swarm: its peers, from greeting to goodbye. Knows neither live nor torrent.

How pieces travel is for the two subclasses: whole (`swarm/whole.py`) or in blocks
(`swarm/blocks.py`). `Extension` is what peers tell each other beside the peer wire protocol.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import ClassVar, Final

from livestream.config import SwarmConfig, Transport
from livestream.errors import ProtocolError
from livestream.machine import SECOND, Address, Event
from livestream.swarm.admission import Admission
from livestream.swarm.candidates import BETTER_AFTER_US, Candidates
from livestream.swarm.extension import Extension
from livestream.swarm.greeting import extension_handshake, read_extension_handshake
from livestream.swarm.peer import Peer, PeerState, node_id_of, peer_id_of
from livestream.swarm.swarmevents import PeerBanned, PeerJoined, PeerLeft, SwarmStats
from livestream.transport.connection import (
    FORGOTTEN,
    NO_ANSWER,
    BlocksPlaced,
    BlocksReceived,
    Connection,
    RequestsReceived,
)
from livestream.wire import bencode, messages
from livestream.wire.messages import Extended, Handshake, Message, Piece, Request

__all__ = ["PeerBanned", "PeerJoined", "PeerLeft", "Swarm", "SwarmStats", "transports_used"]

DOUBT_AGAIN_US: Final = 10 * SECOND  # Who is only slow is not called beside each time.
_GREETING: Final = PeerState.GREETING  # Asked for each message, and an enum's members are slow.
_CLOSED: Final = PeerState.CLOSED
SWEEP_US: Final = SECOND  # How often silence and forgotten requests are looked for.


class Swarm(ABC):
    """The peers of one info-hash. Not a machine of its own: the node feeds it and drains it.

    Invariant: a peer is in `peers` from its greeting to its end; only READY peers are `ready`.
    """

    preferred: ClassVar[tuple[Transport, ...]] = (Transport.QUIC, Transport.TCP)
    "By what peers are called, the best first, unless the configuration names one."
    seeks_better: ClassVar[bool] = False
    "Whether peers are called by better transports now and then while a worse one carries them."
    doubt_us: ClassVar[int | None] = None
    "A peer that is silent for so long may be cut off: it is called by other transports, too."
    bounds_callers: ClassVar[bool] = False
    "Whether callers of one host are few, and do not keep us from calling others."

    def __init__(
        self, info_hash: bytes, public_key: bytes, config: SwarmConfig, rng: Random
    ) -> None:
        self.info_hash = info_hash
        self.info_hashes = [info_hash]
        "All names by which peers find it: a hybrid torrent has two (BEP 52)."
        self.peer_id = peer_id_of(public_key)
        self.node_id = node_id_of(self.peer_id)
        self.config = config
        self.stats = SwarmStats()
        self.candidates = Candidates(rng)
        self.peers: dict[Connection, Peer] = {}
        self.ready: dict[Peer, None] = {}
        self.source_peers: dict[Peer, None] = {}
        "Peers known to be the origin of the pieces; for the books only."
        self.listen_port = 0
        "Where we take TCP calls; peers are told, so that they need not call twice."
        self._admission = Admission(
            self.info_hashes,
            self.peer_id,
            self.peers,
            self.candidates,
            config,
            is_silent=self._is_silent,
            bounds_callers=self.bounds_callers,
        )
        self._called: dict[Address, None] = {}
        "Addresses with a call under way, by whatever transport."
        self._extensions: list[Extension] = []
        self._timers: list[Callable[[], int | None]] = []
        "When each part of the swarm wants to be called. They are asked after each event."
        self._events: deque[Event] = deque()
        self._sweep_at: int | None = None

    def _is_silent(self, peer: Peer, now: int) -> bool:
        """Whether a session has said nothing for so long that another with that peer replaces it.

        The other end, which heard us last at another time, must find so, too, when we call it.
        """
        doubt_us = self.doubt_us
        silent_us = self.config.silence_max_us // 2 if doubt_us is None else doubt_us * 3 // 4
        return now - peer.heard_at > silent_us

    @property
    def transports(self) -> tuple[Transport, ...]:
        """By what peers may be called, the best first."""
        return self.preferred if self.config.transport is None else (self.config.transport,)

    # Set-up

    def speak(self, extension: Extension) -> None:
        """Offer an extension to every peer from now on."""
        self._extensions.append(extension)
        self._timers.append(extension.get_timer)

    def also_known_as(self, info_hash: bytes) -> None:
        """Take part under another name, too. Call it before the node has the swarm."""
        if info_hash not in self.info_hashes:
            self.info_hashes.append(info_hash)
            self.candidates.names = len(self.info_hashes)

    # Connections, for the node

    def next_attempts(self, now: int) -> list[Address]:
        """Return the addresses to connect to now; each must end in `on_answered` or `on_lost`."""
        called = [peer for peer in self.peers.values() if peer.connection.is_outgoing]
        greeting = sum(peer.state is PeerState.GREETING for peer in called)
        # Anyone can call, and sit there: that must not keep us from calling.
        counted = called if self.bounds_callers else self.peers
        room = min(
            self.config.neighbours_wanted - len(counted), self.config.attempts_max - greeting
        )
        addresses = self.candidates.next_attempts(room, now) if room > 0 else []
        is_full = len(self.peers) >= self.config.peers_max
        addresses += self.candidates.take_sought(
            0 if is_full else self.config.attempts_max - greeting, now
        )
        addresses += self._to_improve(now)
        addresses += self._to_replace(now)
        self._called |= dict.fromkeys(addresses)
        return addresses

    def knows(self, address: Address) -> bool:
        """Whether there is a session with whoever is there."""
        return self._is_connected(address)

    def transports_to(self, address: Address, now: int) -> list[Transport]:
        """Return by what an address is to be called, the first first."""
        for peer in self.peers.values():
            if peer.address == address and peer.connection.transport in self.transports:
                if self._is_doubtful(peer, now):
                    return self._transports_beside(peer)
                rank = self.transports.index(peer.connection.transport)
                return list(self.transports[:rank])
        return self.candidates.transports(address, self.transports, now)

    def greet(self, connection: Connection, public_key: bytes, now: int) -> Peer | None:
        """Say hello on a connection that we opened; None if the peer is not wanted."""
        if self._admission.refuses(connection, public_key, now):
            return None
        name = self.candidates.name_of(connection.address)
        peer = self._add(connection, public_key, self.info_hashes[name], now)
        self._send_handshakes(peer)
        return peer

    def admit(
        self, connection: Connection, public_key: bytes, handshake: Handshake, now: int
    ) -> Peer | None:
        """Answer a peer that called us and said hello; None if it is not wanted."""
        if self._admission.refuses(connection, public_key, now) or not self._has_room(
            connection.address, now
        ):
            return None
        peer = self._add(connection, public_key, handshake.info_hash, now)
        self._send_handshakes(peer)
        if handshake.peer_id == self.peer_id:
            # We are both ends: by our answer the caller sees it, and forgets the address it called.
            return peer
        try:
            self._on_handshake(peer, handshake, now)
        except ProtocolError as error:
            self.stats.message_errors += 1
            self.drop(peer, str(error), now)
        return peer if peer.state is not PeerState.CLOSED else None

    def on_lost(self, address: Address, now: int) -> None:
        """A call came to nothing, by any transport."""
        self._called.pop(address, None)
        if not self._is_connected(address):
            self.candidates.on_lost(address, now, was_ready=False)

    def on_answered(self, address: Address, transport: Transport, now: int) -> None:
        """Whom we called has said hello, over this transport."""
        self._called.pop(address, None)
        self.candidates.on_answered(address, transport, now)

    def on_disconnected(self, peer: Peer, reason: str, now: int) -> None:
        """The connection of a peer has ended, whoever ended it."""
        if self.peers.get(peer.connection) is not peer:
            return
        was_ready = peer in self.ready
        if peer.state is PeerState.GREETING and peer.connection.is_outgoing:
            self.candidates.rename(peer.address)  # It may know the swarm by the other name only.
        del self.peers[peer.connection]
        self.ready.pop(peer, None)
        self.source_peers.pop(peer, None)
        if peer.state is not PeerState.CLOSED:
            peer.move(PeerState.CLOSED)
        if peer.address not in self._called and not self._is_connected(peer.address):
            self.candidates.on_lost(peer.address, now, was_ready=was_ready)
            if was_ready and reason == NO_ANSWER:
                self._on_silent(peer, now)
            elif was_ready and reason == FORGOTTEN:
                self.candidates.call_again(peer.address, now)
        self._on_gone(peer, now)
        if was_ready:
            for extension in self._spoken_by(peer):
                extension.on_gone(peer, now)
            self._events.append(PeerLeft(peer, reason))

    def receive_message(self, peer: Peer, data: bytes, now: int) -> None:
        """Take one message of a peer. A peer that breaks the protocol is dropped."""
        peer.heard_at = now
        if peer.state is _CLOSED:
            return
        try:
            if peer.state is _GREETING:
                self._on_handshake(peer, Handshake.parse(data), now)
            else:
                message = messages.parse(data)
                if isinstance(message, Extended):
                    self._on_extended(peer, message, now)
                elif message is not None:
                    self._on_message(peer, message, now)
        except ProtocolError as error:
            self.stats.message_errors += 1
            self.drop(peer, str(error), now)

    # Commands, for the seams and the extensions

    def drop(self, peer: Peer, reason: str, now: int) -> None:
        """End the session with a peer."""
        if peer.state is not PeerState.CLOSED:
            self.on_disconnected(peer, reason, now)
            peer.connection.close(reason, now)

    def ban(self, peer: Peer, reason: str, now: int) -> None:
        """End the session, and refuse that peer from now on. Once: it may have gone already."""
        if peer.is_banned:
            return
        peer.is_banned = True
        self.candidates.ban(peer.address, peer.public_key, now)
        self._events.append(PeerBanned(peer, reason))
        self.drop(peer, reason, now)

    def emit(self, event: Event) -> None:
        """Report something to whoever drives the node."""
        self._events.append(event)

    # Driving, for the node

    @property
    def has_uploads(self) -> bool:
        """Whether `next_upload` is worth asking; it is asked after each event."""
        return True

    @abstractmethod
    def next_upload(self, now: int) -> bool:
        """Hand what is most urgent to its connection; False when there is nothing to send."""

    def receive_run(
        self, peer: Peer, run: BlocksPlaced | BlocksReceived | RequestsReceived, now: int
    ) -> None:
        """Take messages that a transport has parsed already. Raises nothing."""
        if isinstance(run, BlocksReceived):
            for index, begin, data in run.blocks:
                self.receive_message(peer, Piece(index, begin, bytes(data)).to_bytes(), now)
        elif isinstance(run, RequestsReceived):
            for request in run.requests:
                self.receive_message(peer, Request(*request).to_bytes(), now)

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        first = self._sweep_at
        for get_timer in self._timers:
            timer = get_timer()
            if timer is not None and (first is None or timer < first):
                first = timer
        return first

    def handle_timer(self, now: int) -> None:
        """Do what is due: extensions, and a look around once a second."""
        for extension in self._extensions:
            timer = extension.get_timer()
            if timer is not None and timer <= now:
                extension.handle_timer(now)
        if self._sweep_at is None or self._sweep_at <= now:
            self._sweep(now)
            self._sweep_at = now + SWEEP_US

    # For the subclasses

    @abstractmethod
    def _on_message(self, peer: Peer, message: Message, now: int) -> None:
        """Take a message that is about pieces. Raises ProtocolError: the peer is dropped."""

    @abstractmethod
    def _on_gone(self, peer: Peer, now: int) -> None:
        """The peer has left, ready or not: what it owes will not come."""

    @abstractmethod
    def _sweep_peer(self, peer: Peer, now: int) -> None:
        """Look after one peer, once a second."""

    def _make_peer(self, connection: Connection, public_key: bytes, now: int) -> Peer:
        return Peer(connection, public_key, now)

    def _make_way(self, caller: Address, now: int) -> bool:
        """There are as many peers as there may be: let one go for a caller, or refuse it."""
        return False

    def _on_greeted(self, peer: Peer, handshake: Handshake, now: int) -> None:
        """Their handshake is in. A peer is ready once it has said which extensions it speaks."""
        if not handshake.has_extended:
            raise ProtocolError("no extension protocol")

    def _greeting_fields(self) -> Mapping[bytes, bencode.Value]:
        """What our extension handshake says beside the extensions."""
        return {b"p": self.listen_port} if self.listen_port else {}

    def _send_handshakes(self, peer: Peer) -> None:
        self._send_handshake(peer)
        self._send_extension_handshake(peer)

    def _send_handshake(self, peer: Peer) -> None:
        peer.connection.send(Handshake(peer.info_hash, self.peer_id).to_bytes())

    def _send_extension_handshake(self, peer: Peer) -> None:
        names = [extension.name for extension in self._extensions]
        payload = extension_handshake(names, peer.address, self._greeting_fields())
        peer.send(Extended(0, payload))

    def _join(self, peer: Peer) -> None:
        """The peer can be talked to from now on."""
        self.ready[peer] = None
        self._events.append(PeerJoined(peer))

    # Messages

    def _on_handshake(self, peer: Peer, handshake: Handshake, now: int) -> None:
        self._admission.check(peer, handshake)
        for loser in self._admission.superfluous(peer, now):
            self.drop(loser, "connected twice", now)
            if loser is peer:
                return
        peer.move(PeerState.READY)
        self._note_address(peer)
        self._on_greeted(peer, handshake, now)

    def _on_extended(self, peer: Peer, message: Extended, now: int) -> None:
        if message.extension == 0:
            greeting = read_extension_handshake(message.payload)
            spoken = self._spoken_by(peer)
            peer.greeting = greeting
            peer.client, peer.extensions = greeting.client, greeting.extensions
            if peer not in self.ready:
                self._join(peer)
            if not peer.is_reachable:
                self._learn_address(peer, greeting.listen_port)
            # BEP 10: a later handshake may take an extension back, or add one.
            speaks = self._spoken_by(peer)
            for extension in spoken:
                if extension not in speaks:
                    extension.on_gone(peer, now)
            for extension in speaks:
                if extension not in spoken:
                    extension.on_ready(peer, now)
        elif peer in self.ready and message.extension <= len(self._extensions):
            extension = self._extensions[message.extension - 1]
            if extension.name in peer.extensions:
                extension.on_message(peer, message.payload, now)

    # Helpers

    def _to_improve(self, now: int) -> list[Address]:
        """Return where a better transport may get through by now; it takes over if it does."""
        if not self.seeks_better:
            return []
        due = [
            peer
            for peer in self.ready
            if peer.connection.is_outgoing
            and peer.connection.transport is not self.transports[0]
            and now - peer.improved_at >= BETTER_AFTER_US
            and peer.address not in self._called
        ]
        for peer in due:
            peer.improved_at = now
        return [peer.address for peer in due]

    def _to_replace(self, now: int) -> list[Address]:
        """Return where another connection may get through; whichever speaks first stays."""
        due = [
            peer
            for peer in self.ready
            if peer.connection.is_outgoing
            and self._is_doubtful(peer, now)
            and self._transports_beside(peer)
            and (peer.doubted_at is None or now - peer.doubted_at >= DOUBT_AGAIN_US)
            and peer.address not in self._called
        ]
        for peer in due:
            peer.doubted_at = now
        return [peer.address for peer in due]

    def _is_doubtful(self, peer: Peer, now: int) -> bool:
        """Whether a peer may be cut off."""
        return self.doubt_us is not None and now - peer.heard_at > self.doubt_us

    def _transports_beside(self, peer: Peer) -> list[Transport]:
        """By what to call whoever may be cut off."""
        return [each for each in self.transports if each is not peer.connection.transport]

    def _is_connected(self, address: Address) -> bool:
        host = address.host  # Most differ by that, which is quicker to ask for.
        return any(
            connection.address.host == host and peer.address == address
            for connection, peer in self.peers.items()
        )

    def _has_room(self, caller: Address, now: int) -> bool:
        if not self._admission.has_room_for(caller.host):
            return False
        return len(self.peers) < self.config.peers_max or self._make_way(caller, now)

    def _add(self, connection: Connection, public_key: bytes, info_hash: bytes, now: int) -> Peer:
        peer = self._make_peer(connection, public_key, now)
        peer.info_hash = info_hash
        self.peers[connection] = peer
        self._note_address(peer)
        if self._sweep_at is None:
            self._sweep_at = now + SWEEP_US
        return peer

    def _learn_address(self, peer: Peer, port: int | None) -> None:
        """A caller says where it listens: it is not called there while it is here."""
        if port is not None:
            peer.listen_port = port
            self.candidates.on_connected(peer.address)

    def _note_address(self, peer: Peer) -> None:
        """A caller's TCP port is not the one that it listens on: there is nothing to call there."""
        if peer.is_reachable:
            self.candidates.on_connected(peer.address)

    def _spoken_by(self, peer: Peer) -> Sequence[Extension]:
        return [extension for extension in self._extensions if extension.name in peer.extensions]

    def _on_silent(self, peer: Peer, now: int) -> None:
        transport = peer.connection.transport
        self.candidates.on_silent(peer.address, transport, self.transports, now)

    def _sweep(self, now: int) -> None:
        for peer in list(self.peers.values()):
            waited_us = now - peer.joined_at
            if peer not in self.ready and waited_us > self.config.greeting_timeout_us:
                self.drop(peer, "no greeting", now)
            elif now - peer.heard_at > self.config.silence_max_us:
                self.drop(peer, "silent", now)
                self._on_silent(peer, now)
            else:
                self._sweep_peer(peer, now)


def transports_used(peers: Iterable[Peer]) -> str:
    """Return what carries their messages, as `--stats` has it: `quic`, `quic+tcp`, or nothing."""
    used = {peer.connection.transport for peer in peers}
    return "+".join(each.value for each in Transport if each in used)
