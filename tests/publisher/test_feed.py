"""Feeds end to end: sources in, samples in real time out, and every way to fail."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from livestream.errors import MediaError, StateError
from livestream.media.joiner import CapturedSample
from livestream.media.sample import Sample, Track, TrackKind
from publisher.feed import Feed, FeedMode, FeedOptions, open_feed
from publisher.pacing import Clock, ClosedError, SystemClock
from publisher.pattern import read_clock
from publisher.producer import Producer
from tests.publisher.clips import FPS, Clip, remux, write_clip
from tests.publisher.clocks import JumpingClock

COPY = FeedOptions(mode=FeedMode.COPY)
ENCODE = FeedOptions(mode=FeedMode.ENCODE)
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


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two seconds with B-frames, a key frame every second, and sound."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", Clip(b_frames=2))


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv", ".flv"])
def test_a_suitable_file_is_passed_on_whole_from_any_container(
    clip: Path, tmp_path: Path, suffix: str
) -> None:
    source = clip if suffix == ".mp4" else remux(clip, tmp_path / f"clip{suffix}")
    feed = open_feed(str(source), AUTO, clock=JumpingClock())
    assert feed.is_copied
    assert [track.kind for track in feed.tracks] == [TrackKind.VIDEO, TrackKind.AUDIO]
    assert all(track.extradata for track in feed.tracks)
    assert feed.rate_bps > 10_000
    captured = asyncio.run(read(feed))
    check(captured, feed.tracks)
    video = of_track(captured, 0)
    assert len(video) == 2 * FPS
    assert gaps(video) == {90_000 // FPS}
    assert any(sample.pts > sample.dts for sample in video)
    assert [n for n, sample in enumerate(video) if sample.is_keyframe] == [0, 25]
    frames = decode(feed.tracks[0], video)
    assert len(frames) == 2 * FPS
    assert not any(frame.is_corrupt for frame in frames)
    with av.open(str(clip)) as container:
        sound = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    assert [sample.data for sample in of_track(captured, 1)] == sound


def test_a_file_is_captured_in_real_time(clip: Path) -> None:
    captured = run(clip, COPY)
    video = [item for item in captured if item.sample.track == 0]
    audio = [item for item in captured if item.sample.track == 1]
    for items, rate in ((video, 90_000), (audio, 48_000)):
        first = items[0]
        for sample, captured_ms in items:
            media_ms = (sample.dts - first.sample.dts) * 1_000 / rate
            assert captured_ms - first.captured_ms == pytest.approx(media_ms, abs=2)


@pytest.mark.parametrize("mode", [FeedMode.COPY, FeedMode.ENCODE])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_loop_has_no_seam(clip: Path, tmp_path: Path, mode: FeedMode, suffix: str) -> None:
    """Goal: three rounds, and time goes on as if it were one clip."""
    source = clip if suffix == ".mp4" else remux(clip, tmp_path / "clip.mkv")
    captured = run(source, FeedOptions(mode=mode, loop=True), 460)
    video, audio = of_track(captured, 0), of_track(captured, 1)
    frame, block = 90_000 // FPS, 1_024
    assert len(video) > 3 * 2 * FPS - 10
    # Sound and picture are not equally long, so the shorter one pauses for less than two frames.
    assert all(frame * 0.9 <= gap < 2 * frame for gap in gaps(video))
    assert all(gap < 3 * block for gap in gaps(audio))
    assert abs(video[-1].dts / 90_000 - audio[-1].dts / 48_000) < 0.3
    passed_ms = captured[-1].captured_ms - captured[0].captured_ms
    assert passed_ms == pytest.approx((video[-1].dts - video[0].dts) / 90, abs=200)


def test_a_file_with_long_gops_is_encoded_unless_copying_is_asked_for(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "long.mp4", Clip(seconds=3, gop=250))
    feed = open_feed(str(source), AUTO, clock=JumpingClock())
    assert not feed.is_copied
    video = of_track(asyncio.run(read(feed)), 0)
    assert [n for n, sample in enumerate(video) if sample.is_keyframe] == [0, 25, 50]
    assert [sample.is_keyframe for sample in of_track(run(source, COPY), 0)].count(True) == 1


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


@pytest.mark.parametrize(
    ("suffix", "clip_of", "mode", "is_copied"),
    [
        (".m4a", Clip(video=None), FeedMode.AUTO, True),
        (".aac", Clip(video=None), FeedMode.AUTO, True),
        (".mp3", Clip(video=None, audio="libmp3lame"), FeedMode.AUTO, False),
        (".m4a", Clip(video=None), FeedMode.ENCODE, False),
    ],
)
def test_sound_alone_can_be_entered_once_a_second(
    tmp_path: Path, suffix: str, clip_of: Clip, mode: FeedMode, is_copied: bool
) -> None:
    source = write_clip(tmp_path / f"sound{suffix}", clip_of)
    feed = open_feed(str(source), FeedOptions(mode=mode), clock=JumpingClock())
    assert feed.is_copied is is_copied
    captured = asyncio.run(read(feed))
    check(captured, feed.tracks)
    keys = [item.sample.dts for item in captured if item.sample.is_keyframe]
    assert len(keys) == 3
    assert keys[0] == captured[0].sample.dts


def test_video_without_sound_and_with_other_codecs(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "silent.mp4", Clip(video="mpeg4", audio=None))
    feed = open_feed(str(source), AUTO, clock=JumpingClock())
    assert not feed.is_copied
    assert len(feed.tracks) == 1
    assert len(asyncio.run(read(feed))) == 2 * FPS


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


@pytest.mark.parametrize("mode", list(FeedMode))
def test_mpegts_on_standard_input(clip: Path, tmp_path: Path, mode: FeedMode) -> None:
    data = remux(clip, tmp_path / "clip.ts").read_bytes()
    for stdin in poured(data):
        feed = open_feed("-", FeedOptions(mode=mode), clock=JumpingClock(), stdin=stdin)
        captured = asyncio.run(read(feed))
    assert feed.is_copied is (mode is not FeedMode.ENCODE)
    check(captured, feed.tracks)
    assert len(of_track(captured, 0)) == 2 * FPS
    assert len(of_track(captured, 1)) > 90


def test_a_long_gop_on_standard_input_is_noticed(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "long.ts", Clip(seconds=4, gop=250))
    for stdin in poured(source.read_bytes()):
        feed = open_feed("-", AUTO, clock=JumpingClock(), stdin=stdin)
        video = of_track(asyncio.run(read(feed)), 0)
    assert not feed.is_copied
    assert len(video) == 4 * FPS


@pytest.mark.parametrize("data", [b"", b"this is not media\n" * 10_000])
def test_nothing_or_nonsense_on_standard_input_is_an_error(data: bytes) -> None:
    for stdin in poured(data):
        with pytest.raises(MediaError, match="standard input: empty, or not media"):
            open_feed("-", AUTO, clock=JumpingClock(), stdin=stdin)


def test_a_silent_pipe_is_given_up_after_a_while() -> None:
    class HastyClock(JumpingClock):
        def now_us(self) -> int:
            self.now += 20_000_000
            return self.now

    reading, writing = os.pipe()
    with pytest.raises(MediaError, match="nothing came"):
        open_feed("-", AUTO, clock=HastyClock(), stdin=reading)
    os.close(reading)
    os.close(writing)


def test_a_pipe_that_is_waited_for_can_be_closed(clip: Path, tmp_path: Path) -> None:
    """Goal: a live pipe pauses, the user ends it, and the thread is gone at once."""
    data = remux(clip, tmp_path / "clip.ts").read_bytes()
    reading, writing = os.pipe()
    os.write(writing, data[:60_000])

    async def use() -> Feed:
        feed = await asyncio.to_thread(open_feed, "-", COPY, stdin=reading)
        async for _ in feed.samples():
            asyncio.get_running_loop().call_later(0.05, feed.close)
        await ended(feed)
        return feed

    feeder = threading.Timer(0, os.write, (writing, data[60_000:120_000]))
    feeder.start()
    asyncio.run(use())
    feeder.join()
    os.close(reading)
    os.close(writing)


async def ended(feed: Feed) -> None:
    """Wait until the thread is gone; the test's own time limit is the limit."""
    while feed.is_running:  # noqa: ASYNC110 (a thread cannot set an asyncio.Event)
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("spec", ["test", "file"])
def test_closing_ends_the_thread_while_it_is_pacing(spec: str, clip: Path) -> None:
    async def use() -> None:
        feed = open_feed(str(clip) if spec == "file" else spec, AUTO)
        async for _ in feed.samples():
            break
        await ended(feed)
        with pytest.raises(StateError):
            await anext(feed.samples())

    asyncio.run(use())


