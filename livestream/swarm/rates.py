"""Rates: how fast bytes come and go (`RateMeter`), and how fast they may (`TokenBucket`)."""

from __future__ import annotations

from math import exp
from typing import Final

from mypy_extensions import mypyc_attr

from livestream.machine import SECOND

__all__ = ["RateMeter", "TokenBucket"]

HALF_LIFE_US: Final = 2 * SECOND


class RateMeter:
    """Bytes a second, averaged with weights that halve every two seconds."""

    __slots__ = ("_at", "_bytes", "total_bytes")

    def __init__(self) -> None:
        self.total_bytes = 0
        self._bytes = 0.0
        self._at = 0

    def add(self, size: int, now: int) -> None:
        """Count `size` bytes at `now`."""
        self._decay(now)
        self._bytes += size
        self.total_bytes += size

    def bytes_per_second(self, now: int) -> float:
        """Return the rate at `now`."""
        self._decay(now)
        # The integral of the weights is HALF_LIFE / ln 2.
        return self._bytes * 0.6931 / (HALF_LIFE_US / SECOND)

    def _decay(self, now: int) -> None:
        if now > self._at:
            self._bytes *= exp(-0.6931 * (now - self._at) / HALF_LIFE_US)
            self._at = now


@mypyc_attr(allow_interpreted_subclasses=True)
class TokenBucket:
    """A hard cap on a rate. Bytes are taken after the fact, so the balance may go below zero.

    Invariant: the balance never exceeds `burst_bytes`, so any interval t carries at most
    `rate * t + burst` plus the one datagram train that overdrew it.
    """

    __slots__ = ("_at", "_balance", "burst_bytes", "bytes_per_second")

    def __init__(self, bytes_per_second: float, burst_bytes: float) -> None:
        self.bytes_per_second = bytes_per_second
        self.burst_bytes = burst_bytes
        self._balance = burst_bytes
        self._at: int | None = None

    def take(self, size: int, now: int) -> None:
        """Book `size` bytes as gone."""
        if now != self._at:
            self._refill(now)
        self._balance -= size

    def has_tokens(self, now: int) -> bool:
        """Whether something may go now."""
        if now != self._at:
            self._refill(now)
        return self._balance > 0

    def next_tokens_at(self, now: int) -> int:
        """Return when `has_tokens` becomes true."""
        self._refill(now)
        if self._balance > 0:
            return now
        return now + int(-self._balance / self.bytes_per_second * SECOND) + 1

    def _refill(self, now: int) -> None:
        if self._at is None:
            self._at = now
        elif now > self._at:
            grown = self._balance + self.bytes_per_second * (now - self._at) / SECOND
            self._balance = min(self.burst_bytes, grown)
            self._at = now
