"""Whom to serve next, and with which piece, when not everybody can be served at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from livestream.pieces.piecepicker import PiecePicker
from livestream.swarm.blockpeer import BlockPeer

__all__ = ["ServingOrder"]

HOARD_MAX: Final = 8  # Pieces that a seed gave to one peer first and that nobody else has yet.


class ServingOrder:
    """Orders the peers that wait for blocks, and the pieces that each waits for.

    A seed gives first what it gave least often: a slow one that gave a piece twice would make
    everybody wait for another. Who keeps what it got to itself comes after those who pass it on;
    a seed sees that by what others announce (as in BEP 16, without hiding what it has), a leecher
    by what it gets in return. Nobody is left out while there is room.

    Invariant: `_first` has the pieces that one peer has from us and nobody else is known to have.
    """

    def __init__(self, picker: PiecePicker) -> None:
        self._picker = picker
        self._given: dict[int, int] = {}
        self._first: dict[int, BlockPeer] = {}

    # What happens

    def on_begun(self, peer: BlockPeer, index: int) -> None:
        """A peer gets its first block of a piece, or goes on with it after another."""
        peer.serving = index
        if not self._copies(index):
            self._first[index] = peer
            peer.hoard += 1
        self._given[index] = self._given.get(index, 0) + 1

    def on_have(self, peer: BlockPeer, index: int) -> None:
        """A peer has a piece: whoever had it from us first has passed it on."""
        owner = self._first.get(index)
        if owner is not None and owner is not peer:
            owner.hoard -= 1
            del self._first[index]

    def on_left(self, peer: BlockPeer) -> None:
        """A peer is gone; what it alone had from us is to be given again."""
        for index in [index for index, owner in self._first.items() if owner is peer]:
            del self._first[index]
            self._given.pop(index, None)

    # The order

    def sort(self, peers: Sequence[BlockPeer], *, is_seed: bool) -> list[BlockPeer]:
        """Return the peers in the order in which they are to be served.

        Each one's `asked_of_us` begins with the piece that it is to get, if anybody competes.
        """
        if len(peers) < 2:
            return list(peers)
        hoard_limit = 2 * min(peer.hoard for peer in peers) + HOARD_MAX

        def rank(peer: BlockPeer) -> tuple[bool, int]:
            keeps_all = peer.hoard > hoard_limit if is_seed else peer.is_free_rider
            return keeps_all, self._bring_rarest_first(peer, hoard_limit)

        return sorted(peers, key=rank)

    def _bring_rarest_first(self, peer: BlockPeer, hoard_limit: int) -> int:
        """Bring the rarest piece to the front of a peer's queue; returns how rare it is."""
        queue = peer.asked_of_us
        first = next(iter(queue))[0]
        if first == peer.serving:
            return -1  # Half a piece is of use to nobody: it is finished first.
        indexes = dict.fromkeys(block[0] for block in queue)
        rarity = {index: self._copies(index, hoard_limit) for index in indexes}
        rarest = min(rarity, key=rarity.__getitem__)
        if rarity[rarest] < rarity[first]:
            for block in [block for block in reversed(queue) if block[0] == rarest]:
                queue.move_to_end(block, last=False)
        return rarity[rarest]

    def _copies(self, index: int, hoard_limit: int | None = None) -> int:
        """Return how many have a piece or are about to; what is hoarded counts for nothing."""
        owner = self._first.get(index)
        if owner is not None and hoard_limit is not None and owner.hoard > hoard_limit:
            return 0
        return self._picker.availability(index) + self._given.get(index, 0)
