"""The virtual clock: what happens when, in one order for one seed (`World`)."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from array import array
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from random import Random
from typing import Final

from mypy_extensions import mypyc_attr

from livestream.machine import SECOND

__all__ = ["START_US", "Occurrence", "World"]

START_US: Final = SECOND  # Machines may take time 0 for "never".
_SLICE_BITS: Final = 10  # What is further ahead is sorted by slices of 1,024 µs only.
_TRACE_BATCH: Final = 1 << 13  # Numbers of the trace that are hashed at once.


@mypyc_attr(allow_interpreted_subclasses=True)
class Occurrence(ABC):
    """Something that happens at a moment that is known beforehand."""

    __slots__ = ()

    @abstractmethod
    def happen(self, now: int) -> None:
        """Let it happen. Nothing about it may depend on anything but the state of the world."""


@mypyc_attr(allow_interpreted_subclasses=True)
class World:
    """Occurrences in the order of their times, and in that of their planning at equal times.

    Invariant: `now` never falls, and nothing ever happens before it. `_soon`, a heap, has all that
    is planned before `_soon_end`, and `_later` the rest, by slices of time that are not empty.
    """

    def __init__(self, seed: int) -> None:
        self.now = START_US
        self.rng = Random(seed)
        self.occurrences = 0
        "How many have happened, when `run_until` last returned."
        self._soon: list[tuple[int, int, Occurrence]] = []
        self._soon_end = self.now
        self._later: dict[int, list[tuple[int, int, Occurrence]]] = {}
        self._slices: list[int] = []
        "Heap of the keys of `_later`."
        self._order = 0
        self._hash = blake2b(digest_size=16)
        self._trace = array("Q")

    def plan(self, at: int, occurrence: Occurrence) -> None:
        """Let something happen at a time, µs; never before now."""
        at = max(at, self.now)
        self._order = order = self._order + 1
        if at < self._soon_end:
            heappush(self._soon, (at, order, occurrence))
            return
        number = at >> _SLICE_BITS
        waiting = self._later.get(number)
        if waiting is None:
            self._later[number] = [(at, order, occurrence)]
            heappush(self._slices, number)
        else:
            waiting.append((at, order, occurrence))

    def run_until(self, end: int) -> None:
        """Let everything happen that is planned up to `end`."""
        happened = 0
        while True:
            soon = self._soon
            while soon and soon[0][0] <= end:
                self.now, _, occurrence = heappop(soon)
                happened += 1
                occurrence.happen(self.now)
            if soon or not self._slices or self._slices[0] << _SLICE_BITS > end:
                break
            number = heappop(self._slices)
            self._soon = self._later.pop(number)
            self._soon_end = (number + 1) << _SLICE_BITS
            heapify(self._soon)
        self.occurrences += happened
        self.now = max(self.now, end)

    def note(self, value: int) -> None:
        """Put a fact into the trace: two runs are the same if they noted the same, when."""
        trace = self._trace
        trace.append(self.now)
        trace.append(value)
        if len(trace) >= _TRACE_BATCH:
            self._fold()

    def trace_hash(self) -> str:
        """Return the hash of all that was noted until now."""
        self._fold()
        return self._hash.hexdigest()

    def _fold(self) -> None:
        if sys.byteorder == "little":  # The hash is that of big-endian numbers on any machine.
            self._trace.byteswap()
        self._hash.update(self._trace)
        self._trace = array("Q")
