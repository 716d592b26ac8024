"""What is usual of something that comes again and again: mean and deviation (`Estimate`)."""

from __future__ import annotations

__all__ = ["Estimate"]


class Estimate:
    """Mean and deviation of times in µs, by RFC 6298's gains."""

    __slots__ = ("deviation_us", "mean_us")

    def __init__(self) -> None:
        self.mean_us = 0.0
        self.deviation_us = 0.0

    def add(self, sample_us: int) -> None:
        """Take one more."""
        self.deviation_us += (abs(sample_us - self.mean_us) - self.deviation_us) / 4
        self.mean_us += (sample_us - self.mean_us) / 8

    @property
    def longest_us(self) -> float:
        """What is longer than this is not usual any more."""
        return self.mean_us + 4 * self.deviation_us
