"""Who wants to be woken when, for many sleepers (`Timers`)."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

__all__ = ["SLACK", "Timers"]

SLACK: Final = 256  # Entries that nobody waits for are swept once they are so many, and the most.

_Sleeper = TypeVar("_Sleeper", bound=Hashable)


class Timers(Generic[_Sleeper]):
    """A timer that moves later costs nothing until the earlier time has come.

    Invariant: the heap holds, for each sleeper that has a time, an entry that is not later; and
    not many more.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, _Sleeper]] = []
        self._wanted: dict[_Sleeper, int] = {}
        self._entry: dict[_Sleeper, int] = {}
        "The earliest time at which the heap names each."
        self._order = 0

    def set(self, sleeper: _Sleeper, at: int | None) -> None:
        """Wake it at this time, µs; None: never."""
        if at is None:
            self._wanted.pop(sleeper, None)
            self._sweep()
            return
        self._wanted[sleeper] = at
        entry = self._entry.get(sleeper)
        if entry is None or entry > at:
            self._push(sleeper, at)

    def __len__(self) -> int:
        """How many entries there are, of which nobody may wait for some."""
        return len(self._heap)

    def first(self) -> int | None:
        """Return when somebody is to be woken next."""
        while self._heap:
            at, _, sleeper = self._heap[0]
            wanted = self._wanted.get(sleeper)
            if self._entry.get(sleeper) == at:
                if wanted == at:
                    return at
                del self._entry[sleeper]
            heappop(self._heap)
            if wanted is not None and sleeper not in self._entry:
                self._push(sleeper, wanted)
        return None

    def pop_due(self, now: int) -> _Sleeper | None:
        """Return one whose time has come, and forget that time."""
        at = self.first()
        if at is None or at > now:
            return None
        _, _, sleeper = heappop(self._heap)
        del self._entry[sleeper]
        del self._wanted[sleeper]
        return sleeper

    def _push(self, sleeper: _Sleeper, at: int) -> None:
        self._entry[sleeper] = at
        self._order += 1
        heappush(self._heap, (at, self._order, sleeper))
        self._sweep()

    def _sweep(self) -> None:
        """Let go of those who no longer sleep, when they are the most."""
        if len(self._heap) <= 2 * len(self._wanted) + SLACK // 2:
            return
        self._entry = dict(self._wanted)
        self._heap = [(at, order, each) for order, (each, at) in enumerate(self._wanted.items())]
        self._order = len(self._heap)
        heapify(self._heap)
