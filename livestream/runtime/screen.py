"""What a terminal shows while torrents are under way: a row each (`Row`, `Screen`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

__all__ = ["Row", "Screen"]


@dataclass(frozen=True, slots=True)
class Row:
    """One torrent, at this moment."""

    name: str
    share: float
    "Of what is wanted, 0 to 1."
    down_bps: int = 0
    up_bps: int = 0
    peers: int = 0
    eta_s: int | None = None
    "None: not known, or there is nothing to wait for."
    note: str = ""
    "What it is doing, or why nothing moves."


class Screen(ABC):
    """A block of lines that is rewritten in place, with what is said scrolling past above it."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Print a line above the block."""

    @abstractmethod
    def show(self, rows: Sequence[Row]) -> None:
        """Replace the block."""

    @abstractmethod
    def aside(self) -> AbstractContextManager[None]:
        """Leave the terminal to another program for a while."""

    @abstractmethod
    def close(self) -> None:
        """Remove the block."""
