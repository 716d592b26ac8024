"""Whose fault losses are: a full queue's, or the path's own (radio, cable, a busy machine)."""

from __future__ import annotations

from math import log
from typing import Final

from livestream.machine import MILLISECOND, SECOND

__all__ = ["LossJudge"]

PERIOD_US: Final = 5 * SECOND  # The longest queue is that of this period and the one before.
QUEUE_MIN_US: Final = 10 * MILLISECOND  # A queue that never is longer cannot be told from noise.
RECENT_US: Final = 100 * MILLISECOND  # The queue of a loss is the longest of so long before.
LONG_SHARE: Final = 3 / 4  # A queue is long if it has this share of the longest.
AVERAGE_US: Final = SECOND
SHORT_AT_CONGESTION: Final = 0.1  # So often a full queue loses though it was not seen to be long.
EVIDENCE_MAX: Final = 6.0  # More would take too long to be overturned where the path changes.
EVIDENCE_SURE: Final = 1.5
CEILING_US: Final = 60 * SECOND  # The size of a buffer is believed so long.


class LossJudge:
    """Compares the queue at each loss with the queue at other times.

    A drop-tail queue loses when it is full, so with a long queue; random losses come with any. How
    much a loss says depends on how long the queue is anyway: this is the sequential probability
    ratio test (Wald 1945) of the two explanations.

    Where the buffer is shorter than twice the target, delays alone would not tell us to give way in
    time. Half the buffer is the target then.
    """

    def __init__(self) -> None:
        self._longest_us = 0
        self._longest_before_us = 0
        self._period_end = 0
        self._recent_us = 0
        self._recent_at = 0
        self._mean_us = 0.0
        self._sampled_at = 0
        self._evidence = 0.0
        "The logarithm of how much likelier congestion explains the losses than chance does."
        self._ceiling_us: int | None = None
        self._ceiling_until = 0

    def on_queue(self, queuing_us: int, now: int) -> None:
        """Take the queuing delay of the moment."""
        if now >= self._period_end:
            self._longest_before_us, self._longest_us = self._longest_us, 0
            self._period_end = now + PERIOD_US
        self._longest_us = max(self._longest_us, queuing_us)
        if queuing_us >= self._recent_us or now - self._recent_at > RECENT_US:
            self._recent_us, self._recent_at = queuing_us, now
        weight = min(1.0, (now - self._sampled_at) / AVERAGE_US)
        self._sampled_at = now
        self._mean_us += weight * (queuing_us - self._mean_us)

    def is_congestion(self, target_us: int, now: int) -> bool:
        """Take a loss, and judge it. A long queue below twice the target lowers the target."""
        longest_us = max(self._longest_us, self._longest_before_us, QUEUE_MIN_US)
        is_long = self._recent_us >= LONG_SHARE * longest_us
        long_share = min(0.99, max(0.05, self._mean_us / longest_us))
        if is_long:
            self._evidence -= log(long_share)
        else:
            self._evidence -= max(0.0, log((1 - long_share) / SHORT_AT_CONGESTION))
        self._evidence = min(EVIDENCE_MAX, max(-EVIDENCE_MAX, self._evidence))
        if self._evidence < -EVIDENCE_SURE:
            self._ceiling_us = None
        if not is_long or self._evidence <= 0:
            return False
        if self._evidence > EVIDENCE_SURE and self._recent_us < 2 * target_us:
            self._ceiling_us = max(self._recent_us // 2, QUEUE_MIN_US)
            self._ceiling_until = now + CEILING_US
        return True

    def target_us(self, wanted_us: int, now: int) -> int:
        """Return the target that leaves the buffer half empty."""
        if self._ceiling_us is None or now >= self._ceiling_until:
            return wanted_us
        return min(wanted_us, self._ceiling_us)
