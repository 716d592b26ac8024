"""Which block was asked of whom, and who has a piece to itself (`Bookings`)."""

from __future__ import annotations

from collections.abc import Sequence

from livestream.pieces.assembly import BLOCK_BYTES, Assembly
from livestream.swarm.blockpeer import BlockPeer

__all__ = ["Bookings"]


class Bookings:
    """The pieces that are begun, and the blocks of them that are under way.

    Invariant: a block in a peer's `owed` is in its assembly's `asked`; an assembly that has an
    owner is in that peer's `own`, and in nobody else's.
    """

    def __init__(self) -> None:
        self.begun: dict[int, Assembly[BlockPeer]] = {}
        self.cancels: list[tuple[BlockPeer, tuple[int, int, int]]] = []
        "Who is to be told to cancel which (piece, begin, length)."

    # Blocks

    def book(
        self, peer: BlockPeer, assembly: Assembly[BlockPeer], blocks: Sequence[int], now: int
    ) -> list[tuple[int, int, int]]:
        """Note that blocks are asked of a peer; returns (piece, begin, length) of each."""
        index, size, asked, owed = assembly.index, len(assembly.buffer), assembly.asked, peer.owed
        alone = (peer,)
        booked = []
        for block in blocks:
            asked[block] = (*asked[block], peer) if asked[block] else alone
            owed[index, block] = now
            begin = block * BLOCK_BYTES
            booked.append((index, begin, min(BLOCK_BYTES, size - begin)))
        return booked

    def take_back(self, peer: BlockPeer, assembly: Assembly[BlockPeer], block: int) -> None:
        """Ask no longer for a block that a peer owes: a cancel is to tell it so."""
        del peer.owed[assembly.index, block]
        assembly.release(block, peer)
        peer.connection.forget(assembly.index, block * BLOCK_BYTES)
        peer.on_cancelled(assembly.index, block)
        peer.blocks_wasted -= 1  # It may come all the same, and is our fault then.
        place = assembly.index, block * BLOCK_BYTES, assembly.block_length(block)
        self.cancels.append((peer, place))

    def take_cancels(self) -> list[tuple[BlockPeer, tuple[int, int, int]]]:
        """Return who is to be told what since the last call."""
        cancels, self.cancels = self.cancels, []
        return cancels

    def void_piece(self, peer: BlockPeer, index: int) -> None:
        """What a peer owes of a piece will not come: it is for others again."""
        assembly = self.begun.get(index)
        for owed in [owed for owed in peer.owed if owed[0] == index]:
            del peer.owed[owed]
            if assembly is not None:
                assembly.release(owed[1], peer)
        if assembly is not None:
            self.disown(assembly, peer)

    def void(self, peer: BlockPeer) -> None:
        """Nothing that a peer owes will come: all of it is for others again."""
        for index, block in peer.owed:
            assembly = self.begun.get(index)
            if assembly is not None:
                assembly.release(block, peer)
        peer.owed.clear()
        self.disown_all(peer)

    # Owners

    def own(self, assembly: Assembly[BlockPeer], peer: BlockPeer) -> None:
        """Let a peer have a piece to itself."""
        assembly.owner = peer
        peer.own.append(assembly)

    def disown(self, assembly: Assembly[BlockPeer], peer: BlockPeer) -> None:
        """The rest of a piece is for others too, if it was this peer's."""
        if assembly.owner is peer:
            assembly.owner = None
            peer.own.remove(assembly)
            peer.connection.forget(assembly.index)

    def disown_all(self, peer: BlockPeer) -> None:
        """A peer has no piece to itself any more."""
        for assembly in list(peer.own):
            self.disown(assembly, peer)

    def close(self, assembly: Assembly[BlockPeer]) -> None:
        """All of a piece came: there is nothing to forget."""
        if assembly.owner is not None:
            assembly.owner.own.remove(assembly)
            assembly.owner = None
        del self.begun[assembly.index]
