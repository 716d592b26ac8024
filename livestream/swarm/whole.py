"""A swarm whose pieces are small enough to travel in one message each: live channels."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from livestream.config import SwarmConfig
from livestream.errors import ProtocolError
from livestream.machine import SECOND
from livestream.pieces.picker import Picker
from livestream.pieces.store import PieceStore
from livestream.pieces.verifier import Verdict, Verifier
from livestream.swarm.choker import Choker
from livestream.swarm.peer import Peer
from livestream.swarm.swarm import Swarm
from livestream.swarm.uploads import UploadQueue, Urgency
from livestream.wire import messages
from livestream.wire.messages import (
    Cancel,
    Have,
    Interested,
    Message,
    NotInterested,
    Piece,
    Reject,
    Request,
)

__all__ = ["Seams", "WholePieceSwarm"]

_PUSHED: Final = Urgency.PUSHED  # To look up an enum's member takes long.
REQUEST_BYTES: Final = messages.MESSAGE_BYTES_MAX >> 4
ASKED_LIFETIME_US: Final = 2 * SECOND  # Whoever asked has asked elsewhere by then.
REQUEST_FORGOTTEN_US: Final = ASKED_LIFETIME_US + SECOND  # No answer comes any more.
STRANGE_MAX: Final = 500  # Pieces of another epoch that one peer may send before it is dropped.


@dataclass(frozen=True, slots=True)
class Seams:
    """What makes a swarm a live channel or a torrent."""

    verifier: Verifier
    store: PieceStore
    picker: Picker[Peer]
    choker: Choker


class WholePieceSwarm(Swarm):
    """Asks for pieces, takes them, and pushes them on, each as one independent message.

    Invariant: every stored piece has passed the verifier.
    """

    doubt_us = 2 * SECOND  # A live peer says something each second.
    seeks_better = True  # In a byte stream one lost segment delays every piece behind it.

    def __init__(
        self,
        info_hash: bytes,
        public_key: bytes,
        seams: Seams,
        config: SwarmConfig,
        rng: Random,
        *,
        uploads: UploadQueue | None = None,
    ) -> None:
        super().__init__(info_hash, public_key, config, rng)
        self.uploads = uploads or UploadQueue()
        self._seams = seams
        self._timers.append(seams.picker.get_timer)
        self._asked: dict[int, dict[Peer, None]] = {}

    # Commands

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
        return self.uploads.add(peer, index, urgency=_PUSHED, deadline=deadline, now=now)

    # Driving, for the node

    @property
    def has_uploads(self) -> bool:
        """Whether a piece is queued for anybody."""
        return not self.uploads.is_idle

    def next_upload(self, now: int) -> bool:
        """Hand the most urgent piece to its connection; False when there is none to send."""
        while (upload := self.uploads.next_upload(now)) is not None:
            peer, entry = upload
            data = self._seams.store.get(entry.piece)
            if data is None or (entry.urgency is _PUSHED and entry.piece in peer.held):
                continue
            message = Piece(entry.piece, 0, data).to_bytes()
            peer.connection.send_independent(message, entry.deadline)
            peer.stats.pieces_out += 1
            peer.up.add(len(data), now)
            return True
        return False

    def handle_timer(self, now: int) -> None:
        """Do what is due, requests included."""
        super().handle_timer(now)
        timer = self._seams.picker.get_timer()
        if timer is not None and timer <= now:
            self._send_requests(now)

    # What the peers do

    def _on_gone(self, peer: Peer, now: int) -> None:
        self.uploads.drop_peer(peer)
        for index in list(peer.requested):
            self._forget_request(peer, index)
            self._seams.picker.on_failed(index, peer, now)

    def _on_message(self, peer: Peer, message: Message, now: int) -> None:
        if isinstance(message, Piece):
            self._on_piece(peer, message, now)
        elif isinstance(message, Request):
            self._on_request(peer, message, now)
        elif isinstance(message, Reject):
            if message.index in peer.requested:
                self._forget_request(peer, message.index)
                self._seams.picker.on_failed(message.index, peer, now)
        elif isinstance(message, Have):
            peer.held.add(message.index)  # Queued or not, it is not pushed any more.
        elif isinstance(message, Cancel):
            self.uploads.cancel(peer, message.index)
        elif isinstance(message, (Interested, NotInterested)):
            peer.is_interested = isinstance(message, Interested)

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

    # Helpers

    def _send_requests(self, now: int) -> None:
        for pick in self._seams.picker.picks(list(self.ready), now):
            pick.holder.requested[pick.index] = now
            self._asked.setdefault(pick.index, {})[pick.holder] = None
            pick.holder.send(Request(pick.index, 0, REQUEST_BYTES))
        for index in self._seams.picker.take_given_up():
            # Else it counts as owed, and those that owe us much are asked for nothing more.
            for peer in self._asked.pop(index, ()):
                peer.requested.pop(index, None)
                peer.send(Cancel(index, 0, REQUEST_BYTES))

    def _forget_request(self, peer: Peer, index: int) -> None:
        peer.requested.pop(index, None)
        asked = self._asked.get(index)
        if asked is not None:
            asked.pop(peer, None)
            if not asked:
                del self._asked[index]

    def _sweep_peer(self, peer: Peer, now: int) -> None:
        for index, asked_at in list(peer.requested.items()):
            if now - asked_at > REQUEST_FORGOTTEN_US:
                self._forget_request(peer, index)
