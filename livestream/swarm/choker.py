"""The seam `Choker`: whom do I serve?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from mypy_extensions import mypyc_attr

from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.peer import Peer

__all__ = ["BlockChoker", "Choker"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Choker(ABC):
    """Decides which requests are answered."""

    @abstractmethod
    def serves(self, peer: Peer, index: int, now: int) -> bool:
        """Whether to answer this request. If not, it is rejected at once (BEP 6)."""


@mypyc_attr(allow_interpreted_subclasses=True)
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
    def gives_up(self, peer: BlockPeer) -> bool:
        """Whether an unchoked peer is to be choked before the next round."""

    @abstractmethod
    def rank(
        self, peers: Sequence[BlockPeer], now: int, *, is_seed: bool, has_spare_upload: bool
    ) -> list[BlockPeer]:
        """Hold a round. Returns who is unchoked from now on."""
