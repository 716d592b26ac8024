"""The virtual clock: what happens when, in one order for one seed (`World`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random
from struct import Struct
from typing import Final

from livestream.machine import SECOND

__all__ = ["START_US", "Occurrence", "World"]

START_US: Final = SECOND  # Machines may take time 0 for "never".
_ENTRY: Final = Struct("!QQ")
_TRACE_BATCH: Final = 1 << 16  # Bytes of the trace that are hashed at once.


class Occurrence(ABC):
    """Something that happens at a moment that is known beforehand."""

    __slots__ = ()

    @abstractmethod
    def happen(self, now: int) -> None:
        """Let it happen. Nothing about it may depend on anything but the state of the world."""


class World:
    """Occurrences in the order of their times, and in that of their planning at equal times.

    Invariant: `now` never falls, and nothing ever happens before it.
    """

    def __init__(self, seed: int) -> None:
        self.now = START_US
        self.rng = Random(seed)
        self.occurrences = 0
        "How many have happened."
        self._plan: list[tuple[int, int, Occurrence]] = []
        self._order = 0
        self._hash = blake2b(digest_size=16)
        self._trace = bytearray()

    def plan(self, at: int, occurrence: Occurrence) -> None:
        """Let something happen at a time, µs; never before now."""
        self._order += 1
        heappush(self._plan, (max(at, self.now), self._order, occurrence))

    def run_until(self, end: int) -> None:
        """Let everything happen that is planned up to `end`."""
        plan = self._plan
        while plan and plan[0][0] <= end:
            self.now, _, occurrence = heappop(plan)
            self.occurrences += 1
            occurrence.happen(self.now)
        self.now = max(self.now, end)

    def note(self, value: int) -> None:
        """Put a fact into the trace: two runs are the same if they noted the same, when."""
        self._trace += _ENTRY.pack(self.now, value)
        if len(self._trace) >= _TRACE_BATCH:
            self._fold()

    def trace_hash(self) -> str:
        """Return the hash of all that was noted until now."""
        self._fold()
        return self._hash.hexdigest()

    def _fold(self) -> None:
        self._hash.update(self._trace)
        self._trace.clear()
