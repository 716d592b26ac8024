"""One-way delays as µTP's packets tell them: 32 bits, with the clocks' difference in them."""

from __future__ import annotations

__all__ = ["DelaySamples"]


class DelaySamples:
    """Makes numbers that only grow with the delay of what wraps at 2^32 µs (71 minutes)."""

    def __init__(self) -> None:
        self._latest: int | None = None

    def unwrap(self, difference: int) -> int | None:
        """Return the delay plus a constant, µs; None where nothing was measured."""
        if not difference:
            return None
        if self._latest is None:
            self._latest = difference
        else:
            step = (difference - self._latest + (1 << 31)) & 0xFFFFFFFF
            self._latest += step - (1 << 31)
        return self._latest
