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
DTS_STEP: Final = Fraction(1, 1_000)  # Enough for dts to rise where two rounds meet.
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
        self._round: _Round | None = None

    def place(self, track: int, dts: Fraction, pts: Fraction, end: Fraction) -> Fraction:
        """Return the channel time of what the source decodes at `dts`.

        Args:
            track: Whose it is.
            dts: Decoding time; of a decoded frame the same as `pts`.
            pts: Presentation time.
            end: When its presentation ends.
        """
        if self._offset is None:
            self._offset = START - dts
        elif abs(dts + self._offset - self._last) > JUMP_MAX:
            self._offset = self._last - dts
            self.jumps += 1
        placed = dts + self._offset
        self._last = placed
        if self._round is None:
            self._round = _Round(pts + self._offset, end + self._offset)
        self._round.take(track, placed, pts + self._offset, end + self._offset)
        return placed

    def next_round(self) -> None:
        """The source starts again from its beginning, which is to follow its end."""
        if self._offset is None or self._round is None:
            return
        self._offset += self._round.length
        self._last = self._round.end
        self._round = None


class _Round:
    """What was seen of a source since its beginning, in channel time."""

    def __init__(self, start: Fraction, end: Fraction) -> None:
        self.start = start
        self.end = end
        self._first: dict[int, Fraction] = {}  # dts, track by track.
        self._last: dict[int, Fraction] = {}

    def take(self, track: int, dts: Fraction, pts: Fraction, end: Fraction) -> None:
        self.start = min(self.start, pts)
        self.end = max(self.end, end)
        self._first.setdefault(track, dts)
        self._last[track] = max(dts, self._last.get(track, dts))

    @property
    def length(self) -> Fraction:
        """How far the next round must move: all tracks as one, so that they stay in step.

        The first picture follows the last, of the longest track; unless the dts of some track,
        which may begin well before its pts, would then go back.
        """
        spans = [self._last[track] - first + DTS_STEP for track, first in self._first.items()]
        return max(self.end - self.start, *spans)


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
