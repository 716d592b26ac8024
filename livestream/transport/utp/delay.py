"""One-way delays as µTP's packets tell them: 32 bits, with the clocks' difference in them."""

from __future__ import annotations

__all__ = ["DelaySamples"]


class DelaySamples:
    """Makes numbers that only grow with the delay of what wraps at 2^32 µs (71 minutes).

    A clock that was set is told from a queue by the round trip, which a queue would have made
    longer, too.
    """

    def __init__(self) -> None:
        self._latest: int | None = None
        "As it is told, without the shift."
        self._shift_us = 0

    def unwrap(self, difference: int, base_us: int, queuing_us_max: int) -> int | None:
        """Return the delay plus a constant, µs; None where nothing was measured.

        Args:
            difference: As the packet tells it.
            base_us: The least of what was returned lately.
            queuing_us_max: More than that over the least cannot have been spent on the way.
        """
        if not difference:
            return None
        if self._latest is None:
            self._latest = difference
            return difference
        step = (difference - self._latest + (1 << 31)) & 0xFFFFFFFF
        self._latest += step - (1 << 31)
        if self._latest - self._shift_us - base_us > queuing_us_max:
            self._shift_us = self._latest - base_us
        return self._latest - self._shift_us
