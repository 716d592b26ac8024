"""What is asked of whom: blocks under way, and the pieces they make (`Requests`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from livestream.machine import SECOND
from livestream.pieces.assembly import BLOCK_BYTES, Assembly
from livestream.pieces.blockstore import BlockStore
from livestream.pieces.pieceset import PieceSet
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.choker import Choker
from livestream.swarm.peer import Peer

__all__ = ["BlockChoker", "PiecePicker", "Requests"]

SNUB_US: Final = 20 * SECOND  # Owing blocks and giving none for so long is snubbing.
VOID_US: Final = 60 * SECOND  # After that its requests are void.
WHOLE_PIECE_US: Final = 20 * SECOND  # A peer that gives a piece within this takes it whole.
ENDGAME_COPIES: Final = 2
SPARE_MAX: Final = 16  # Buffers kept for the next pieces: fresh memory costs a page fault each.
SUSPECTS_MAX: Final = 64  # Forged pieces whose blocks are remembered until the good copy comes.


class PiecePicker(ABC):
    """The seam `Picker` of block swarms: which piece to begin next, with whom?"""

    @abstractmethod
    def add_peer(self, pieces: PieceSet) -> None:
        """Count a peer's pieces in."""

    @abstractmethod
    def remove_peer(self, pieces: PieceSet) -> None:
        """Count a peer's pieces out."""

    @abstractmethod
    def add_piece(self, pieces: PieceSet, index: int) -> None:
        """Count one piece that a peer has just announced: `pieces` has it already."""

    @abstractmethod
    def choose(self, pieces: PieceSet) -> int | None:
        """Return the piece to begin with a peer that has `pieces`, or None, and close it."""

    @abstractmethod
    def is_open(self, index: int) -> bool:
        """Whether a piece is wanted, and neither held nor begun."""

    @abstractmethod
    def wants_any(self, pieces: PieceSet) -> bool:
        """Whether an open piece is among these."""

    @abstractmethod
    def reopen(self, index: int) -> None:
        """A piece was forged or given up: it is for choosing again."""

    @property
    @abstractmethod
    def has_open(self) -> bool:
        """Whether any piece is open."""


class BlockChoker(Choker):
    """The seam `Choker` of block swarms, which choke and unchoke in rounds (BEP 3)."""

    @abstractmethod
    def get_timer(self) -> int | None:
        """Return when the next round is due."""

    @abstractmethod
    def on_interested(self, peer: BlockPeer, now: int) -> bool:
        """A peer wants something; True if it may have it at once."""

    @abstractmethod
    def on_left(self, peer: Peer) -> None:
        """A peer is gone, or wants nothing any more."""

    @abstractmethod
    def rank(
        self, peers: Sequence[BlockPeer], now: int, *, is_seed: bool, has_spare_upload: bool
    ) -> list[BlockPeer]:
        """Hold a round. Returns who is unchoked from now on."""


