"""The encoders: nothing is held back, GOPs keep their time, sound has no holes."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from livestream.media.sample import Sample
from publisher.encoder import AudioEncoder, Picture, VideoEncoder

PICTURE = Picture(160, 90, Fraction(25), 300_000, 1_000_000)
RATE = 48_000


def frame(number: int, width: int = 160, height: int = 90) -> av.VideoFrame:
    picture = np.full((height, width, 3), number * 7 % 256, dtype=np.uint8)
    return av.VideoFrame.from_ndarray(picture, "rgb24")


def sound(samples: int, level: float = 0.5) -> av.AudioFrame:
    block = np.full((1, samples), level, dtype=np.float32)
    made = av.AudioFrame.from_ndarray(block, "fltp", "mono")
    made.sample_rate = RATE
    return made


def keys(samples: list[Sample]) -> list[int]:
    return [n for n, sample in enumerate(samples) if sample.is_keyframe]


def test_each_frame_gives_one_sample_at_once_without_reordering() -> None:
    encoder = VideoEncoder(3, PICTURE)
    for number in range(30):
        (sample,) = encoder.encode(frame(number), 1 + Fraction(number, 25))
        assert sample.track == 3
        assert sample.pts == sample.dts == 90_000 + number * 3_600
        assert sample.duration == 3_600
    assert encoder.flush() == []


def test_a_gop_is_a_second_though_decoded_frames_ask_for_key_frames() -> None:
    """Goal: a decoded frame carries its picture type, which x264 would obey."""
    encoder = VideoEncoder(0, PICTURE)
    samples = []
    for number in range(80):
        decoded = frame(number)
        decoded.pict_type = PictureType.I
        samples += encoder.encode(decoded, Fraction(number, 25))
    assert keys(samples) == [0, 25, 50, 75]


def test_gops_keep_their_time_when_the_frame_rate_is_not_what_was_announced() -> None:
    encoder = VideoEncoder(0, PICTURE)
    samples = []
    for number in range(40):
        samples += encoder.encode(frame(number), Fraction(number, 10))
    assert keys(samples) == [0, 10, 20, 30]


def test_frames_of_any_size_fit_and_those_that_go_back_are_left_out() -> None:
    encoder = VideoEncoder(0, PICTURE)
    assert len(encoder.encode(frame(0, 320, 240), Fraction(1))) == 1
    assert encoder.encode(frame(1), Fraction(1)) == []
    assert encoder.encode(frame(1), Fraction(1, 2)) == []
    assert len(encoder.encode(frame(2), Fraction(2))) == 1


def test_the_rate_is_even() -> None:
    """Goal: no second takes much more than its share, even of noise."""
    encoder = VideoEncoder(0, PICTURE)
    rng = np.random.default_rng(1)
    samples = []
    for number in range(100):
        noise = rng.integers(0, 255, (90, 160, 3), dtype=np.uint8)
        samples += encoder.encode(av.VideoFrame.from_ndarray(noise, "rgb24"), Fraction(number, 25))
    for start in range(0, 75, 5):
        bits = sum(len(sample.data) * 8 for sample in samples[start : start + 25])
        assert bits < PICTURE.bitrate_bps * 1.6


def test_sound_comes_out_without_holes_whatever_the_blocks() -> None:
    encoder = AudioEncoder(0, marks_seconds=False)
    samples = []
    at = 0
    for length in [441, 1_024, 3_000, 17, 960] * 10:
        samples += encoder.encode(sound(length), 1 + Fraction(at, RATE))
        at += length
    samples += encoder.flush()
    starts = [sample.dts for sample in samples]
    assert starts == list(range(RATE - 1_024, starts[-1] + 1, 1_024))
    assert starts[-1] + 1_024 >= RATE + at
    assert all(sample.duration == 1_024 for sample in samples)


def test_a_hole_becomes_silence_and_what_comes_twice_is_left_out() -> None:
    encoder = AudioEncoder(0, marks_seconds=False)
    samples = encoder.encode(sound(RATE), Fraction(1))
    samples += encoder.encode(sound(RATE), Fraction(3))
    assert samples[-1].dts == near(4 * RATE, 4_096)
    samples += encoder.encode(sound(RATE), Fraction(7, 2))
    samples += encoder.flush()
    starts = [sample.dts for sample in samples]
    assert starts == list(range(RATE - 1_024, starts[-1] + 1, 1_024))
    assert starts[-1] == near(9 * RATE // 2)
    levels = decoded_levels(encoder, samples)
    assert levels[1] > 0.2
    assert levels[2] < 0.05
    assert levels[3] > 0.2


def test_jitter_of_time_stamps_is_not_taken_for_a_hole() -> None:
    encoder = AudioEncoder(0, marks_seconds=False)
    for number in range(100):
        jitter = Fraction((-1) ** number, 100)
        encoder.encode(sound(960), 1 + Fraction(number, 50) + jitter)
    total = encoder.encode(sound(960), Fraction(3))
    assert total[-1].dts == near(3 * RATE, 2_400)


def near(ticks: int, tolerance: int = 2_048) -> object:
    return pytest.approx(ticks, abs=tolerance)


def decoded_levels(encoder: AudioEncoder, samples: list[Sample]) -> dict[int, float]:
    """Return how loud each whole second is."""
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = encoder.track.extradata
    loudness: dict[int, list[float]] = {}
    for sample in samples:
        for decoded in decoder.decode(av.Packet(sample.data)):
            level = float(np.abs(decoded.to_ndarray()).mean())
            loudness.setdefault(sample.pts // RATE, []).append(level)
    return {second: float(np.median(levels)) for second, levels in loudness.items()}
