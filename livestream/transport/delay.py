"""What delay samples tell: the path without queues, and the queue that is on it now."""

from __future__ import annotations

from collections import deque
from typing import Final

from livestream.machine import MILLISECOND, SECOND

__all__ = ["DelayHistory"]

BASE_HISTORY: Final = 10  # RFC 6817 section 4.2: minutes of base delays remembered.
BASE_BUCKET_US: Final = 60 * SECOND
CURRENT_FILTER: Final = 3  # RFC 6817: the current delay is the least of the last few samples...
# ...where those count as one that come together, as after a pause of a busy machine or a radio.
TOGETHER_US: Final = 2 * MILLISECOND
JUMP_US: Final = SECOND  # No queue grows by so much between two samples: a clock was set.


class DelayHistory:
    """Delays of one way or of the round trip; a constant offset in them cancels.

    Invariant: `base_us` is not above any sample of the last nine minutes.
    """

    def __init__(self) -> None:
        self.base_us = 0
        self.queuing_us = 0
        self._base: deque[int] = deque(maxlen=BASE_HISTORY)
        self._bucket_end = 0
        self._current: deque[int] = deque(maxlen=CURRENT_FILTER)
        self._current_at = 0

    def add(self, delay_us: int, now: int) -> None:
        """Take a sample. One that is seconds off starts the history anew.

        If that was a stall of the path and no clock, the next sample puts the base right.
        """
        if self._current and abs(delay_us - self._current[-1]) > JUMP_US:
            self._base.clear()
            self._current.clear()
            self._bucket_end = 0
        if now >= self._bucket_end:
            self._base.append(delay_us)
            self._bucket_end = now + BASE_BUCKET_US
        elif delay_us < self._base[-1]:
            self._base[-1] = delay_us
        if now - self._current_at >= TOGETHER_US or not self._current:
            self._current.append(delay_us)
            self._current_at = now
        else:
            self._current[-1] = min(self._current[-1], delay_us)
        self.base_us = min(self._base)
        self.queuing_us = min(self._current) - self.base_us

    def forget_current(self) -> None:
        """Let the queue that was measured count no more."""
        self._current.clear()
        self.queuing_us = 0
