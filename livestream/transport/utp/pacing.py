"""Spreading a window over its round trip, in trains of a few milliseconds (`Pacer`)."""

from __future__ import annotations

from typing import Final

from livestream.machine import MILLISECOND

__all__ = ["Pacer"]

BURST_US: Final = 4 * MILLISECOND  # What goes out at once: a fraction of any delay target.
REST_US: Final = 2 * MILLISECOND  # Shorter waits are not worth a wake-up.
LATE_US_MAX: Final = 100 * MILLISECOND  # A machine that slept for longer has nothing to catch up.
GAIN: Final = 1.25  # Faster than a window a round trip, so that the window decides.
GAIN_STARTING: Final = 2.0


class Pacer:
    """A bucket of time: what was sent is paid for by waiting.

    Sending a whole window at once would queue it at the bottleneck, where others feel it. Paths
    shorter than BURST_US are not paced: there a window is a burst anyway.

    Whoever is asked later than it said, since its driver rests or its machine is busy, may send as
    much more at once as it is late: else its rate would fall with every wake-up that it lacks.
    """

    def __init__(self) -> None:
        self._free_at = 0
        self._bytes_per_us = 0.0
        self._burst_us = BURST_US
        self._wanted_at: int | None = None
        "When it was said to be worth trying again, if anything waits for that."

    def set_rate(
        self, window_bytes: int, rtt_us: int | None, now: int, *, is_starting: bool
    ) -> None:
        """Take the window and the smoothed round trip, if known."""
        if self._wanted_at is not None and self._wanted_at <= now:
            self._burst_us = BURST_US + min(now - self._wanted_at, LATE_US_MAX)
        self._wanted_at = None
        gain = GAIN_STARTING if is_starting else GAIN
        is_paced = rtt_us is not None and rtt_us > BURST_US
        self._bytes_per_us = gain * window_bytes / rtt_us if is_paced and rtt_us else 0.0

    def room(self, now: int) -> int | None:
        """Return how many bytes may go now; None: as many as the window allows."""
        if not self._bytes_per_us:
            return None
        spare_us = min(now - self._free_at, self._burst_us)
        return max(0, int(spare_us * self._bytes_per_us))

    def sent(self, size: int, now: int) -> None:
        """So many bytes went out."""
        if self._bytes_per_us:
            start = max(self._free_at, now - self._burst_us)
            self._free_at = start + int(size / self._bytes_per_us)

    def next_at(self, now: int) -> int:
        """Return when it is worth trying again."""
        self._wanted_at = max(self._free_at, now) + REST_US
        return self._wanted_at
