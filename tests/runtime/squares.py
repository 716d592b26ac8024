"""What other processes are given to do; a module of its own, quick to import there."""

from __future__ import annotations

from livestream.errors import UsageError


def slow_at_first(number: int) -> int:
    """Return the square; the first take longest, and end last."""
    return max(each * each for each in [number] * (200_000 // (number + 1)))


def fails_at_three(number: int) -> int:
    if number == 3:
        raise UsageError("three is refused")
    return number
