"""Missing time stamps: filled in where that can be done without guessing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import av
import pytest
from av.video.stream import VideoStream

from livestream.errors import StateError
from publisher.packets import Arrival, fill_dts, packet_times, stamp_raw
from tests.publisher.clips import Clip, remux, write_clip


@contextmanager
def arrivals_of(path: Path, step_us: int = 0) -> Iterator[list[Arrival]]:
    """Give all packets. What they point to lives as long as their container."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.size]
        yield [Arrival(packet, number * step_us) for number, packet in enumerate(packets)]


def test_matroska_with_b_frames_loses_none(tmp_path: Path, clip: Path) -> None:
    with arrivals_of(remux(clip, tmp_path / "clip.mkv")) as arrivals:
        video = next(a.packet.stream for a in arrivals if a.packet.stream.type == "video")
        assert isinstance(video, VideoStream)
        assert any(a.packet.dts is None for a in arrivals)  # Else this test tests nothing.
        filled = list(fill_dts(arrivals, video))
        assert len(filled) == len(arrivals)
        assert all(a.packet.dts is not None for a in filled)
        times = [packet_times(a.packet) for a in filled if a.packet.stream is video]
    assert all(after.dts > before.dts for before, after in pairwise(times))
    assert all(time.dts <= time.pts < time.end for time in times)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a second of H.264 without a container."""
    return write_clip(tmp_path / "bare.h264", Clip(seconds=1, audio=None))


def test_bare_h264_in_a_file_gets_the_time_of_its_frame_rate(bare: Path) -> None:
    with arrivals_of(bare) as arrivals:
        with pytest.raises(StateError):
            packet_times(arrivals[0].packet)
        times = [packet_times(a.packet).dts for a in stamp_raw(arrivals, is_live=False)]
    assert len(times) == 25
    assert {round((after - before) * 1_000) for before, after in pairwise(times)} == {40}


def test_bare_h264_from_a_camera_gets_the_time_of_its_arrival(bare: Path) -> None:
    with arrivals_of(bare, 33_000) as arrivals:
        times = [packet_times(a.packet).dts for a in stamp_raw(arrivals, is_live=True)]
    assert [round(time * 1_000) for time in times[:4]] == [0, 33, 66, 99]
    with arrivals_of(bare) as arrivals:
        burst = [packet_times(a.packet).dts for a in stamp_raw(arrivals, is_live=True)]
    assert all(after > before for before, after in pairwise(burst))
