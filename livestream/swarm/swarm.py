"""One swarm: its peers, what they are asked for and what they get. Knows neither live nor torrent.

Everything that differs between the two modes is behind the seams: `Verifier`, `PieceStore`,
`Picker`, `Choker`, and `Extension` for what they tell each other beside the peer wire protocol.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from livestream.config import SwarmConfig
from livestream.errors import ProtocolError
from livestream.machine import SECOND, Address, Event, earliest
from livestream.pieces.picker import Picker
from livestream.pieces.store import PieceStore
from livestream.pieces.verifier import Verdict, Verifier
from livestream.swarm.candidates import Candidates
from livestream.swarm.choker import Choker
from livestream.swarm.extension import Extension
from livestream.swarm.greeting import extension_handshake, read_extension_handshake
from livestream.swarm.peer import Peer, PeerState, node_id, peer_id_of
from livestream.swarm.uploads import UploadQueue, Urgency
from livestream.transport.connection import Connection
from livestream.wire import messages
from livestream.wire.messages import Cancel, Extended, Handshake, Message, Piece, Reject, Request

__all__ = ["PeerBanned", "PeerJoined", "PeerLeft", "Seams", "Swarm"]

SWEEP_US: Final = SECOND  # How often silence and forgotten requests are looked for.
REQUEST_FORGOTTEN_US: Final = 10 * SECOND
ASKED_LIFETIME_US: Final = 2 * SECOND  # Whoever asked has asked elsewhere by then.
STRANGE_MAX: Final = 500  # Pieces of another epoch that one peer may send before it is dropped.


@dataclass(frozen=True, slots=True)
class PeerJoined(Event):
    """The peer's extension handshake is in: it can be talked to."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class PeerLeft(Event):
    """A peer that had joined is gone."""

    peer: Peer
    reason: str


@dataclass(frozen=True, slots=True)
class PeerBanned(Event):
    """A peer sent what no honest peer can send."""

    peer: Peer
    reason: str


@dataclass(frozen=True, slots=True)
class Seams:
    """What makes a swarm a live channel or a torrent."""

    verifier: Verifier
    store: PieceStore
    picker: Picker[Peer]
    choker: Choker


@dataclass(slots=True)
class SwarmStats:
    """Counters of a swarm; they only grow."""

    pieces_received: int = 0
    "Verified and kept."
    pieces_duplicate: int = 0
    pieces_rejected: int = 0
    "Forged: their senders are banned."
    pieces_strange: int = 0
    payload_bytes: int = 0
    "Of all pieces received, kept or not."
    source_bytes: int = 0
    "Of the kept ones, what came straight from the publisher."
    kept_bytes: int = 0
    message_errors: int = 0


