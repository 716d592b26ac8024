"""Blocks on their way in: what peers say that they have and give, and what we ask of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from livestream.errors import ProtocolError
from livestream.pieces.assembly import BLOCK_BYTES
from livestream.pieces.pieceset import PieceSet
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.peer import Peer
from livestream.swarm.requests import Requests
from livestream.swarm.swarmevents import SwarmStats
from livestream.transport.connection import BlocksPlaced, BlocksReceived
from livestream.wire.messages import (
    AllowedFast,
    Bitfield,
    Cancel,
    Choke,
    HaveAll,
    HaveNone,
    Interested,
    NotInterested,
    Reject,
    Unchoke,
    requests_to_bytes,
)

__all__ = ["BlockDownloads"]

ALLOWED_FAST_MAX: Final = 64
WASTED_MAX: Final = 1_000  # Blocks of no use beyond the useful ones: twice what may be under way.


class BlockDownloads:
    """Keeps every peer's queue of requests filled, and tells it whether it is of interest.

    Invariant: only peers that are ready are asked, and nobody while `is_paused`.
    """

    def __init__(self, requests: Requests, ready: Mapping[Peer, None], stats: SwarmStats) -> None:
        """Take the swarm's ready peers and its counters, to share them."""
        self.is_paused = False
        "No requests go out: the disk is full, or the user wants it so."
        self._requests = requests
        self._ready = ready
        self._stats = stats

    # What comes

    def receive(self, peer: BlockPeer, run: BlocksPlaced | BlocksReceived, now: int) -> bool:
        """Take blocks, and ask for more. False if a peer sends what nobody asked for."""
        if isinstance(run, BlocksPlaced):
            before = peer.bytes_in
            extra = self._requests.receive_placed(peer, run.blocks)
            self._stats.payload_bytes += peer.bytes_in - before
        else:
            extra = self._receive_blocks(peer, run.blocks)
        for other, block in extra:
            other.send(Cancel(*block))
        if peer.blocks_wasted > WASTED_MAX + peer.bytes_in // BLOCK_BYTES:
            return False
        peer.on_blocks(len(run.blocks), now)
        if len(peer.owed) <= peer.depth * 3 // 4:
            self.fill(peer, now)
        return True

    def on_have(self, peer: BlockPeer, index: int, now: int) -> None:
        """A peer has one more piece."""
        if self._requests.on_have(peer, index):
            self.tell_interest(peer)
            self.fill(peer, now)

    def on_pieces(self, peer: BlockPeer, message: Bitfield | HaveAll | HaveNone, now: int) -> None:
        """A peer says what it has. Raises ProtocolError: it says so once too often, or wrongly."""
        # BEP 6: only right after the handshake; a byte must not cost us a pass over all pieces each
        # time. Bitfields cost their sender as much, and aria2 sends them instead of many haves.
        if peer.has_told_pieces and not isinstance(message, Bitfield):
            raise ProtocolError("said twice what it has")
        peer.has_told_pieces = True
        count = len(peer.pieces)
        pieces = PieceSet(count)
        if isinstance(message, Bitfield):
            pieces = PieceSet.from_bytes(message.bits, count)
        elif isinstance(message, HaveAll):
            pieces.fill()
        self._requests.replace_pieces(peer, pieces)
        self.tell_interest(peer)
        self.fill(peer, now)

    def on_lost(self, peer: BlockPeer, index: int, now: int) -> None:
        """A peer has a piece no more. Raises ProtocolError: there is no such piece."""
        if index >= len(peer.pieces):
            raise ProtocolError(f"takes back piece {index}")
        if self._requests.on_lost(peer, index):
            self.tell_interest(peer)
            self.fill_all(now)

    def on_permission(
        self, peer: BlockPeer, message: Choke | Unchoke | AllowedFast | Reject, now: int
    ) -> None:
        """A peer says what we may ask it for."""
        if isinstance(message, Choke):
            peer.chokes_us = True
            if not peer.has_fast_extension:
                self._requests.void(peer)
                self.fill_all(now)
            elif self._requests.on_choked(peer):  # What it owes, rejects follow for (BEP 6).
                self.fill_all(now)
        elif isinstance(message, Unchoke):
            peer.chokes_us = False
            peer.gave_at = now
            self.fill(peer, now)
        elif isinstance(message, AllowedFast):
            if message.index < len(peer.pieces) and len(peer.fast) < ALLOWED_FAST_MAX:
                peer.fast[message.index] = None
                self.fill(peer, now)
        else:
            self._requests.on_reject(peer, message.index, message.begin)

    # Asking

    def tell_interest(self, peer: BlockPeer) -> None:
        """Tell a peer whether it has something for us, if that has changed."""
        is_wanted = self._requests.wants_of(peer)
        if is_wanted != peer.is_wanted:
            peer.is_wanted = is_wanted
            peer.send(Interested() if is_wanted else NotInterested())

    def fill(self, peer: BlockPeer, now: int) -> None:
        """Ask a peer for as much as it may owe."""
        if self.is_paused or peer not in self._ready:
            return
        blocks = self._requests.next_blocks(peer, now)
        if self._requests.cancels:
            self._send_cancels()
        if blocks:
            peer.connection.expect(self._requests.places(peer, blocks))
            peer.connection.send_many(requests_to_bytes(blocks))

    def fill_all(self, now: int) -> None:
        """Ask every peer for as much as it may owe."""
        for peer in list(self._ready):
            self.fill(cast(BlockPeer, peer), now)

    def look_around(self, elapsed_us: int, now: int) -> None:
        """Once a second: see who has become quick or slow, and ask accordingly."""
        peers = [cast(BlockPeer, peer) for peer in self._ready]
        for peer in peers:
            peer.measure(elapsed_us)
            self._requests.look_after(peer, now)
        for peer in peers:
            if not peer.is_snubbed:  # First: others would take again what they are relieved of.
                self.fill(peer, now)

    def set_urgent(self, indexes: Sequence[int], now: int, *, is_jump: bool) -> None:
        """Ask for these pieces first, in this order; after a jump, for nothing else before them."""
        self._requests.set_urgent(indexes)
        if is_jump:
            self._requests.preempt()
            self._send_cancels()
        self.fill_all(now)

    # Helpers

    def _receive_blocks(
        self, peer: BlockPeer, blocks: Sequence[tuple[int, int, memoryview]]
    ) -> list[tuple[BlockPeer, tuple[int, int, int]]]:
        extra = []
        for index, begin, data in blocks:
            self._stats.payload_bytes += len(data)
            others = self._requests.receive(peer, index, begin, data)
            if others is None:
                self._stats.pieces_duplicate += 1
            else:
                extra += [(other, (index, begin, len(data))) for other in others]
        return extra

    def _send_cancels(self) -> None:
        for peer, block in self._requests.take_cancels():
            peer.send(Cancel(*block))
