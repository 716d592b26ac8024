"""The test card: what it shows is when it was captured."""

from __future__ import annotations

import asyncio

import numpy as np

from publisher.feed import FeedOptions, open_feed
from publisher.pattern import read_clock
from publisher.testcard import beep
from tests.publisher.clocks import JumpingClock
from tests.publisher.reading import (
    check,
    decode,
    gaps,
    of_track,
    read,
)


def test_the_test_picture_shows_when_it_was_captured() -> None:
    options = FeedOptions(width=640, height=360)
    feed = open_feed("test", options, clock=JumpingClock())
    captured = asyncio.run(read(feed, 200))
    check(captured, feed.tracks)
    video = [item for item in captured if item.sample.track == 0]
    frames = decode(feed.tracks[0], [item.sample for item in video])
    assert len(frames) == len(video) > 60
    for frame, item in zip(frames, video, strict=True):
        luma = np.asarray(frame.to_ndarray(), dtype=np.uint8)[:360]
        assert read_clock(luma) == item.captured_ms % 2**32
    keys = [n for n, item in enumerate(video) if item.sample.is_keyframe]
    assert keys == [0, 30, 60]
    assert gaps(of_track(captured, 1)) == {1_024}


def test_the_beep_comes_at_the_full_second_and_is_soft() -> None:
    second = np.concatenate([beep(1_000 + n * 1_024 / 48)[0] for n in range(47)])
    assert np.abs(second).max() <= 0.1
    assert np.abs(second[: 48 * 120]).max() > 0.09
    assert np.abs(second[48 * 121 : 48 * 999]).max() < 1e-6
    assert np.abs(np.diff(second)).max() < 0.02  # No click.
