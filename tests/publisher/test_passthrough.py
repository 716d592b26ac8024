"""Passing on: nothing is changed but the time stamps."""

from __future__ import annotations

import asyncio
from pathlib import Path

import av
import pytest

from livestream.errors import MediaError
from livestream.media.sample import TrackKind
from publisher.feed import FeedMode, FeedOptions, open_feed
from tests.publisher.clips import FPS, Clip, remux, write_clip
from tests.publisher.clocks import JumpingClock
from tests.publisher.reading import (
    AUTO,
    COPY,
    check,
    decode,
    gaps,
    of_track,
    read,
    run,
)


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


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".mp4", FeedMode.COPY), (".mkv", FeedMode.COPY), (".mkv", FeedMode.ENCODE)],
)
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


def test_half_a_minute_without_a_key_frame_is_an_error_that_suggests_encoding(
    tmp_path: Path,
) -> None:
    source = write_clip(tmp_path / "keyless.mp4", Clip(seconds=32, gop=10_000, audio=None))
    with pytest.raises(MediaError, match=r"no key frame for 30 s.*--encode"):
        run(source, COPY)


def test_sound_that_is_announced_but_never_comes_is_left_out(tmp_path: Path) -> None:
    source = tmp_path / "mute.mkv"
    silent = write_clip(tmp_path / "silent.mp4", Clip(audio=None))
    with av.open(str(silent)) as read_from, av.open(str(source), "w") as write_to:
        video = write_to.add_stream_from_template(read_from.streams.video[0])
        write_to.add_stream("aac", rate=48_000)
        for packet in read_from.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                write_to.mux(packet)
    with av.open(str(source)) as container:
        assert len(container.streams.audio) == 1  # Else this test tests nothing.
    feed = open_feed(str(source), FeedOptions(loop=True), clock=JumpingClock())
    captured = asyncio.run(read(feed, 120))
    assert [track.kind for track in feed.tracks] == [TrackKind.VIDEO]
    assert gaps(of_track(captured, 0)) == {90_000 // FPS}
