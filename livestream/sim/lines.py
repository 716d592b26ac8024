"""Access lines as datagrams meet them: a rate, and a drop-tail queue in bytes (`Line`)."""

from __future__ import annotations

from typing import Final

from livestream.machine import SECOND, Train
from livestream.sim.links import Uplink

__all__ = ["DATAGRAM_HEADERS", "Line"]

DATAGRAM_HEADERS: Final = 28  # IPv4 and UDP.
TOGETHER_US: Final = 500  # Datagrams of one train that leave within so long go on as a train.


class Line(Uplink):
    """One direction of a host's line, which all its connections share.

    Invariant: `free_at` is when all that is in the queue has left, and the queue never holds more
    than `queue_bytes`, unless the rate fell meanwhile.
    """

    __slots__ = ("datagrams_dropped", "queue_bytes")

    def __init__(self, rate_bps: int, queue_bytes: int) -> None:
        super().__init__(rate_bps)
        self.queue_bytes = queue_bytes
        self.datagrams_dropped = 0

    def backlog_bytes(self, now: int) -> int:
        """Return how much waits, what is under way included."""
        return max(0, self.free_at - now) * self.rate_bps // (8 * SECOND)

    def offer(self, size: int, now: int) -> int | None:
        """Queue so many bytes; returns when the last has left, or None: they are dropped."""
        if self.free_at > now and self.backlog_bytes(now) + size > self.queue_bytes:
            return None
        return self.take(size, now)

    def carry(self, train: Train, now: int) -> list[tuple[int, Train]]:
        """Queue a train; returns what leaves of it, and when each part has left as a whole.

        Trains are kept together as long as all of a part leaves within half a millisecond, which
        is what a receiver's kernel would join again.
        """
        data, size = train.data, train.datagram_size
        count = -(-len(data) // size)
        wire = len(data) + count * DATAGRAM_HEADERS
        if count == 1 or (
            wire * 8 * SECOND <= TOGETHER_US * self.rate_bps
            and self.backlog_bytes(now) + wire <= self.queue_bytes
        ):
            at = self.offer(wire, now)
            if at is None:
                self.datagrams_dropped += count
                return []
            return [(at, Train(train.address, bytes(data), size, train.dont_fragment))]
        return self._cut(train, now)

    def _cut(self, train: Train, now: int) -> list[tuple[int, Train]]:
        size = train.datagram_size
        parts: list[tuple[int, Train]] = []
        together: list[bytes] = []
        began_at = left_at = 0
        for datagram in train.datagrams():
            at = self.offer(len(datagram) + DATAGRAM_HEADERS, now)
            if at is None:
                self.datagrams_dropped += 1
                continue
            if together and at - began_at > TOGETHER_US:
                parts.append((left_at, Train(train.address, b"".join(together), size)))
                together = []
            if not together:
                began_at = at
            together.append(datagram)
            left_at = at
        if together:
            parts.append((left_at, Train(train.address, b"".join(together), size)))
        return parts
