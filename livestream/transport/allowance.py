"""How much may come or go now: for one purpose (`Budget`), over all transports (`Allowance`)."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Allowance", "Budget"]


class Budget(Protocol):
    """So many bytes in so much time. What is taken is paid for afterwards."""

    def has_tokens(self, now: int) -> bool:
        """Whether something may be taken now."""

    def take(self, size: int, now: int) -> None:
        """Book so many bytes as taken."""


class Allowance(Budget, Protocol):
    """A budget that all transports of a node share for what comes."""

    @property
    def share_bytes(self) -> int:
        """What one connection takes at once, before others have their turn."""

    @property
    def window_bytes(self) -> int:
        """What one peer may have on its way to us."""

    def next_tokens_at(self, now: int) -> int:
        """Return when there are tokens, µs."""
