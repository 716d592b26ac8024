"""Whether those who feed us do so (`judge`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from livestream.live.neighbours import Neighbours
from livestream.live.substream import Substream
from livestream.machine import MILLISECOND, SECOND
from livestream.swarm.peer import Peer

__all__ = ["FEED_PATIENCE_US", "QUIET_US", "UNHEARD_US", "Verdict", "judge"]

OVERDUE_MAX: Final = 2  # So many overdue pieces of one substream, and its feeder has failed...
FEED_PATIENCE_US: Final = 350 * MILLISECOND  # ...unless it pushed something since...
HOP_PATIENCE_US: Final = 50 * MILLISECOND  # ...or somebody above it looks for a feeder itself.
MISSED_PATIENCE_US: Final = SECOND  # What was fetched elsewhere meanwhile counts, too, by then.
# A feeder that was not heard for so long is asked for a sign of life, and has as long to give one.
UNHEARD_US: Final = 250 * MILLISECOND
QUIET_US: Final = 1_650 * MILLISECOND  # Everybody says something each second, or a quarter later.


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be thought of a feeder."""

    is_missed: bool = False
    "What it should have brought is not here: nothing gets to those whom we feed either."
    has_failed: bool = False


def judge(
    substream: Substream, overdue: int, missed: int, neighbours: Neighbours, now: int
) -> Verdict:
    """Judge a feeder that has brought nothing for FEED_PATIENCE_US.

    Args:
        substream: Ours, which it feeds.
        overdue: How many of its pieces should have come, and are not here.
        missed: How many should have come that the feeder did not bring, wherever they are now: in
            slow channels each is fetched elsewhere, or given up, before the next is overdue.
        neighbours: Who else should be heard. If nobody is, it is our own line, and to leave all
            feeders would not help.
        now: Machine time, µs.
    """
    silent_us = now - substream.pushed_at
    usual_us = max(substream.gaps.longest_us, FEED_PATIENCE_US)
    is_silent = now - substream.came_at > usual_us
    is_overdue = overdue >= OVERDUE_MAX
    is_missed = is_overdue or (silent_us > MISSED_PATIENCE_US and missed >= OVERDUE_MAX)
    patience_us = FEED_PATIENCE_US if is_overdue else MISSED_PATIENCE_US
    patience_us += HOP_PATIENCE_US * len(substream.path)
    is_late = is_missed and silent_us > patience_us and not substream.is_waiting(now)
    return Verdict(
        is_missed=is_missed or is_silent,
        has_failed=is_late or _is_gone(substream.feeder, neighbours, now),
    )


def _is_gone(feeder: Peer | None, neighbours: Neighbours, now: int) -> bool:
    """Whether it was silent for too long when others were heard last."""
    if feeder is None or feeder.heard_at >= now - UNHEARD_US:
        return False  # The rest looks at all neighbours, and this is asked for each substream.
    others_at = neighbours.heard_at(feeder)
    if feeder.heard_at < others_at - QUIET_US:
        return True
    is_unheard = feeder.heard_at < others_at - UNHEARD_US
    return is_unheard and feeder.is_unresponsive(others_at, UNHEARD_US)
