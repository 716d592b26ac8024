"""The channel's clock as this node sees it: capture times (Unix) to machine time and back."""

from __future__ import annotations

from typing import Final

from livestream.machine import MILLISECOND, SECOND

__all__ = ["ChannelClock"]

PLAUSIBLE_LAG_US: Final = 10 * SECOND  # A fresh piece older than this tells of a wrong clock.
SAMPLES_NEEDED: Final = 16  # Fresh pieces looked at before a clock is called wrong.


class ChannelClock:
    """Maps the publisher's capture times to `now`, and survives clocks that disagree.

    Both machines are assumed to keep Unix time. Where a piece seems to come from the future, or
    every one of many fresh pieces seems absurdly old, this node's clock is wrong (or the
    publisher's), and the quickest piece is taken to have come in no time.
    """

    def __init__(self, unix_offset_us: int) -> None:
        """Take what must be added to `now` to get Unix microseconds."""
        self._unix_offset_us = unix_offset_us
        self._skew_us = 0
        self._fresh_seen = 0
        self._quickest_us: int | None = None

    @property
    def skew_us(self) -> int:
        """How far this node's Unix clock was found to be ahead of the publisher's."""
        return self._skew_us

    def machine_time(self, captured_ms: int) -> int:
        """Return `now` at the moment of capture."""
        return captured_ms * MILLISECOND - self._unix_offset_us + self._skew_us

    def unix_ms(self, now: int) -> int:
        """Return the publisher's Unix time, as far as we know it."""
        return (now + self._unix_offset_us - self._skew_us) // MILLISECOND

    def observe(self, captured_ms: int, now: int) -> None:
        """Learn from a fresh piece: one that was not yet known to exist."""
        lag_us = now - self.machine_time(captured_ms)
        if lag_us < 0:
            self._skew_us += lag_us
            self._quickest_us = 0
            return
        self._quickest_us = lag_us if self._quickest_us is None else min(self._quickest_us, lag_us)
        self._fresh_seen += 1
        if self._fresh_seen == SAMPLES_NEEDED:
            if self._quickest_us > PLAUSIBLE_LAG_US:
                self._skew_us += self._quickest_us
            self._fresh_seen, self._quickest_us = 0, None