class Swarm:
    """The peers of one info-hash. Not a machine of its own: the node feeds it and drains it.

    Invariant: a peer is in `peers` from its greeting to its end; only READY peers that finished
    the extension handshake are `ready`; every stored piece has passed the verifier.
    """

    def __init__(
        self,
        info_hash: bytes,
        public_key: bytes,
        seams: Seams,
        config: SwarmConfig,
        rng: Random,
    ) -> None:
        self.info_hash = info_hash
        self.peer_id = peer_id_of(public_key)
        self.node_id = node_id(public_key)
        self.config = config
        self.stats = SwarmStats()
        self.candidates = Candidates(rng)
        self.uploads = UploadQueue()
        self.peers: dict[Connection, Peer] = {}
        self.ready: dict[Peer, None] = {}
        self.source_peers: dict[Peer, None] = {}
        "Peers known to be the origin of the pieces; for the books only."
        self._seams = seams
        self._extensions: list[Extension] = []
        self._asked: dict[int, list[Peer]] = {}
        self._events: deque[Event] = deque()
        self._sweep_at: int | None = None

    # Set-up

    def speak(self, extension: Extension) -> None:
        """Offer an extension to every peer from now on."""
        self._extensions.append(extension)

    # Connections, for the node

    def next_attempts(self, now: int) -> list[Address]:
        """Return the addresses to connect to now; each must end in `greet` or `on_lost`."""
        greeting = sum(peer.state is PeerState.GREETING for peer in self.peers.values())
        room = min(
            self.config.neighbours_wanted - len(self.peers), self.config.attempts_max - greeting
        )
        return self.candidates.next_attempts(room, now) if room > 0 else []

    def greet(self, connection: Connection, public_key: bytes, now: int) -> Peer | None:
        """Say hello on a connection that we opened; None if the peer is not wanted."""
        if self._refusal(connection, public_key, now):
            return None
        peer = self._add(connection, public_key, now)
        self._send_handshakes(peer)
        return peer

    def admit(
        self, connection: Connection, public_key: bytes, handshake: Handshake, now: int
    ) -> Peer | None:
        """Answer a peer that called us and said hello; None if it is not wanted."""
        if self._refusal(connection, public_key, now) or len(self.peers) >= self.config.peers_max:
            return None
        peer = self._add(connection, public_key, now)
        self._send_handshakes(peer)
        self._on_handshake(peer, handshake, now)
        return peer if peer.state is not PeerState.CLOSED else None

    def on_lost(self, address: Address, now: int) -> None:
        """A connection attempt came to nothing."""
        self.candidates.on_lost(address, now, was_ready=False)

    def on_disconnected(self, peer: Peer, reason: str, now: int) -> None:
        """The connection of a peer has ended, whoever ended it."""
        if self.peers.get(peer.connection) is not peer:
            return
        was_ready = peer in self.ready
        del self.peers[peer.connection]
        self.ready.pop(peer, None)
        self.source_peers.pop(peer, None)
        self.uploads.drop_peer(peer)
        if peer.state is not PeerState.CLOSED:
            peer.move(PeerState.CLOSED)
        if not any(other.address == peer.address for other in self.peers.values()):
            self.candidates.on_lost(peer.address, now, was_ready=was_ready)
        for index in list(peer.requested):
            self._forget_request(peer, index)
            self._seams.picker.on_failed(index, peer, now)
        if was_ready:
            for extension in self._spoken_by(peer):
                extension.on_gone(peer, now)
            self._events.append(PeerLeft(peer, reason))

    def receive_message(self, peer: Peer, data: bytes, now: int) -> None:
        """Take one message of a peer. A peer that breaks the protocol is dropped."""
        peer.heard_at = now
        if peer.state is PeerState.CLOSED:
            return
        try:
            if peer.state is PeerState.GREETING:
                self._on_handshake(peer, Handshake.parse(data), now)
            else:
                message = messages.parse(data)
                if message is not None:
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
        """End the session, and refuse that peer from now on."""
        self.candidates.ban(peer.address, peer.public_key, now)
        self._events.append(PeerBanned(peer, reason))
        self.drop(peer, reason, now)

    def store(self, index: int, data: bytes, now: int, peer: Peer | None = None) -> None:
        """Keep a verified piece, our own or a peer's, and let everyone know who must."""
        self._seams.store.put(index, data, now)
        self._seams.picker.on_stored(index, now)
        for asked in self._asked.pop(index, ()):
            asked.requested.pop(index, None)
            if asked is not peer:
                asked.send(Cancel(index, 0, len(data)))
        for extension in self._extensions:
            extension.on_stored(index, peer, now)

    def push(self, peer: Peer, index: int, deadline: int, now: int) -> bool:
        """Queue a piece that a peer subscribed to; False when its connection is overloaded."""
        if index in peer.held:
            return True
        return self.uploads.add(peer, index, urgency=Urgency.PUSHED, deadline=deadline, now=now)

    def emit(self, event: Event) -> None:
        """Report something to whoever drives the node."""
        self._events.append(event)

    # Driving, for the node

    def next_upload(self, now: int) -> bool:
        """Hand the most urgent piece to its connection; False when there is none to send."""
        while (upload := self.uploads.next_upload(now)) is not None:
            peer, entry = upload
            data = self._seams.store.get(entry.index)
            if data is None or (entry.urgency is Urgency.PUSHED and entry.index in peer.held):
                continue
            message = Piece(entry.index, 0, data).to_bytes()
            peer.connection.send_independent(message, entry.deadline)
            peer.stats.pieces_out += 1
            peer.up.add(len(data), now)
            return True
        return False

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return earliest(
            self._sweep_at,
            self._seams.picker.get_timer(),
            *(extension.get_timer() for extension in self._extensions),
        )

    def handle_timer(self, now: int) -> None:
        """Do what is due: requests, extensions, and a look around once a second."""
        for extension in self._extensions:
            timer = extension.get_timer()
            if timer is not None and timer <= now:
                extension.handle_timer(now)
        timer = self._seams.picker.get_timer()
        if timer is not None and timer <= now:
            self._send_requests(now)
        if self._sweep_at is None or self._sweep_at <= now:
            self._sweep(now)
            self._sweep_at = now + SWEEP_US

    # Messages

    def _on_handshake(self, peer: Peer, handshake: Handshake, now: int) -> None:
        if handshake.info_hash != self.info_hash:
            raise ProtocolError("another swarm's handshake")
        if handshake.peer_id != peer.peer_id:
            raise ProtocolError("a peer id that is not its key's")
        if not handshake.has_extended:
            raise ProtocolError("no extension protocol")
        for other in list(self.peers.values()):
            if other is not peer and other.peer_id == peer.peer_id:
                loser = self._worse_of(peer, other)
                self.drop(loser, "connected twice", now)
                if loser is peer:
                    return
        peer.move(PeerState.READY)
        self.candidates.on_connected(peer.address)

    def _on_message(self, peer: Peer, message: Message, now: int) -> None:
        if isinstance(message, Piece):
            self._on_piece(peer, message, now)
        elif isinstance(message, Extended):
            self._on_extended(peer, message, now)
        elif isinstance(message, Request):
            self._on_request(peer, message, now)
        elif isinstance(message, Reject):
            if message.index in peer.requested:
                self._forget_request(peer, message.index)
                self._seams.picker.on_failed(message.index, peer, now)
        elif isinstance(message, Cancel):
            self.uploads.cancel(peer, message.index)

    def _on_piece(self, peer: Peer, message: Piece, now: int) -> None:
        index, data = message.index, message.data
        peer.stats.pieces_in += 1
        peer.down.add(len(data), now)
        self.stats.payload_bytes += len(data)
        peer.held.add(index)
        if message.begin or not self._seams.store.wants(index):
            peer.stats.pieces_duplicate += 1
            self.stats.pieces_duplicate += 1
            return
        verdict = self._seams.verifier.verify(index, data)
        if verdict is Verdict.FORGED:
            self.stats.pieces_rejected += 1
            self.ban(peer, f"piece {index} is forged", now)
        elif verdict is Verdict.STRANGE:
            self.stats.pieces_strange += 1
            peer.stats.pieces_strange += 1
            if peer.stats.pieces_strange > STRANGE_MAX:
                raise ProtocolError("too many pieces of another epoch")
        else:
            self.stats.pieces_received += 1
            self.stats.kept_bytes += len(data)
            if peer in self.source_peers:
                self.stats.source_bytes += len(data)
            self.store(index, data, now, peer)

    def _on_request(self, peer: Peer, message: Request, now: int) -> None:
        is_served = (
            message.begin == 0
            and self._seams.store.holds(message.index)
            and self._seams.choker.serves(peer, message.index, now)
            and self.uploads.add(
                peer,
                message.index,
                urgency=Urgency.ASKED,
                deadline=now + ASKED_LIFETIME_US,
                now=now,
            )
        )
        if not is_served:
            peer.send(Reject(message.index, message.begin, message.length))

    def _on_extended(self, peer: Peer, message: Extended, now: int) -> None:
        if message.extension == 0:
            peer.client, peer.extensions = read_extension_handshake(message.payload)
            if peer not in self.ready:
                self.ready[peer] = None
                self._events.append(PeerJoined(peer))
                for extension in self._spoken_by(peer):
                    extension.on_ready(peer, now)
        elif peer in self.ready and message.extension <= len(self._extensions):
            extension = self._extensions[message.extension - 1]
            if extension.name in peer.extensions:
                extension.on_message(peer, message.payload, now)

    # Helpers

    def _refusal(self, connection: Connection, public_key: bytes, now: int) -> bool:
        if peer_id_of(public_key) == self.peer_id:
            self.candidates.forget(connection.address)
            return True
        return self.candidates.bans(connection.address, public_key, now)

    def _add(self, connection: Connection, public_key: bytes, now: int) -> Peer:
        peer = Peer(connection, public_key, now)
        self.peers[connection] = peer
        self.candidates.on_connected(connection.address)
        if self._sweep_at is None:
            self._sweep_at = now + SWEEP_US
        return peer

    def _send_handshakes(self, peer: Peer) -> None:
        peer.connection.send(Handshake(self.info_hash, self.peer_id).to_bytes())
        names = [extension.name for extension in self._extensions]
        peer.send(Extended(0, extension_handshake(names, peer.address)))

    def _worse_of(self, new: Peer, old: Peer) -> Peer:
        """Both ends must drop the same one: keep what the smaller peer id opened, else the new."""
        if new.connection.is_outgoing == old.connection.is_outgoing:
            return old
        keeps_outgoing = self.peer_id < new.peer_id
        return old if new.connection.is_outgoing == keeps_outgoing else new

    def _spoken_by(self, peer: Peer) -> Sequence[Extension]:
        return [extension for extension in self._extensions if extension.name in peer.extensions]

    def _send_requests(self, now: int) -> None:
        for pick in self._seams.picker.picks(list(self.ready), now):
            pick.holder.requested[pick.index] = now
            self._asked.setdefault(pick.index, []).append(pick.holder)
            pick.holder.send(Request(pick.index, 0, messages.MESSAGE_BYTES_MAX >> 4))

    def _forget_request(self, peer: Peer, index: int) -> None:
        peer.requested.pop(index, None)
        asked = self._asked.get(index)
        if asked is not None and peer in asked:
            asked.remove(peer)
            if not asked:
                del self._asked[index]

    def _sweep(self, now: int) -> None:
        for peer in list(self.peers.values()):
            waited_us = now - peer.joined_at
            if peer not in self.ready and waited_us > self.config.greeting_timeout_us:
                self.drop(peer, "no greeting", now)
                continue
            if now - peer.heard_at > self.config.silence_max_us:
                self.drop(peer, "silent", now)
                continue
            for index, asked_at in list(peer.requested.items()):
                if now - asked_at > REQUEST_FORGOTTEN_US:
                    self._forget_request(peer, index)
