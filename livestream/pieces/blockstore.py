"""The seam `BlockStore`: who hashes, keeps and reads the pieces of a torrent?"""

from __future__ import annotations

from abc import ABC, abstractmethod

from mypy_extensions import mypyc_attr

from livestream.pieces.pieceset import PieceSet
from livestream.wire.image import PieceImage

__all__ = ["BlockStore"]


@mypyc_attr(allow_interpreted_subclasses=True)
class BlockStore(ABC):
    """Keeps pieces on something slow. Results come later, to the swarm, from whoever drives it.

    Invariant: what `image` returns was verified.
    """

    held: PieceSet
    "The pieces that are verified and kept."

    @abstractmethod
    def piece_size(self, index: int) -> int:
        """Return the bytes of a piece; the last one may be shorter."""

    @abstractmethod
    def padding_size(self, index: int) -> int:
        """Return how many bytes at the end of a piece are padding (BEP 47), which is zeros."""

    @property
    @abstractmethod
    def has_room(self) -> bool:
        """Whether more pieces may be begun: those under way to the disk are bounded in bytes."""

    @abstractmethod
    def submit(self, index: int, buffer: bytearray) -> None:
        """Hash a whole piece and keep it if it is genuine; `BlockSwarm.on_verified` follows."""

    @abstractmethod
    def load(self, index: int) -> None:
        """Fetch a held piece into memory; `BlockSwarm.on_loaded` follows."""

    @abstractmethod
    def image(self, index: int) -> PieceImage | None:
        """Return a held piece if it is in memory."""
