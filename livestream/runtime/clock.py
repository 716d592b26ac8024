"""The machine's clock: monotonic microseconds, and what makes Unix time of them."""

from __future__ import annotations

import time

__all__ = ["Clock"]


class Clock:
    """Machine time. `now() + unix_offset_us` is Unix time, fixed at creation."""

    def __init__(self) -> None:
        self.unix_offset_us = time.time_ns() // 1000 - self.now()

    def now(self) -> int:
        """Return microseconds that never go backwards."""
        return time.monotonic_ns() // 1000

    def since_us(self, unix_ns: int) -> int:
        """Return how long ago a moment of the system's own clock was."""
        return (time.time_ns() - unix_ns) // 1000
