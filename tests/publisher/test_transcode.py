"""Encoding anew: what cannot be passed on still gets on air."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from publisher.encoder import Picture
from publisher.feed import FeedOptions, open_feed
from publisher.producer import Producer
from publisher.source import Source
from publisher.testcard import PatternProducer
from publisher.transcode import PictureWish, Transcode
from tests.publisher.clips import FPS, Clip, write_clip
from tests.publisher.clocks import JumpingClock
from tests.publisher.reading import (
    AUTO,
    check,
    decode,
    gaps,
    of_track,
    read,
)


def test_the_real_clip_is_encoded_with_sound_in_stereo(bigbuckbunny: Path) -> None:
    options = FeedOptions(width=320, bitrate_bps=300_000)
    feed = open_feed(str(bigbuckbunny), options, clock=JumpingClock())
    video, audio = feed.tracks
    assert not feed.is_copied
    assert (video.codec, video.width, video.height) == ("h264", 320, 180)
    assert (audio.codec, audio.channels, audio.sample_rate) == ("aac", 2, 48_000)
    assert feed.rate_bps == 300_000 + 128_000
    captured = asyncio.run(read(feed))
    check(captured, feed.tracks)
    samples = of_track(captured, 0)
    assert len(samples) == 132
    assert all(sample.pts == sample.dts for sample in samples)
    assert len(decode(video, samples)) == 132
    assert gaps(of_track(captured, 1)) == {1_024}
    bits = sum(len(sample.data) for sample in samples) * 8
    assert bits < 300_000 * 5.3 * 1.2


def test_what_the_user_asks_of_the_picture_is_done(clip: Path) -> None:
    options = FeedOptions(height=46, fps=Fraction(10), gop_us=500_000)
    feed = open_feed(str(clip), options, clock=JumpingClock())
    assert not feed.is_copied
    assert (feed.tracks[0].width, feed.tracks[0].height) == (82, 46)
    video = of_track(asyncio.run(read(feed)), 0)
    assert len(video) in (20, 21)
    keys = [sample.dts for sample in video if sample.is_keyframe]
    assert len(keys) == 4
    assert all(after - before < 55_000 for before, after in pairwise(keys))


def test_video_without_sound_and_with_other_codecs(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "silent.mp4", Clip(video="mpeg4", audio=None))
    feed = open_feed(str(source), AUTO, clock=JumpingClock())
    assert not feed.is_copied
    assert len(feed.tracks) == 1
    assert len(asyncio.run(read(feed))) == 2 * FPS


def make_producer(spec: str, clip: Path, clock: JumpingClock) -> Producer:
    if spec == "test":
        return PatternProducer(Picture(320, 180, Fraction(25), 300_000, 1_000_000), clock)
    wish = PictureWish(320, 180, None, 300_000, 1_000_000)
    return Transcode(Source(str(clip), clock), [], clock, wish, loop=True)


@pytest.mark.parametrize("spec", ["test", "file"])
def test_a_machine_that_is_too_slow_shows_fewer_pictures_instead_of_old_ones(
    spec: str, clip: Path
) -> None:
    """Goal: a picture takes 60 ms to encode, and there are 25 a second."""
    clock = JumpingClock()
    producer = make_producer(spec, clip, clock)
    lags_ms: list[int] = []
    times: list[int] = []
    for sample, captured_ms in producer.samples():
        if sample.track == 0:
            clock.now += 60_000
            lags_ms.append(clock.unix_ms() - captured_ms)
            times.append(sample.dts)
        if len(times) == 100:
            break
    producer.close()
    assert max(lags_ms) < 350
    assert times[-1] - times[0] == pytest.approx(100 * 0.060 * 90_000, rel=0.1)