def test_a_reader_that_stops_reading_holds_the_thread_back_and_it_can_be_closed() -> None:
    async def use() -> None:
        producer = Endless()
        clock = SystemClock()
        feed = Feed(producer, clock)
        samples = feed.samples()
        await anext(samples)
        while producer.made < 256:  # noqa: ASYNC110 (a thread cannot set an asyncio.Event)
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert producer.made < 260
        feed.close()
        await ended(feed)
        assert producer.is_closed

    asyncio.run(use())


class Endless(Producer):
    """Makes samples as fast as it may, and notes what happens to it."""

    def __init__(self) -> None:
        self.tracks = ()
        self.rate_bps = 0
        self.is_copied = False
        self.made = 0
        self.is_closed = False

    def samples(self) -> Iterator[CapturedSample]:
        while True:
            self.made += 1
            yield CapturedSample(Sample(0, True, 0, 0, 0, b""), 0)

    def close(self) -> None:
        self.is_closed = True


class Broken(Endless):
    """Fails like a library does."""

    def samples(self) -> Iterator[CapturedSample]:
        yield CapturedSample(Sample(0, True, 0, 0, 0, b""), 0)
        raise ValueError("a surprise")


def test_whatever_goes_wrong_in_the_thread_reaches_the_reader() -> None:
    producer = Broken()
    with pytest.raises(MediaError, match="a surprise"):
        asyncio.run(read(Feed(producer, SystemClock())))
    assert producer.is_closed


