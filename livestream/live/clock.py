"""The channel's clock as this node sees it: capture times (Unix) to machine time and back."""

from __future__ import annotations

from typing import Final

from livestream.machine import MILLISECOND, SECOND

__all__ = ["ChannelClock"]

TOLERANCE_US: Final = 300 * MILLISECOND  # Clocks that agree so far agree: the rest may be queues.
OBVIOUS_US: Final = 2_500 * MILLISECOND  # No head is so old that a neighbour has as its newest.
NEEDED: Final = 16  # Observations of a clock that is ahead...
NEEDED_US: Final = (
    1_200 * MILLISECOND
)  # ...over so long: a head comes each second, past all queues.
MEMORY_US: Final = 30 * SECOND  # The quickest of the last one or two such times counts.
PATH_US_MAX: Final = 500 * MILLISECOND  # Round trips are what peers make of them.


class ChannelClock:
    """Maps the publisher's capture times to `now`, and survives clocks that disagree.

    Both machines are assumed to keep Unix time until something signed says otherwise. What came
    before it was sent proves at once that this clock is behind. That it is ahead shows in that
    even the quickest of pieces and heads seem to take far longer than their path does, as round
    trips tell: queues do that, too, but not to all of them, for so long. Wrong by no more than
    the tolerance, a clock is left alone, for each correction moves the picture.
    """

    def __init__(self, unix_offset_us: int) -> None:
        """Take what must be added to `now` to get Unix microseconds."""
        self._unix_offset_us = unix_offset_us
        self._skew_us = 0
        self._seen = 0
        self._since: int | None = None
        self._quickest: tuple[int, int] | None = None
        "The least age since then, by the Unix clocks; and by how much the path explains it."
        self._quickest_before: tuple[int, int] | None = None

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

    def start(self) -> None:
        """Begin an epoch: it may have the clock of another machine."""
        self._seen, self._since = 0, None
        self._quickest = self._quickest_before = None

    def observe(self, sent_ms: int, path_us: int, now: int) -> None:
        """Learn from something fresh that the publisher signed: a piece or a head.

        Args:
            sent_ms: The publisher's Unix time when it was captured or signed.
            path_us: What its way here takes at least, by round trips.
            now: When it came.
        """
        age_us = now + self._unix_offset_us - sent_ms * MILLISECOND
        path_us = min(path_us, PATH_US_MAX)
        self._remember(age_us, path_us, now)
        if age_us < self._skew_us:
            self._skew_us = age_us - path_us
            return
        age_us, path_us = self._least()
        ahead_us = age_us - path_us - self._skew_us
        if ahead_us > (TOLERANCE_US if self._is_settled(now) else OBVIOUS_US):
            self._skew_us += ahead_us

    def _remember(self, age_us: int, path_us: int, now: int) -> None:
        if self._since is None:
            self._since = now
        elif now - self._since > MEMORY_US and self._quickest is not None:
            self._since = now
            self._quickest_before, self._quickest = self._quickest, None
        self._seen += 1
        if self._quickest is None or age_us < self._quickest[0]:
            self._quickest = age_us, path_us

    def _least(self) -> tuple[int, int]:
        known = [each for each in (self._quickest, self._quickest_before) if each is not None]
        return min(known)

    def _is_settled(self, now: int) -> bool:
        if self._quickest_before is not None:
            return True
        return self._since is not None and self._seen >= NEEDED and now - self._since > NEEDED_US
