"""Round-trip times and how long to wait for an acknowledgement (RFC 6298, BEP 29)."""

from __future__ import annotations

from typing import Final

from livestream.machine import MILLISECOND, SECOND

__all__ = ["RoundTrip"]

TIMEOUT_FIRST_US: Final = 1 * SECOND  # BEP 29
TIMEOUT_MIN_US: Final = 500 * MILLISECOND  # BEP 29
TIMEOUT_MAX_US: Final = 16 * SECOND


class RoundTrip:
    """Invariant: `timeout_us` is between its bounds."""

    def __init__(self) -> None:
        self.smoothed_us: int | None = None
        self.least_us: int | None = None
        self.latest_us = 0
        self._variation_us = 0
        self._doublings = 0

    def measured(self, sample_us: int) -> None:
        """Take the time between a packet's only sending and its acknowledgement."""
        sample_us = max(1, sample_us)
        self.latest_us = sample_us
        self._doublings = 0
        if self.smoothed_us is None or self.least_us is None:
            self.smoothed_us = self.least_us = sample_us
            self._variation_us = sample_us // 2
            return
        self.least_us = min(self.least_us, sample_us)
        self._variation_us += (abs(self.smoothed_us - sample_us) - self._variation_us) // 4
        self.smoothed_us += (sample_us - self.smoothed_us) // 8

    def timed_out(self) -> None:
        """Wait twice as long from now on, until something is measured again."""
        self._doublings = min(self._doublings + 1, 6)

    @property
    def longest_us(self) -> int:
        """What no round trip of now takes longer than; the last one measured did not, either."""
        return (self.smoothed_us or 0) + 4 * self._variation_us

    @property
    def timeout_us(self) -> int:
        """How long after the last news everything under way counts as lost."""
        if self.smoothed_us is None:
            wait_us = TIMEOUT_FIRST_US
        else:
            wait_us = max(TIMEOUT_MIN_US, self.longest_us)
        return min(wait_us << self._doublings, TIMEOUT_MAX_US)

    @property
    def probe_us(self) -> int:
        """How long after the last news a tail is sent again: a probe for losses.

        Two round trips by RFC 8985, section 7.2; less where none takes so long (RFC 9002, section
        6.2.1): in a live channel the next packet is a quarter of a second away.
        """
        if self.smoothed_us is None:
            return self.timeout_us
        wait_us = min(2 * self.smoothed_us, self.longest_us)
        return min(wait_us + DELAYED_ACK_US, self.timeout_us)


DELAYED_ACK_US: Final = 50 * MILLISECOND  # What others wait before they acknowledge at most.
