"""Which pieces a peer goes on with, and which it begins (`Openings`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from livestream.machine import SECOND
from livestream.pieces.assembly import Assembly
from livestream.pieces.blockstore import BlockStore
from livestream.pieces.piecepicker import PiecePicker
from livestream.pieces.pieceset import PieceSet
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.bookings import Bookings
from livestream.swarm.suspects import Suspects

__all__ = ["Openings"]

WHOLE_PIECE_US: Final = 20 * SECOND  # A peer that gives a piece within this takes it whole.
SPARE_BYTES_MAX: Final = 16 << 20  # Buffers kept for the next pieces: fresh memory costs faults.


class Openings:
    """Offers each peer the pieces that have blocks for it: urgent, its own, shared, then new ones.

    Invariant: a piece that was forged goes to one author at a time.
    """

    def __init__(
        self, store: BlockStore, picker: PiecePicker, bookings: Bookings, suspects: Suspects
    ) -> None:
        self.urgent: dict[int, None] = {}
        "Pieces that somebody is about to play, in order. Anyone may help with them."
        self._store = store
        self._picker = picker
        self._bookings = bookings
        self._suspects = suspects
        self._spare: list[bytearray] = []

    def of(self, peer: BlockPeer) -> Iterator[Assembly[BlockPeer]]:
        """Yield begun pieces that a peer may continue, then new ones for it to begin."""
        if self.urgent and not peer.chokes_us:
            yield from self._urgent_of(peer)
        for assembly in list(peer.own):
            if assembly.free:
                yield assembly
        begun = self._bookings.begun
        for assembly in list(begun.values()) if not peer.chokes_us or peer.fast else ():
            if assembly.owner is None and assembly.free and assembly.index in peer.pieces:
                if peer.chokes_us and assembly.index not in peer.fast:
                    continue
                self._give(assembly, peer)
                yield assembly
        while self._store.has_room:
            index = self._choose(peer)
            if index is None:
                return
            assembly = begun[index] = self._assembly(index)
            self._give(assembly, peer)
            yield assembly

    def reuse(self, buffer: bytearray) -> None:
        """Take the buffer of a piece that is kept, for another one."""
        if (len(self._spare) + 1) * len(buffer) <= SPARE_BYTES_MAX:
            self._spare.append(buffer)

    def _urgent_of(self, peer: BlockPeer) -> Iterator[Assembly[BlockPeer]]:
        begun = self._bookings.begun
        for index in self.urgent:
            if index not in peer.pieces:
                continue
            assembly = begun.get(index)
            if index in self._suspects:
                continue  # It goes to one author, as others do.
            if assembly is None and self._picker.is_open(index):
                assembly = begun[index] = self._assembly(self._picker.begin(index))
            if assembly is not None and assembly.free:
                yield assembly

    def _assembly(self, index: int) -> Assembly[BlockPeer]:
        size = self._store.piece_size(index)
        is_spare = bool(self._spare) and len(self._spare[-1]) == size
        buffer = self._spare.pop() if is_spare else bytearray(size)
        return Assembly(index, buffer, self._store.padding_size(index))

    def _choose(self, peer: BlockPeer) -> int | None:
        if not peer.chokes_us:
            return self._picker.choose(peer.pieces)
        allowed = PieceSet(len(peer.pieces))
        for index in peer.fast:
            if index in peer.pieces:
                allowed.add(index)
        return self._picker.choose(allowed) if allowed.held else None

    def _give(self, assembly: Assembly[BlockPeer], peer: BlockPeer) -> None:
        """Let a quick peer have a piece to itself; slow ones share.

        A piece that was forged once is not shared again: its next copy is to have one author.
        """
        size = len(assembly.buffer)
        is_quick = peer.rate_in * WHOLE_PIECE_US / SECOND >= size
        if not peer.rate_in:  # Rates are known after a second; who gave a piece by then is quick.
            is_quick |= peer.bytes_in >= size
        if is_quick or assembly.index in self._suspects:
            self._bookings.own(assembly, peer)