def test_a_feed_that_is_closed_before_it_is_read_lets_go_of_its_source() -> None:
    producer = Endless()
    clock: Clock = SystemClock()
    Feed(producer, clock).close()
    assert producer.is_closed
    with pytest.raises(ClosedError):
        clock.wait_until(0)


def test_errors_say_what_to_do(tmp_path: Path, clip: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("just words\n" * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(clip.read_bytes()[:2_000])
    cases = [
        (tmp_path / "missing.mp4", AUTO, "not found. Give a media file"),
        (tmp_path, AUTO, "this is a folder"),
        (text, AUTO, "neither video nor sound|not a media file"),
        (empty, AUTO, "not a media file"),
        (damaged, AUTO, "not a media file"),
        ("nonsense://host/live", AUTO, "not built in"),
        ("tcp://127.0.0.1:9", AUTO, "cannot be opened"),
        ("-", FeedOptions(loop=True), "standard input"),
    ]
    for spec, options, message in cases:
        with pytest.raises(MediaError, match=message) as caught:
            open_feed(str(spec), options, stdin=os.open(os.devnull, os.O_RDONLY))
        assert caught.value.exit_code == 6


def test_copying_what_cannot_be_copied_says_why(tmp_path: Path) -> None:
    mpeg4 = write_clip(tmp_path / "old.mp4", Clip(video="mpeg4"))
    with pytest.raises(MediaError, match=r"its video is mpeg4, not H\.264\. Leave out --copy"):
        open_feed(str(mpeg4), COPY)
    mp3 = write_clip(tmp_path / "sound.mp3", Clip(video=None, audio="libmp3lame"))
    with pytest.raises(MediaError, match="its sound is mp3"):
        open_feed(str(mp3), COPY)


def test_half_a_minute_without_a_key_frame_is_an_error_that_suggests_encoding(
    tmp_path: Path,
) -> None:
    source = write_clip(tmp_path / "keyless.mp4", Clip(seconds=32, gop=10_000, audio=None))
    with pytest.raises(MediaError, match=r"no key frame for 30 s.*--encode"):
        run(source, COPY)
