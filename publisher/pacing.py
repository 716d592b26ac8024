"""When a sample leaves: media time against the clock of the wall."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from enum import Enum
from fractions import Fraction
from typing import Final, final

from livestream.machine import MILLISECOND, SECOND

__all__ = ["SKIP_US", "Clock", "ClosedError", "Pace", "Pacer", "SystemClock"]

REBASE_US: Final = 1 * SECOND  # Further behind than this (a suspended machine): do not catch up.
SKIP_US: Final = 200 * MILLISECOND  # Further behind than this, leave pictures out to catch up.
LEAD_US_MAX: Final = 500 * MILLISECOND  # A live pipe is hardly ever so far ahead of itself.


class ClosedError(Exception):
    """Somebody closed the feed while its thread was waiting."""


class Clock(ABC):
    """What the media thread knows of time, and how it waits."""

    @abstractmethod
    def now_us(self) -> int:
        """Monotonic time."""

    @abstractmethod
    def unix_ms(self) -> int:
        """Wall clock time."""

    @abstractmethod
    def wait_until(self, at_us: int) -> None:
        """Sleep until monotonic time `at_us`.

        Raises:
            ClosedError: at once when `close` is called, or was called before.
        """

    @abstractmethod
    def close(self) -> None:
        """Wake whoever waits, for good. May be called from any thread."""


@final
class SystemClock(Clock):
    """The real one."""

    def __init__(self) -> None:
        self._closed = threading.Event()

    def now_us(self) -> int:
        return time.monotonic_ns() // 1_000

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wait_until(self, at_us: int) -> None:
        if self._closed.wait(max(0, at_us - self.now_us()) / SECOND):
            raise ClosedError

    def close(self) -> None:
        self._closed.set()


class Pace(Enum):
    """Who sets the speed."""

    PACED = "paced"  # A file: we do, and a picture is captured when it is due.
    THROTTLED = "throttled"  # A pipe: live, or a file that somebody pours in.
    LIVE = "live"  # The source alone.


@final
class Pacer:
    """Holds media back until it is due, and tells when it was captured.

    A file is a camera that sees its pictures when they are due. A live source is not held back;
    a pipe only where it runs far ahead, which only a file does.

    Invariant: capture times never fall.
    """

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self.behind_us = 0
        "How late the last media of a file left: what comes after is too slow, unless it is 0."
        self._clock = clock
        self._pace = pace
        self._base_us: int | None = None  # Monotonic time of media time 0.
        self._captured_ms = 0

    def wait(self, media_time: Fraction, arrived_us: int) -> int:
        """Wait until media is due; return its capture time, Unix ms.

        Args:
            media_time: Its place in channel time, seconds.
            arrived_us: When it came from the source.

        Raises:
            ClosedError: the feed was closed.
        """
        media_us = int(media_time * SECOND)
        if self._base_us is None:
            start_us = self._clock.now_us() if self._pace is Pace.PACED else arrived_us
            self._base_us = start_us - media_us
        due = self._base_us + media_us
        match self._pace:
            case Pace.PACED:
                captured_us = self._wait_for(due)
            case Pace.THROTTLED:
                self._clock.wait_until(due - LEAD_US_MAX)
                captured_us = max(arrived_us, due - LEAD_US_MAX)
            case Pace.LIVE:
                captured_us = arrived_us
        age_us = max(0, self._clock.now_us() - captured_us)
        captured_ms = self._clock.unix_ms() - age_us // MILLISECOND
        self._captured_ms = max(self._captured_ms, captured_ms)
        return self._captured_ms

    def _wait_for(self, due: int) -> int:
        self._clock.wait_until(due)
        self.behind_us = max(0, self._clock.now_us() - due)
        if self.behind_us <= REBASE_US or self._base_us is None:
            return due
        self._base_us += self.behind_us
        due += self.behind_us
        self.behind_us = 0
        return due
