"""The seam `PiecePicker`: which piece of a torrent is begun next, and with whom?"""

from __future__ import annotations

from abc import ABC, abstractmethod

from mypy_extensions import mypyc_attr

from livestream.pieces.pieceset import PieceSet

__all__ = ["PiecePicker"]


@mypyc_attr(allow_interpreted_subclasses=True)
class PiecePicker(ABC):
    """Chooses among the open pieces: those that are wanted, and neither held nor begun."""

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
    def remove_piece(self, pieces: PieceSet, index: int) -> None:
        """Uncount one piece that a peer has lost: `pieces` has it no more."""

    @abstractmethod
    def availability(self, index: int) -> int:
        """Return how many peers have a piece."""

    @abstractmethod
    def choose(self, pieces: PieceSet) -> int | None:
        """Return the piece to begin with a peer that has `pieces`, or None, and close it."""

    @abstractmethod
    def begin(self, index: int) -> int:
        """Close a piece that is asked for from now on, whatever `choose` would say; return it."""

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
