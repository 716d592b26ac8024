"""`--max-down`: what all sockets together may read in a second (`Throttle`)."""

from __future__ import annotations

import asyncio
from typing import Final

from livestream.machine import SECOND
from livestream.runtime.clock import Clock
from livestream.swarm.rates import TokenBucket

__all__ = ["Throttle"]

BURST_S: Final = 0.2  # A busy loop makes up for such a delay; more would show in the rate.
SHARE_S: Final = 0.02  # What one socket reads at once, before others have their turn...
SHARE_BYTES_MIN: Final = 16 * 1024 + 13  # ...but a block, or all of them would crawl.
SHARE_BYTES_MAX: Final = 256 * 1024
WINDOW_S: Final = 0.25  # What a peer may have on its way to us.
WINDOW_BYTES_MIN: Final = 64 * 1024
WINDOW_BYTES_MAX: Final = 4 << 20


class Throttle:
    """The budget of a capped download. Whoever has no tokens leaves its socket unread.

    TCP's own window then tells the senders: nothing is dropped, and nothing stalls. µTP does the
    same with its window: it is an `Allowance`.
    """

    def __init__(self, bytes_per_second: float, clock: Clock) -> None:
        self._clock = clock
        self._bucket = TokenBucket(bytes_per_second, bytes_per_second * BURST_S)
        share = int(bytes_per_second * SHARE_S)
        self.share_bytes = min(max(share, SHARE_BYTES_MIN), SHARE_BYTES_MAX)
        "What is read at once."
        window = int(bytes_per_second * WINDOW_S)
        self.window_bytes = min(max(window, WINDOW_BYTES_MIN), WINDOW_BYTES_MAX)
        "What the kernel is to buffer of one socket."

    def has_tokens(self, now: int) -> bool:
        """Whether something may be read now."""
        return self._bucket.has_tokens(now)

    def take(self, size: int, now: int) -> None:
        """Book so many bytes as read."""
        self._bucket.take(size, now)

    def next_tokens_at(self, now: int) -> int:
        """Return when there are tokens again, µs."""
        return self._bucket.next_tokens_at(now)

    def wait_s(self) -> float:
        """Return how long until there are tokens again."""
        now = self._clock.now()
        return (self._bucket.next_tokens_at(now) - now) / SECOND

    async def wait(self) -> None:
        """Wait for tokens. Others may take them first: what is overdrawn is waited for later."""
        await asyncio.sleep(self.wait_s())
