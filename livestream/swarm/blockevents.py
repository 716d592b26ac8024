"""What a block swarm reports to whoever drives it."""

from __future__ import annotations

from dataclasses import dataclass

from livestream.machine import Event

__all__ = ["PieceVerified", "StoreFailed", "SwarmCompleted"]


@dataclass(frozen=True, slots=True)
class PieceVerified(Event):
    """A piece is genuine and kept."""

    index: int


@dataclass(frozen=True, slots=True)
class SwarmCompleted(Event):
    """All that is wanted is here."""


@dataclass(frozen=True, slots=True)
class StoreFailed(Event):
    """The store could not keep a piece; requests have stopped until `resume`."""

    reason: str
