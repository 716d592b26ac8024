"""Tiers of trackers (BEP 12): in each the first that answers is kept to, the others wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final

from livestream.discovery.announce import Announcer
from livestream.errors import StateError

__all__ = ["Tier", "make_tiers"]

TRACKERS_MAX: Final = 100  # Of one torrent. The well-known lists that people add hold 20 to 80.
SCHEMES: Final = ("http://", "https://", "udp://")


class Tier:
    """Trackers that stand in for each other: one at a time is told of us.

    "URLs within a tier will be processed in a randomly chosen order; if a connection with a
    tracker is successful, it will be moved to the front of the tier."

    Invariant: all but the first have failed the last time, or were never asked.
    """

    def __init__(self, announcers: Sequence[Announcer], rng: Random) -> None:
        """Take at least one tracker. Raises StateError."""
        if not announcers:
            raise StateError("a tier without trackers")
        self.announcers = list(announcers)
        rng.shuffle(self.announcers)

    @property
    def has_reserve(self) -> bool:
        """Whether another could be asked when one is silent: then it gets less patience."""
        return len(self.announcers) > 1

    @property
    def has_news(self) -> bool:
        """Whether one has answered, or all were asked in vain."""
        first = self.announcers[0]
        if first.has_started and not first.failures:
            return True
        return all(each.failures for each in self.announcers)

    @property
    def is_completion_due(self) -> bool:
        """Whether to announce at once that we have it all."""
        return self.announcers[0].is_completion_due

    @property
    def failure(self) -> str:
        """Why no tracker of the tier answers; empty when one does."""
        return self.announcers[0].failure

    def get_timer(self) -> int:
        """Return when `next_announcer` has one to ask."""
        first = self.announcers[0]
        if not first.failures:
            return first.get_timer()
        return min(each.get_timer() for each in self.announcers)

    def next_announcer(self, now: int) -> Announcer | None:
        """Return the tracker to ask now, or None: wait."""
        first = self.announcers[0]
        if not first.failures:
            is_due = first.get_timer() <= now or first.is_completion_due
            return first if is_due else None
        return next((each for each in self.announcers if each.get_timer() <= now), None)

    def settle(self, announcer: Announcer) -> None:
        """Take note of how asking one of ours ended: who answered goes to the front."""
        if announcer.failures:
            return
        self.announcers.remove(announcer)
        self.announcers.insert(0, announcer)
        if announcer.has_told_completion:  # They count for one and the same statistics.
            for each in self.announcers:
                each.note_completion()

    def to_leave(self) -> Announcer | None:
        """Return the tracker that counts on us to say when we go."""
        first = self.announcers[0]
        return first if first.has_started and not first.failures else None


def make_tiers(
    tiers: Iterable[Sequence[str]], make: Callable[[str], Announcer], rng: Random
) -> list[Tier]:
    """Return tiers of the URLs that are trackers', each URL once, TRACKERS_MAX in all."""
    seen: set[str] = set()
    made = []
    for urls in tiers:
        fresh = []
        for url in urls:
            if url not in seen and url.startswith(SCHEMES) and len(seen) < TRACKERS_MAX:
                seen.add(url)
                fresh.append(make(url))
        if fresh:
            made.append(Tier(fresh, rng))
    return made