class Requests:
    """The blocks that are under way.

    Invariant: a wanted piece is open in the picker, begun (`_begun`), being verified
    (`_verifying`) or held; a block in a peer's `owed` is in its assembly's `asked`.
    """

    def __init__(
        self,
        store: BlockStore,
        picker: PiecePicker,
        ban: Callable[[Peer, str, int], None],
    ) -> None:
        self.blocks_wasted = 0
        "Came twice, or were not asked for."
        self._store = store
        self._picker = picker
        self._ban = ban
        self._begun: dict[int, Assembly[BlockPeer]] = {}
        self._verifying: dict[int, Assembly[BlockPeer]] = {}
        self._suspects: dict[int, dict[int, tuple[BlockPeer, bytes]]] = {}
        "(author, digest) of every block of forged pieces, until the good copy comes."
        self._spare: list[bytearray] = []

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is wanted."""
        return not (self._begun or self._verifying or self._picker.has_open)

    @property
    def begun_count(self) -> int:
        """Pieces that have some of their blocks."""
        return len(self._begun)

    # Peers

    def add_peer(self, peer: BlockPeer) -> None:
        """A peer is ready; it has said nothing of its pieces yet."""
        self._picker.add_peer(peer.pieces)

    def drop_peer(self, peer: BlockPeer) -> bool:
        """A peer is gone; True if it owed something that others can be asked for now."""
        owed = bool(peer.owed)
        self.void(peer)
        self._picker.remove_peer(peer.pieces)
        return owed

    def replace_pieces(self, peer: BlockPeer, pieces: PieceSet) -> None:
        """A peer said what it has."""
        self._picker.remove_peer(peer.pieces)
        peer.pieces = pieces
        self._picker.add_peer(pieces)

    def on_have(self, peer: BlockPeer, index: int) -> bool:
        """A peer has one more piece; whether that is news that we can use."""
        if not peer.pieces.add(index):
            return False
        self._picker.add_piece(peer.pieces, index)
        return self._picker.is_open(index) or index in self._begun

    def wants_of(self, peer: BlockPeer) -> bool:
        """Whether a peer has something that we want."""
        return self._picker.wants_any(peer.pieces) or any(
            index in peer.pieces for index in self._begun
        )

    # Blocks

    def next_blocks(self, peer: BlockPeer, now: int) -> list[tuple[int, int, int]]:
        """Return (piece, begin, length) of what to ask a peer for now, and book it as asked."""
        room = (1 if peer.is_snubbed else peer.depth) - len(peer.owed)
        if room <= 0 or (peer.chokes_us and not peer.fast):
            return []
        found: list[tuple[int, int, int]] = []
        for assembly in self._sources(peer):
            while assembly.free and len(found) < room:
                found.append(self._book(peer, assembly, assembly.free.pop(), now))
            if len(found) >= room:
                return found
        if not self._picker.has_open and not peer.is_snubbed and len(found) < room:
            found += self._endgame(peer, room - len(found), now)
        return found

    def receive(
        self, peer: BlockPeer, index: int, begin: int, data: bytes | memoryview
    ) -> Sequence[BlockPeer] | None:
        """Take a block. Returns who else was asked for it; None if it was of no use."""
        block, odd = divmod(begin, BLOCK_BYTES)
        size = len(data)
        assembly = self._begun.get(index)
        others = None
        if not odd and peer.owed.pop((index, block), None) is not None and assembly is not None:
            others = assembly.put(block, data, peer)
            if others is None:
                assembly.release(block, peer)
        if assembly is None or others is None:
            self.blocks_wasted += 1
            peer.blocks_wasted += 1
            return None
        peer.bytes_in += size
        peer.bytes_in_round += size
        for other in others:
            other.owed.pop((index, block), None)
        if not assembly.missing:
            self._finish(assembly)
        return others

    def on_reject(self, peer: BlockPeer, index: int, begin: int) -> None:
        """A peer will not give a block."""
        block = begin // BLOCK_BYTES
        if peer.owed.pop((index, block), None) is not None:
            peer.fast.pop(index, None)
            assembly = self._begun.get(index)
            if assembly is not None:
                assembly.release(block, peer)
                self._disown(assembly, peer)

    def void(self, peer: BlockPeer) -> None:
        """Nothing that a peer owes will come: all of it is for others again."""
        for index, block in peer.owed:
            assembly = self._begun.get(index)
            if assembly is not None:
                assembly.release(block, peer)
        peer.owed.clear()
        for assembly in list(peer.own):
            self._disown(assembly, peer)

    def look_after(self, peer: BlockPeer, now: int) -> None:
        """Notice a peer that owes and does not give."""
        silent_us = now - peer.gave_at
        if not peer.owed or silent_us < SNUB_US:
            return
        if not peer.is_snubbed:
            peer.is_snubbed = True
            peer.depth = 1
            for assembly in list(peer.own):
                self._disown(assembly, peer)
        if silent_us > VOID_US or not self._picker.has_open:
            self.void(peer)

    # Pieces

    def on_kept(self, index: int, now: int) -> None:
        """A piece is genuine: whoever gave another version of a block of it before is banned."""
        assembly = self._verifying.pop(index, None)
        suspects = self._suspects.pop(index, None)
        if assembly is None:
            return
        if len(self._spare) < SPARE_MAX:
            self._spare.append(assembly.buffer)
        if suspects is None:
            return
        genuine = assembly.digests()
        liars = [author for block, (author, forged) in suspects.items() if forged != genuine[block]]
        for author in dict.fromkeys(liars):
            self._ban(author, f"sent a forged block of piece {index}", now)

    def on_forged(self, index: int, now: int) -> None:
        """A piece is not what it should be. One author: banned. Several: found out later."""
        assembly = self._verifying.pop(index, None)
        self._picker.reopen(index)
        if assembly is None:
            return
        authors = list(dict.fromkeys(author for author in assembly.authors if author is not None))
        if len(authors) == 1:
            self._ban(authors[0], f"sent a forged piece {index}", now)
        elif len(self._suspects) < SUSPECTS_MAX:
            pairs = enumerate(zip(assembly.authors, assembly.digests(), strict=True))
            self._suspects[index] = {
                block: (author, digest) for block, (author, digest) in pairs if author is not None
            }

    def on_given_up(self, index: int) -> None:
        """A piece could not be kept: it is wanted still."""
        self._verifying.pop(index, None)
        self._picker.reopen(index)

    # Helpers

    def _sources(self, peer: BlockPeer) -> Iterator[Assembly[BlockPeer]]:
        """Yield begun pieces that a peer may continue, then new ones for it to begin."""
        for assembly in list(peer.own):
            if assembly.free:
                yield assembly
        if not peer.chokes_us:
            for assembly in list(self._begun.values()):
                if assembly.owner is None and assembly.free and assembly.index in peer.pieces:
                    self._own(assembly, peer)
                    yield assembly
        while self._store.has_room:
            index = self._choose(peer)
            if index is None:
                return
            assembly = self._assembly(index)
            self._begun[index] = assembly
            self._own(assembly, peer)
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

    def _own(self, assembly: Assembly[BlockPeer], peer: BlockPeer) -> None:
        """Let a quick peer have a piece to itself; slow ones share.

        A piece that was forged once is not shared again: its next copy is to have one author.
        """
        is_quick = peer.rate_in * WHOLE_PIECE_US / SECOND >= len(assembly.buffer)
        if is_quick or assembly.index in self._suspects:
            assembly.owner = peer
            peer.own.append(assembly)

    def _disown(self, assembly: Assembly[BlockPeer], peer: BlockPeer) -> None:
        if assembly.owner is peer:
            assembly.owner = None
            peer.own.remove(assembly)

    def _book(
        self, peer: BlockPeer, assembly: Assembly[BlockPeer], block: int, now: int
    ) -> tuple[int, int, int]:
        assembly.asked[block].append(peer)
        peer.owed[assembly.index, block] = now
        return assembly.index, block * BLOCK_BYTES, assembly.block_length(block)

    def _endgame(self, peer: BlockPeer, room: int, now: int) -> list[tuple[int, int, int]]:
        """Every missing block was asked for: ask a second peer too, so that none holds all up."""
        found: list[tuple[int, int, int]] = []
        if peer.chokes_us or peer.owed:
            return found
        for assembly in self._begun.values():
            if assembly.index not in peer.pieces or self._is_suspect(peer, assembly.index):
                continue
            for block, asked in enumerate(assembly.asked):
                if asked and peer not in asked and len(asked) < ENDGAME_COPIES:
                    found.append(self._book(peer, assembly, block, now))
                    if len(found) >= room:
                        return found
        return found

    def _is_suspect(self, peer: BlockPeer, index: int) -> bool:
        """Whether a peer gave a block of a forged copy of this piece."""
        return any(author is peer for author, _ in self._suspects.get(index, {}).values())

    def _finish(self, assembly: Assembly[BlockPeer]) -> None:
        if assembly.owner is not None:
            self._disown(assembly, assembly.owner)
        del self._begun[assembly.index]
        self._verifying[assembly.index] = assembly
        self._store.submit(assembly.index, assembly.buffer)
