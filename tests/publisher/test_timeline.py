"""Channel time: it goes on, whatever a source's clock does."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.media.records import RECORD_BYTES_MAX
from livestream.media.sample import Sample, Track, TrackKind
from publisher.timeline import START, Stamper, Timed, Timeline, interleave

VIDEO = Track(0, TrackKind.VIDEO, "h264", 90_000, b"")
AUDIO = Track(0, TrackKind.AUDIO, "aac", 48_000, b"")
FRAME = Fraction(1, 25)


def stamp(stamper: Stamper, dts: Fraction, pts: Fraction | None = None) -> Sample | None:
    return stamper.stamp(b"", is_keyframe=False, dts=dts, pts=pts or dts, duration=FRAME)


def place(timeline: Timeline, at: Fraction | int, track: int = 0) -> Fraction:
    return timeline.place(track, Fraction(at), Fraction(at), at + FRAME)


def test_a_source_may_start_anywhere() -> None:
    timeline = Timeline()
    assert place(timeline, 95_443) == START
    assert place(timeline, 95_442, track=1) == START - 1


def test_the_next_round_follows_the_end_of_the_longest_track() -> None:
    timeline = Timeline()
    for number in range(3):
        assert place(timeline, 0, track=1) == START + number * (2 + FRAME)
        assert place(timeline, 1, track=1) == START + 1 + number * (2 + FRAME)
        assert place(timeline, 0) == START + number * (2 + FRAME)
        assert place(timeline, 2) == START + 2 + number * (2 + FRAME)
        timeline.next_round()


def test_where_rounds_meet_the_first_picture_follows_the_last_without_a_pause() -> None:
    """Goal: with B-frames dts runs ahead of pts, and a loop must not show it."""
    timeline = Timeline()
    pts: list[Fraction] = []
    dts: list[Fraction] = []
    for _ in range(3):
        for number in range(10):
            ahead = 2 * FRAME
            at = timeline.place(0, number * FRAME - ahead, number * FRAME, (number + 1) * FRAME)
            dts.append(at)
            pts.append(at + ahead)
        timeline.next_round()
    assert {after - before for before, after in pairwise(dts)} == {FRAME}
    assert {after - before for before, after in pairwise(pts)} == {FRAME}


def test_where_rounds_meet_dts_rises_even_if_it_began_early() -> None:
    timeline = Timeline()
    rounds = []
    for _ in range(2):
        first = timeline.place(0, Fraction(-5), Fraction(0), FRAME)
        rounds.append((first, timeline.place(0, FRAME, FRAME, 2 * FRAME)))
        timeline.next_round()
    assert rounds[1][0] > rounds[0][1]


def test_a_clock_that_jumps_is_followed_without_a_jump() -> None:
    timeline = Timeline()
    place(timeline, 100)
    assert place(timeline, 101) == START + 1
    assert place(timeline, 3) == START + 1
    assert place(timeline, 4) == START + 2
    assert place(timeline, 90_000) == START + 2
    assert timeline.jumps == 2


def test_samples_that_would_go_back_are_dropped_and_counted() -> None:
    stamper = Stamper(VIDEO, marks_seconds=False)
    kept = [stamp(stamper, dts) for dts in (Fraction(1), Fraction(1), Fraction(0), Fraction(2))]
    assert [sample.dts for sample in kept if sample is not None] == [90_000, 180_000]
    assert stamper.dropped == 2


def test_a_sample_too_large_for_a_record_is_dropped() -> None:
    stamper = Stamper(VIDEO, marks_seconds=False)
    data = bytes(RECORD_BYTES_MAX + 1)
    one = Fraction(1)
    assert stamper.stamp(data, is_keyframe=True, dts=one, pts=one, duration=FRAME) is None


@settings(max_examples=50)
@given(st.lists(st.tuples(st.fractions(-5, 50), st.fractions(-5, 50), st.fractions(-1, 500))))
def test_whatever_the_time_stamps_the_samples_keep_their_invariant(
    times: list[tuple[Fraction, Fraction, Fraction]],
) -> None:
    stamper = Stamper(AUDIO, marks_seconds=False)
    last = -1
    for dts, pts, duration in times:
        sample = stamper.stamp(b"", is_keyframe=False, dts=dts, pts=pts, duration=duration)
        if sample is not None:
            assert last < sample.dts <= sample.pts
            assert sample.duration >= 0
            last = sample.dts


def test_sound_alone_can_be_entered_once_a_second() -> None:
    stamper = Stamper(AUDIO, marks_seconds=True)
    samples = [stamp(stamper, Fraction(n * 1_024, 48_000)) for n in range(150)]
    keys = [n for n, sample in enumerate(samples) if sample is not None and sample.is_keyframe]
    assert keys == [0, 47, 94, 141]


def test_tracks_are_put_in_the_order_of_time() -> None:
    video = [Timed(0, n * FRAME, 0, n) for n in range(50)]
    audio = [Timed(1, n * FRAME, 0, n) for n in range(50)]
    blocks = [video[:20], audio[:15], video[20:35], audio[15:40], video[35:], audio[40:]]
    mixed = [timed for block in blocks for timed in block]
    times = [timed.time for timed in interleave(mixed, 2)]
    assert times == sorted(times)
    assert len(times) == 100


def test_a_track_that_ends_early_holds_the_other_back_by_a_second_only() -> None:
    items = [Timed(1, Fraction(0), 0, 0), *(Timed(0, n * FRAME, 0, n) for n in range(100))]
    rest = iter(items)
    stream = interleave(rest, 2)
    assert [next(stream).time for _ in range(3)] == [0, 0, FRAME]
    assert len(list(rest)) > 60
