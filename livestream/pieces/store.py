"""The seam `PieceStore`: who keeps verified pieces?"""

from __future__ import annotations

from abc import ABC, abstractmethod

from mypy_extensions import mypyc_attr

__all__ = ["PieceStore"]


@mypyc_attr(allow_interpreted_subclasses=True)
class PieceStore(ABC):
    """Keeps verified pieces and says which others are of use."""

    @abstractmethod
    def wants(self, index: int) -> bool:
        """Whether this piece is within reach and not yet held. Cheap: asked before verifying."""

    @abstractmethod
    def holds(self, index: int) -> bool:
        """Whether `get` would return the piece."""

    @abstractmethod
    def get(self, index: int) -> bytes | None:
        """Return the piece as it goes on the wire, or None."""

    @abstractmethod
    def put(self, index: int, data: bytes, now: int) -> None:
        """Keep a verified piece that is wanted."""
