"""Reading feeds to the end, and what holds for the samples of any channel."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av

from livestream.media.joiner import CapturedSample
from livestream.media.sample import Sample, Track, TrackKind
from publisher.feed import Feed, FeedMode, FeedOptions, open_feed
from tests.publisher.clocks import JumpingClock

COPY = FeedOptions(mode=FeedMode.COPY)
AUTO = FeedOptions()


async def read(feed: Feed, count: int | None = None) -> list[CapturedSample]:
    """Read to the end, or so many samples."""
    captured = []
    async for item in feed.samples():
        captured.append(item)
        if len(captured) == count:
            break
    feed.close()
    return captured


def run(spec: str | Path, options: FeedOptions, count: int | None = None) -> list[CapturedSample]:
    feed = open_feed(str(spec), options, clock=JumpingClock())
    captured = asyncio.run(read(feed, count))
    check(captured, feed.tracks)
    return captured


def check(captured: list[CapturedSample], tracks: tuple[Track, ...]) -> None:
    """Assert what holds for the samples of any channel."""
    has_video = any(track.kind is TrackKind.VIDEO for track in tracks)
    times = [captured_ms for _, captured_ms in captured]
    assert times == sorted(times)
    for track in tracks:
        samples = of_track(captured, track.number)
        assert all(0 <= sample.dts <= sample.pts for sample in samples)
        dts = [sample.dts for sample in samples]
        assert all(after > before for before, after in pairwise(dts))
        if track.kind is TrackKind.AUDIO and has_video:
            assert not any(sample.is_keyframe for sample in samples)


def of_track(captured: list[CapturedSample], number: int) -> list[Sample]:
    return [item.sample for item in captured if item.sample.track == number]


def gaps(samples: list[Sample]) -> set[int]:
    dts = [sample.dts for sample in samples]
    return {after - before for before, after in pairwise(dts)}


def decode(track: Track, samples: list[Sample]) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = track.extradata
    frames: list[av.VideoFrame] = []
    for sample in samples:
        packet = av.Packet(sample.data)
        packet.pts, packet.dts = sample.pts, sample.dts
        frames += decoder.decode(packet)
    return frames + decoder.decode(None)


def poured(data: bytes) -> Iterator[int]:
    """Yield the reading end of a pipe into which a thread writes."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            try:
                pipe.write(data)
            except BrokenPipeError:
                return

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    yield reading
    os.close(reading)
    thread.join(10)


async def ended(feed: Feed) -> None:
    """Wait until the thread is gone; the test's own time limit is the limit."""
    while feed.is_running:  # noqa: ASYNC110 (a thread cannot set an asyncio.Event)
        await asyncio.sleep(0.005)
