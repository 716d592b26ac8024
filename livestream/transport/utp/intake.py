"""What came in its turn and waits for the allowance of the node (`Intake`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from typing import Final

from livestream.machine import SECOND
from livestream.transport.allowance import Allowance
from livestream.transport.utp.receiving import EarlyBudget

__all__ = ["Intake"]

WINDOW_BYTES: Final = 2 << 20  # Fits the socket's buffer, for peers that send without a pause...
WINDOW_BYTES_MAX: Final = 16 << 20  # ...and more on long paths, where it is under way...
WINDOW_RATE_BPS: Final = 1_000_000_000  # ...so that one connection reaches this.
# However many peers share an allowance, each may send this much: a few datagrams.
SHARED_WINDOW_BYTES_MIN: Final = 16 * 1024


class Intake:
    """A queue of payload between a connection and its stream, and how much the sender may send.

    Invariant: what is held is booked in the budget of the endpoint.
    """

    def __init__(self, budget: EarlyBudget, allowance: Allowance | None, waiting: Sized) -> None:
        """Take what the endpoint shares; `waiting` are the connections that hold something."""
        self.held_bytes = 0
        self._held: deque[bytes | memoryview] = deque()
        self._budget = budget
        self._allowance = allowance
        self._waiting = waiting

    def keep(self, payload: bytes) -> None:
        """Take what came next: a copy, for what it was read to is used again."""
        self._held.append(payload)
        self._book(len(payload))

    def next_share(self, size_max: int) -> bytes:
        """Return the oldest bytes, no more than so many; nothing when none are held."""
        parts: list[bytes | memoryview] = []
        room = size_max
        while room and self._held:
            part = self._held.popleft()
            if len(part) > room:
                view = memoryview(part)
                self._held.appendleft(view[room:])
                part = view[:room]
            room -= len(part)
            parts.append(part)
        self._book(room - size_max)
        return b"".join(parts)

    def close(self) -> None:
        """Forget what is held: nobody wants it any more."""
        self._held.clear()
        self._book(-self.held_bytes)

    # The window

    def window_whole(self, rtt_us: int) -> int:
        """Return how many bytes the sender may send when nobody else does: more on long paths."""
        if self._allowance is not None:
            return self._allowance.window_bytes
        wanted = min(WINDOW_RATE_BPS // 8 * rtt_us // SECOND, WINDOW_BYTES_MAX)
        return max(wanted, WINDOW_BYTES)

    def window_limit(self, rtt_us: int) -> int:
        """Return how many bytes the sender may send when nothing is kept.

        Fewer where an allowance is shared: what all peers together may send is bounded then,
        however many there are. It may shrink below what is under way.
        """
        whole = self.window_whole(rtt_us)
        if self._allowance is None:
            return whole
        return max(whole // max(1, len(self._waiting)), SHARED_WINDOW_BYTES_MIN)

    def is_worth_telling(self, before: int, window: int) -> bool:
        """Whether a sender that was told of little room must hear that there is more again."""
        return before < self.window_limit(0) // 2 <= window

    def has_room(self, size: int) -> bool:
        """Whether so many more bytes are no more than we told, give or take a window."""
        if self._allowance is None:
            return True
        held = self.held_bytes + size
        return held <= 2 * self._allowance.window_bytes and size <= self._budget.left

    def _book(self, size: int) -> None:
        self.held_bytes += size
        self._budget.left -= size
