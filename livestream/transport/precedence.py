"""What the flows of a node know of each other: who goes first, and what queue they share."""

from __future__ import annotations

from typing import Final

from livestream.machine import SECOND

__all__ = ["Precedence"]

BUSY_US: Final = 3 * SECOND  # After the last data: longer than the pauses between key frames.
BUCKET_US: Final = SECOND
BUSY_BYTES: Final = 32_768  # In a bucket. Control messages alone are less, and need no room.
QUEUE_BUCKET_US: Final = SECOND  # In so long each connection that is used hears of its queue.
YIELDING_DIVISOR: Final = 2  # Low enough to be out of the way as soon as the leader's queue grows.


class Precedence:
    """One object that all controllers of a node share.

    Of two delay-based flows the one with the higher target wins, for it keeps the queue above what
    the other bears. So while flows with a lower target are busy, the others take a still lower one.
    """

    def __init__(self) -> None:
        self._busy_until: dict[int, int] = {}
        self._buckets: dict[int, tuple[int, int]] = {}
        self._queue_until = 0
        self._queues_us: tuple[int | None, int | None] = None, None
        "The shortest of any flow, of the last whole bucket and of this one."

    def on_ack(self, target_us: int, acked_bytes: int, now: int) -> None:
        """A flow with this target delivered so much."""
        began, count = self._buckets.get(target_us, (now, 0))
        if now - began >= BUCKET_US:
            began, count = now, 0
        count += acked_bytes
        self._buckets[target_us] = began, count
        if count >= BUSY_BYTES:
            self._busy_until[target_us] = now + BUSY_US

    def on_queue(self, queuing_us: int, now: int) -> None:
        """A flow was delayed so much by queues."""
        before, least = self._queues_us
        if now >= self._queue_until:
            before = least if now < self._queue_until + QUEUE_BUCKET_US else None
            least = None
            self._queue_until = now + QUEUE_BUCKET_US
        self._queues_us = before, queuing_us if least is None else min(least, queuing_us)

    @property
    def shared_queue_us(self) -> int:
        """The most that a queue which all flows go through, as the own uplink's, can have.

        It is the shortest queue of any flow lately; of a lone flow that is its own.
        """
        return min((each for each in self._queues_us if each is not None), default=0)

    def target_us(self, own_us: int, now: int) -> int:
        """Return the target for a flow whose own is `own_us`."""
        first_us = own_us
        for target_us, until in self._busy_until.items():
            if now < until and target_us < first_us:
                first_us = target_us
        return own_us if first_us == own_us else first_us // YIELDING_DIVISOR
