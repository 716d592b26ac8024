"""The playout clock: verified pieces in, in any order; samples out, when they are due.

A piece is due `latency` after its capture. What is not there by then is waited for as long as
whoever sets the latency lets it, and then left behind: lag never drifts, and a picture is never
built on something that is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final, final

from livestream.errors import MessageDecodeError
from livestream.machine import MILLISECOND, SECOND, Event, earliest
from livestream.media.joiner import CapturedSample, Joiner
from livestream.media.records import Payload, PayloadFlags
from livestream.media.sample import Sample, Track, TrackKind

__all__ = ["PieceMissed", "Playout", "PlayoutEnded", "Resynced", "SamplesReleased"]

FUTURE_US_MAX: Final = 60 * SECOND  # No honest clock is further ahead of ours.
HELD_MAX: Final = 8_192  # Pieces; at 8 KiB each 64 MiB, or half a minute of 20 Mbit/s.
MISSED_EVENTS_MAX: Final = 1_024  # Reported one by one in a gap; longer ones are only counted.
END: Final = int(PayloadFlags.END)  # Of flags, `in` takes ten times what `&` does of ints.
KEYFRAME: Final = int(PayloadFlags.KEYFRAME)
STALL_AFTER_US: Final = 500 * MILLISECOND  # Below that even slow sources pause between pieces.

# While tuning in, pieces come from several peers in any order: what is missing in front of a due
# piece is most likely on its way, and to skip it could cost the key frame, so a whole GOP.
PATIENCE_US_MAX: Final = 500 * MILLISECOND


@dataclass(slots=True)
class SamplesReleased(Event):
    """These samples are for the decoder now, in order."""

    samples: list[Sample]
    captured_at: int
    "When the first of them was captured, on the caller's clock (µs)."


@dataclass(frozen=True, slots=True)
class PieceMissed(Event):
    """This piece was not there when its time came; it is no longer wanted."""

    index: int


@dataclass(frozen=True, slots=True)
class Resynced(Event):
    """The picture goes on after a loss: the next samples begin with a key frame."""


@dataclass(frozen=True, slots=True)
class PlayoutEnded(Event):
    """The publisher ended the stream. Always the last event."""


@dataclass(slots=True)
class _HeldPiece:
    payload: Payload
    captured_at: int
    is_late: bool


@final
class Playout:
    """Releases pieces in the order of their indices, each at its capture time plus the latency.

    Invariants: pieces below `next_index` were released or missed, and are not held; whatever is
    below `_due_end` is due, and the last of it is held.
    """

    def __init__(
        self,
        latency_us: int,
        first_index: int,
        tracks: Sequence[Track] = (),
        wait: Callable[[int | None], int] | None = None,
    ) -> None:
        """Start at a piece, best one that begins with a key frame.

        Args:
            latency_us: From capture to release.
            first_index: Nothing before this piece is played.
            tracks: Those of the channel. Samples of others are dropped, and a loss makes only
                video wait for a key frame. Without them, the track of the first key frame waits.
            wait: Asked when a piece is due and not there; returns the latency from now on. If it
                is larger than before, the piece is waited for by so much. It is told for how long
                (µs) the picture stands still without the piece; None: until who knows when.
        """
        self.pieces_late = 0
        "Pieces that were not there at their deadline: skipped, or released afterwards."
        self.pieces_released = 0
        self.pieces_ignored = 0
        "Pieces so far ahead that they were not kept."
        self.pieces_malformed = 0
        "Pieces whose records do not parse: the publisher's fault."
        self.samples_dropped = 0
        "Samples that could not be decoded, because of a loss or of a wrong time stamp."
        self._latency_us = latency_us
        self._wait = wait
        self._waits_until = 0
        self._patience_us = min(PATIENCE_US_MAX, latency_us // 2)
        self._next_index = first_index
        self._due_end = first_index
        self._run_end = first_index  # Pieces from next_index up to here are all held.
        self._run_last_at = 0
        self._held: dict[int, _HeldPiece] = {}
        self._by_capture: list[tuple[int, int]] = []  # Heap; may name pieces no longer held.
        self._by_index: list[int] = []  # Likewise.
        self._joiner = Joiner()
        self._events: deque[Event] = deque()
        self._known_tracks = [track.number for track in tracks]
        self._key_tracks = [track.number for track in tracks if track.kind is TrackKind.VIDEO]
        self._awaiting_key: list[int] = []
        self._dts: dict[int, int] = {}
        self._received_first_at: int | None = None
        self._started_at: int | None = None  # When the first sample was released.
        self._released_at: int | None = None  # Capture time of the newest piece released.
        self._is_playing = False
        self._is_resync_due = False
        self._is_starved = False
        self._is_ended = False

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called (µs), or None."""
        if self._is_ended or self._received_first_at is None:
            return None
        due = self._by_capture[0][0] + self._latency_us if self._by_capture else None
        is_blocked = self._next_index < self._due_end
        patience = None
        if is_blocked:
            patience = max(self._received_first_at + self._patience_us, self._waits_until)
        return earliest(due, patience, None if self._is_starved else self._starves_at())

    def handle_timer(self, now: int) -> None:
        """Release what is due. Calling it early does no harm."""
        if self._is_ended:
            return
        self._advance(now)
        starves_at = self._starves_at()
        if starves_at is not None and starves_at <= now:
            self._is_starved = True

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def receive(self, index: int, payload: Payload, captured_at: int, now: int) -> None:
        """Take a verified piece, in any order; what is known or passed is ignored.

        Args:
            index: Its place.
            payload: What it carries.
            captured_at: Its capture time on the clock of `now`.
            now: Microseconds. Whether the piece is late is judged by this, not by when it is
                released, so the timer may be a little late itself.
        """
        if self._is_ended or index < self._next_index or index in self._held:
            return
        is_full = len(self._held) >= HELD_MAX and index != self._next_index
        if is_full or captured_at - now > FUTURE_US_MAX:
            self.pieces_ignored += 1
            return
        if self._received_first_at is None:
            self._received_first_at = now
        is_past = now > captured_at + self._latency_us and now >= self._waits_until
        is_late = is_past and self._is_after_start(captured_at)
        self._held[index] = _HeldPiece(payload, captured_at, is_late)
        heappush(self._by_capture, (captured_at, index))
        heappush(self._by_index, index)
        self._forget_released()
        self._extend_run()
        self._advance(now)

    def set_latency(self, latency_us: int) -> None:
        """Play further behind, or nearer to, the capture from now on. Look at the timer then."""
        self._latency_us = latency_us

    @property
    def latency_us(self) -> int:
        """From capture to release."""
        return self._latency_us

    @property
    def next_index(self) -> int:
        """The first piece that was neither released nor missed."""
        return self._next_index

    @property
    def buffer_us(self) -> int:
        """Capture time from the first to the last of the gapless pieces that wait here."""
        first = self._held.get(self._next_index)
        return 0 if first is None else max(0, self._run_last_at - first.captured_at)

    @property
    def is_playing(self) -> bool:
        """The first key frame was released, and the end was not."""
        return self._is_playing and not self._is_ended

    @property
    def stalled(self) -> bool:
        """The picture stands still: nothing more came, or a key frame must be waited for."""
        return self.is_playing and (self._is_starved or bool(self._awaiting_key))

    def _starves_at(self) -> int | None:
        if not self._is_playing or self._released_at is None:
            return None
        return self._released_at + self._latency_us + STALL_AFTER_US

    def _is_after_start(self, captured_at: int) -> bool:
        """Whether the piece is due after the picture began: before, it was late for nothing."""
        started_at = self._started_at
        return started_at is not None and captured_at + self._latency_us > started_at

    def _forget_released(self) -> None:
        """Bound the heaps, which may outlive what they name."""
        if len(self._by_capture) > 2 * len(self._held) + 64:
            self._by_capture = [entry for entry in self._by_capture if entry[1] in self._held]
            heapify(self._by_capture)
        if len(self._by_index) > 2 * len(self._held) + 64:
            self._by_index = sorted(self._held)

    def _extend_run(self) -> None:
        self._run_end = max(self._run_end, self._next_index)
        while (held := self._held.get(self._run_end)) is not None:
            self._run_last_at = held.captured_at
            self._run_end += 1

    def _advance(self, now: int) -> None:
        while self._by_capture and self._by_capture[0][0] + self._latency_us <= now:
            self._due_end = max(self._due_end, heappop(self._by_capture)[1] + 1)
        while self._next_index < self._due_end and not self._is_ended:
            if self._is_gathering(now):
                return
            held = self._held.pop(self._next_index, None)
            if held is not None:
                self._next_index += 1
                self._release(held)
                if self._is_playing and self._started_at is None:
                    self._started_at = now
                continue
            resume = self._resume_index(now)
            if resume is None or self._is_waiting(now):
                return
            self._skip_to(resume)

    def _is_waiting(self, now: int) -> bool:
        """Whether the next piece, which is not there, is waited for."""
        if self._wait is None:
            return False
        if now >= self._waits_until:
            latency_us = self._wait(self._still_us())
            self._waits_until = now + latency_us - self._latency_us
            self._latency_us = latency_us
        return now < self._waits_until

    def _still_us(self) -> int | None:
        """Return how long the picture stands still if what is not there is skipped.

        None: nobody knows, since the next key frame is not here, either.
        """
        held = self._held.values()
        keys_at = (each.captured_at for each in held if int(each.payload.flags) & KEYFRAME)
        key_at = min(keys_at, default=None)
        if key_at is None or self._released_at is None:
            return None
        return 0 if self._awaiting_key else key_at - self._released_at

    def _is_gathering(self, now: int) -> bool:
        """Whether to begin a little later, so that the picture does not stumble as it begins."""
        first_at = self._received_first_at
        is_tuning_in = (
            self._started_at is None and first_at is not None and now < first_at + self._patience_us
        )
        return is_tuning_in and self._next_index < self._run_end < self._due_end

    def _resume_index(self, now: int) -> int | None:
        """Return where to go on, the next piece not being there; None: wait for it."""
        first_at = self._received_first_at
        if first_at is not None and now < first_at + self._patience_us:
            # A key frame that is due itself is as good a start as any before it.
            keys = (
                index
                for index, held in self._held.items()
                if index < self._due_end and int(held.payload.flags) & KEYFRAME
            )
            return min(keys, default=None)
        while self._by_index[0] < self._next_index:
            heappop(self._by_index)
        return self._by_index[0]

    def _skip_to(self, index: int) -> None:
        missed = index - self._next_index
        if self._is_after_start(self._held[index].captured_at):
            self.pieces_late += missed
        for offset in range(min(missed, MISSED_EVENTS_MAX)):
            self._events.append(PieceMissed(self._next_index + offset))
        self._next_index = index
        self._extend_run()
        self._on_gap()

    def _release(self, held: _HeldPiece) -> None:
        self.pieces_released += 1
        self.pieces_late += held.is_late
        self._released_at = held.captured_at
        self._is_starved = False
        try:
            joined = self._joiner.add(held.payload)
        except MessageDecodeError:
            self.pieces_malformed += 1
            self._on_gap()
            joined = []
        samples = [captured for captured in joined if self._admits(captured.sample)]
        self.samples_dropped += len(joined) - len(samples)
        if samples:
            self._report(samples, held)
        if int(held.payload.flags) & END:
            self._on_end()

    def _report(self, samples: list[CapturedSample], held: _HeldPiece) -> None:
        age_us = (held.payload.captured_ms - samples[0].captured_ms) * MILLISECOND
        released = [captured.sample for captured in samples]
        self._events.append(SamplesReleased(released, held.captured_at - age_us))

    def _admits(self, sample: Sample) -> bool:
        """Whether a decoder can take this sample."""
        number = sample.track
        if self._known_tracks and number not in self._known_tracks:
            return False
        if not self._is_playing:
            if not sample.is_keyframe:
                return False
            self._is_playing = True
            if not self._known_tracks:
                self._key_tracks = [number]
        if sample.dts <= self._dts.get(number, -1):
            return False  # A stranger's time stamps; muxers refuse them.
        if number in self._awaiting_key:
            if not sample.is_keyframe:
                return False
            self._awaiting_key.remove(number)
        if self._is_resync_due and not self._awaiting_key:
            self._is_resync_due = False
            self._events.append(Resynced())
        self._dts[number] = sample.dts
        return True

    def _on_gap(self) -> None:
        self._joiner.gap()
        if self._is_playing:
            self._awaiting_key = list(self._key_tracks)
            self._is_resync_due = True

    def _on_end(self) -> None:
        self._is_ended = True
        self._held.clear()
        self._by_capture.clear()
        self._by_index.clear()
        self._events.append(PlayoutEnded())
