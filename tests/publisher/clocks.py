"""A clock that nobody has to wait for."""

from __future__ import annotations

import threading

from publisher.pacing import Clock, ClosedError


class JumpingClock(Clock):
    """Jumps to whatever time is waited for."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.unix_offset_ms = 1_700_000_000_000
        self._closed = threading.Event()

    def now_us(self) -> int:
        return self.now

    def unix_ms(self) -> int:
        return self.unix_offset_ms + self.now // 1_000

    def wait_until(self, at_us: int) -> None:
        if self._closed.is_set():
            raise ClosedError
        self.now = max(self.now, at_us)

    def close(self) -> None:
        self._closed.set()
