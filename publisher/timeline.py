"""From a source's time stamps, which jump, restart and contradict, to a channel's, which do not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Generic, TypeVar, final

from livestream.media.records import DURATION_MAX, RECORD_BYTES_MAX
from livestream.media.sample import Sample, Track

__all__ = ["Stamper", "Timed", "Timeline", "interleave"]

START: Final = Fraction(1)  # Room for tracks that begin before the first one seen.
JUMP_MAX: Final = Fraction(10)  # Time stamps further apart than this do not mean what they say.
SPAN_MAX: Final = Fraction(1)  # Tracks of one file are interleaved at least this closely.

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """Something of one track, and its place in channel time (seconds)."""

    track: int
    time: Fraction
    arrived_us: int
    "When it came from the source, monotonic time."
    item: T


@final
class Timeline:
    """Maps source time to channel time, in seconds; one for all tracks, so they stay in step.

    Invariant: channel time goes on where it was, whatever the source's clock does: between two
    consecutive calls it moves by less than JUMP_MAX.
    """

    def __init__(self) -> None:
        self.jumps = 0
        "Times that the source's clock had to be set anew."
        self._offset: Fraction | None = None
        self._last = START
        self._round_start: Fraction | None = None
        self._round_end: Fraction | None = None

    def place(self, start: Fraction, end: Fraction) -> Fraction:
        """Return the channel time of what the source puts at `start`.

        Args:
            start: Decoding time of an encoded sample, presentation time of a decoded frame.
            end: When its presentation ends.
        """
        if self._offset is None:
            self._offset = START - start
        elif abs(start + self._offset - self._last) > JUMP_MAX:
            self._offset = self._last - start
            self.jumps += 1
        placed = start + self._offset
        self._last = placed
        if self._round_start is None or placed < self._round_start:
            self._round_start = placed
        if self._round_end is None or end + self._offset > self._round_end:
            self._round_end = end + self._offset
        return placed

    def next_round(self) -> None:
        """The source starts again from its beginning: its first sample follows its last.

        All tracks move by the longest one's length, counted from the earliest decoding time;
        anything less would let one of them run backwards (encoder delay, reordered frames).
        """
        if self._offset is None or self._round_start is None or self._round_end is None:
            return
        self._offset += self._round_end - self._round_start
        self._last = self._round_end
        self._round_start = self._round_end = None


@final
class Stamper:
    """Makes the samples of one track.

    Invariant: dts rises strictly, and 0 <= dts <= pts; what would break that is dropped.
    """

    def __init__(self, track: Track, marks_seconds: bool) -> None:
        """Take the track.

        Args:
            track: Whose number and clock rate count.
            marks_seconds: It is audio alone: one sample a second is where viewers may start.
        """
        self.dropped = 0
        self._track = track
        self._marks_seconds = marks_seconds
        self._dts_last = -1
        self._key_at = 0

    def stamp(
        self, data: bytes, *, is_keyframe: bool, dts: Fraction, pts: Fraction, duration: Fraction
    ) -> Sample | None:
        """Return the sample; times are channel seconds. None: it had to be dropped."""
        rate = self._track.clock_rate
        ticks = round(dts * rate)
        if ticks <= self._dts_last or len(data) > RECORD_BYTES_MAX:
            self.dropped += 1
            return None
        if self._marks_seconds:
            is_keyframe = ticks >= self._key_at
            if is_keyframe:
                self._key_at = ticks + rate
        self._dts_last = ticks
        offset = min(max(0, round(pts * rate) - ticks), DURATION_MAX)
        length = min(max(0, round(duration * rate)), DURATION_MAX)
        return Sample(self._track.number, is_keyframe, ticks + offset, ticks, length, data)


def interleave(items: Iterable[Timed[T]], tracks: int) -> Iterator[Timed[T]]:
    """Put what comes track by track into the order of time, as far as a second allows."""
    queues: list[deque[Timed[T]]] = [deque() for _ in range(tracks)]
    for timed in items:
        queues[timed.track].append(timed)
        while _is_complete(queues):
            yield _pop_earliest(queues)
    while any(queues):
        yield _pop_earliest(queues)


def _is_complete(queues: list[deque[Timed[T]]]) -> bool:
    if all(queues):
        return True
    return any(queue and queue[-1].time - queue[0].time > SPAN_MAX for queue in queues)


def _pop_earliest(queues: list[deque[Timed[T]]]) -> Timed[T]:
    return min((queue for queue in queues if queue), key=lambda queue: queue[0].time).popleft()
