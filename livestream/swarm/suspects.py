"""Who forged a piece that several peers gave: told by the good copy that comes later."""

from __future__ import annotations

from typing import Final

from livestream.pieces.assembly import Assembly
from livestream.swarm.blockpeer import BlockPeer

__all__ = ["Suspects"]

SUSPECTS_MAX: Final = 64  # Forged pieces whose blocks are remembered until the good copy comes.


class Suspects:
    """Remembers who gave which block of a forged piece, until its good copy comes."""

    def __init__(self) -> None:
        self._pieces: dict[int, dict[int, tuple[BlockPeer, bytes]]] = {}
        "(author, digest) of every block of forged pieces."

    def __contains__(self, index: object) -> bool:
        """Whether a piece was forged, and its good copy has not come."""
        return index in self._pieces

    def gave(self, peer: BlockPeer, index: int) -> bool:
        """Whether a peer gave a block of a forged copy of this piece."""
        return any(author is peer for author, _ in self._pieces.get(index, {}).values())

    def on_forged(self, assembly: Assembly[BlockPeer]) -> BlockPeer | None:
        """A piece is not what it should be. Returns its author, if there is only one."""
        authors = list(dict.fromkeys(author for author in assembly.authors if author is not None))
        if len(authors) == 1:
            return authors[0]
        if len(self._pieces) < SUSPECTS_MAX:
            pairs = enumerate(zip(assembly.authors, assembly.digests(), strict=True))
            self._pieces[assembly.index] = {
                block: (author, digest) for block, (author, digest) in pairs if author is not None
            }
        return None

    def on_genuine(self, assembly: Assembly[BlockPeer]) -> list[BlockPeer]:
        """A piece is genuine. Returns whoever gave another version of a block of it before."""
        suspects = self._pieces.pop(assembly.index, None)
        if suspects is None:
            return []
        genuine = assembly.digests()
        liars = [author for block, (author, forged) in suspects.items() if forged != genuine[block]]
        return list(dict.fromkeys(liars))
