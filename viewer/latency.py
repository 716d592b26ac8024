"""How far behind the capture to play: as near as pieces come in time, and no nearer (`Latency`)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from livestream.machine import MILLISECOND, SECOND

__all__ = ["LATENCY_START_US", "Latency"]

LATENCY_START_US: Final = SECOND
LATENCY_MIN_US: Final = 600 * MILLISECOND  # Nearer, repairs would have no time (live.md §4).
LATENCY_MAX_US: Final = 3 * SECOND
MEMORY_S: Final = 8  # What came longer ago does not count.
SETTLING_US: Final = 3 * SECOND  # At first pieces come as they were asked for, in any order.
LATE_SHARE: Final = 0.001  # More pieces than that too late, and we play further behind.
SPARE_US: Final = 120 * MILLISECOND  # If nearly all pieces had so much time left, we play nearer.
CLOSE_SHARE: Final = 0.003  # So many may have less: those are the repaired, which come in time.
RAISE_US: Final = 100 * MILLISECOND
LOWER_US: Final = 50 * MILLISECOND  # A second at most: 5 % quicker is hardly heard.
# A piece that is not there when it is due is waited for, little by little: without it there would
# be no picture up to the next key frame. Never for longer than that would take: who does not know
# when something comes, and pays as much for waiting as for not waiting, pays twice the least.
WAIT_US: Final = 25 * MILLISECOND
WAITS_US_MAX: Final = 600 * MILLISECOND  # At once: what a failure takes to be made good...
WAITS_US_A_SECOND: Final = 25 * MILLISECOND  # ...but on average less than the target comes down.
# At first: in a crowd, whose uploads are full, that is the first picture, or the next one. More
# would leave those far behind who stay for less than a minute.
STARTING_WAITS_US: Final = 200 * MILLISECOND


@dataclass(slots=True)
class _Second:
    """What came within one second."""

    lags_us: list[int] = field(default_factory=list)
    late: int = 0
    waited_us: int = 0


class Latency:
    """Adapts the target once a second, quickly up and slowly down.

    Invariant: `target_us` is between the lowest, which is what the viewer asked for if it did, and
    the larger of that and LATENCY_MAX_US.
    """

    def __init__(self, asked_us: int | None = None, start_us: int = LATENCY_START_US) -> None:
        """Take what the viewer asked for; None: as near as it goes, beginning with `start_us`."""
        self.target_us = start_us if asked_us is None else asked_us
        self._lowest_us = min(LATENCY_MIN_US, start_us) if asked_us is None else asked_us
        self.restart()

    def ask(self, latency_us: int) -> None:
        """The viewer wants this, or as little more as it takes."""
        self.target_us = self._lowest_us = latency_us

    def restart(self) -> None:
        """Another run of the channel begins: what comes at first says nothing."""
        self._seconds: deque[_Second] = deque([_Second()], maxlen=MEMORY_S)
        self._late_before = 0
        self._waits_us = STARTING_WAITS_US
        "For how long may be waited yet."
        self._is_settled = False
        self._next_at: int | None = None

    def wait(self, still_us: int | None) -> int:
        """Something is due and not there: return the target, which is later if that helps.

        `still_us`: for how long there is no picture without it; None: nobody knows.
        """
        waited_us = sum(each.waited_us for each in self._seconds)
        is_worth_it = still_us is None or waited_us < still_us
        if is_worth_it and self._waits_us >= WAIT_US:
            before_us = self.target_us
            self._raise(WAIT_US)
            self._seconds[-1].waited_us += self.target_us - before_us
            self._waits_us -= WAIT_US
        return self.target_us

    def note_piece(self, lag_us: int, pieces_late: int, now: int) -> bool:
        """A piece came `lag_us` after its capture; whether the target has changed.

        `pieces_late` is how many were not there at their deadline, since the epoch began.
        """
        if self._next_at is None:
            self._next_at = now + SETTLING_US
        second = self._seconds[-1]
        second.lags_us.append(lag_us)
        if now < self._next_at:
            return False
        second.late = max(0, pieces_late - self._late_before) if self._is_settled else 0
        self._late_before = pieces_late
        self._is_settled = True
        self._next_at = now + SECOND
        self._waits_us = min(self._waits_us + WAITS_US_A_SECOND, WAITS_US_MAX)
        before_us = self.target_us
        self._adapt(second)
        self._seconds.append(_Second())  # The oldest goes.
        return self.target_us != before_us

    def _adapt(self, second: _Second) -> None:
        pieces = sum(len(each.lags_us) for each in self._seconds)
        late = sum(each.late for each in self._seconds)
        if second.late and late > LATE_SHARE * pieces:
            self._raise(max(0, RAISE_US - second.waited_us))
            return
        if len(self._seconds) < MEMORY_S or late:
            return
        lags_us = sorted(lag_us for each in self._seconds for lag_us in each.lags_us)
        nearest_us = lags_us[-1 - int(CLOSE_SHARE * pieces)] + SPARE_US
        nearest_us = max(nearest_us, self.target_us - LOWER_US, self._lowest_us)
        self.target_us = min(self.target_us, nearest_us)

    def _raise(self, by_us: int) -> None:
        highest_us = max(LATENCY_MAX_US, self._lowest_us)
        self.target_us = min(self.target_us + by_us, highest_us)
