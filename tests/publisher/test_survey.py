"""The first look: what can be passed on, and what not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from livestream.errors import MediaError
from publisher.feed import open_feed
from tests.publisher.clips import FPS, Clip, write_clip
from tests.publisher.clocks import JumpingClock
from tests.publisher.reading import (
    AUTO,
    COPY,
    of_track,
    poured,
    read,
    run,
)


def test_a_file_with_long_gops_is_encoded_unless_copying_is_asked_for(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "long.mp4", Clip(seconds=3, gop=250))
    feed = open_feed(str(source), AUTO, clock=JumpingClock())
    assert not feed.is_copied
    video = of_track(asyncio.run(read(feed)), 0)
    assert [n for n, sample in enumerate(video) if sample.is_keyframe] == [0, 25, 50]
    assert [sample.is_keyframe for sample in of_track(run(source, COPY), 0)].count(True) == 1


def test_a_long_gop_on_standard_input_is_noticed(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "long.ts", Clip(seconds=4, gop=250))
    for stdin in poured(source.read_bytes()):
        feed = open_feed("-", AUTO, clock=JumpingClock(), stdin=stdin)
        video = of_track(asyncio.run(read(feed)), 0)
    assert not feed.is_copied
    assert len(video) == 4 * FPS


def test_copying_what_cannot_be_copied_says_why(tmp_path: Path) -> None:
    mpeg4 = write_clip(tmp_path / "old.mp4", Clip(video="mpeg4"))
    with pytest.raises(MediaError, match=r"its video is mpeg4, not H\.264\. Leave out --copy"):
        open_feed(str(mpeg4), COPY)
    mp3 = write_clip(tmp_path / "sound.mp3", Clip(video=None, audio="libmp3lame"))
    with pytest.raises(MediaError, match="its sound is mp3"):
        open_feed(str(mp3), COPY)
