"""Sources: files, pipes, and every way in which they cannot be opened."""

from __future__ import annotations

import asyncio
import os
import threading
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from livestream.errors import MediaError
from livestream.media.sample import TrackKind
from publisher.feed import Feed, FeedMode, FeedOptions, open_feed
from tests.publisher.clips import FPS, Clip, remux, write_clip
from tests.publisher.clocks import JumpingClock
from tests.publisher.reading import (
    AUTO,
    COPY,
    check,
    ended,
    of_track,
    poured,
    read,
)


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


def test_bare_h264_needs_no_container(tmp_path: Path) -> None:
    bare = write_clip(tmp_path / "camera.h264", Clip(audio=None))
    feed = open_feed(str(bare), AUTO, clock=JumpingClock())
    video = asyncio.run(read(feed))
    assert feed.is_copied
    assert len(video) == 2 * FPS
    reordered = write_clip(tmp_path / "reordered.h264", Clip(audio=None, b_frames=2))
    with pytest.raises(MediaError, match="time stamp"):
        open_feed(str(reordered), AUTO)


def test_the_cover_of_an_album_is_no_video(tmp_path: Path) -> None:
    album = tmp_path / "album.mp4"
    sound = write_clip(tmp_path / "sound.m4a", Clip(video=None))
    picture = av.CodecContext.create("png", "w")
    picture.width, picture.height, picture.pix_fmt = 160, 90, "rgb24"
    picture.time_base = Fraction(1, 25)
    with av.open(str(sound)) as read_from, av.open(str(album), "w") as write_to:
        audio = write_to.add_stream_from_template(read_from.streams.audio[0])
        cover = write_to.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 160, 90, "rgb24"
        cover.disposition = Disposition.attached_pic
        for packet in picture.encode(av.VideoFrame(160, 90, "rgb24")):
            packet.stream = cover
            write_to.mux(packet)
        for packet in read_from.demux(audio=0):
            if packet.dts is not None:
                packet.stream = audio
                write_to.mux(packet)
    feed = open_feed(str(album), AUTO, clock=JumpingClock())
    assert [track.kind for track in feed.tracks] == [TrackKind.AUDIO]
    feed.close()
