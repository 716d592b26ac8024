"""Channel time: it goes on, whatever a source's clock does."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from livestream.media.records import RECORD_BYTES_MAX
from livestream.media.sample import Sample, Track, TrackKind
from publisher.timeline import START, Stamper, Timed, Timeline, interleave

VIDEO = Track(0, TrackKind.VIDEO, "h264", 90_000, b"")
AUDIO = Track(0, TrackKind.AUDIO, "aac", 48_000, b"")
FRAME = Fraction(1, 25)


def stamp(stamper: Stamper, dts: Fraction, pts: Fraction | None = None) -> Sample | None:
    return stamper.stamp(b"", is_keyframe=False, dts=dts, pts=pts or dts, duration=FRAME)


def test_a_source_may_start_anywhere() -> None:
    timeline = Timeline()
    assert timeline.place(Fraction(95_443), Fraction(95_444)) == START
    assert timeline.place(Fraction(95_442), Fraction(95_443)) == START - 1  # The other track.


def test_the_next_round_follows_the_end_of_the_longest_track() -> None:
    """Goal: AAC priming and B-frames start below zero, and still nothing overlaps."""
    timeline = Timeline()
    rounds = []
    zero, end = Fraction(0), Fraction(9, 10)
    for _ in range(3):
        audio = [timeline.place(at - Fraction(2, 100), at) for at in (zero, end)]
        video = [timeline.place(at - Fraction(8, 100), at + Fraction(1, 5)) for at in (zero, end)]
        rounds.append((audio, video))
        timeline.next_round()
    length = Fraction(11, 10) + Fraction(8, 100)
    for number, (audio, video) in enumerate(rounds):
        assert audio == [START + number * length, START + number * length + Fraction(9, 10)]
        assert video[0] - audio[0] == Fraction(-6, 100)


def test_a_clock_that_jumps_is_followed_without_a_jump() -> None:
    timeline = Timeline()
    timeline.place(Fraction(100), Fraction(101))
    assert timeline.place(Fraction(101), Fraction(102)) == START + 1
    back = timeline.place(Fraction(3), Fraction(4))
    assert back == START + 1
    assert timeline.place(Fraction(4), Fraction(5)) == START + 2
    assert timeline.place(Fraction(90_000), Fraction(90_001)) == START + 2
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
