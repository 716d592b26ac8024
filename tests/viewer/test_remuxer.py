"""The remuxer: what FFmpeg reads of real pictures and sound, in both containers."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from livestream.media.sample import Sample, Track
from publisher.encoder import Picture, VideoEncoder
from tests.viewer.samples import demux
from viewer.remuxer import Container, Fragment, Remuxer

BOTH = pytest.mark.parametrize("container", list(Container))


def remux(
    tracks: list[Track], samples: list[Sample], container: Container
) -> tuple[bytes, list[Fragment]]:
    first = next(sample for sample in samples if sample.is_keyframe)
    remuxer = Remuxer(tracks, container, first)
    fragments = [fragment for sample in samples for fragment in remuxer.write([sample])]
    return remuxer.init, fragments + remuxer.close()


def joined(init: bytes, fragments: list[Fragment]) -> bytes:
    return init + b"".join(fragment.data for fragment in fragments)


def frames_and_errors(data: bytes, path: Path) -> tuple[list[int], str]:
    path.write_bytes(data)
    words = ["ffprobe", "-v", "warning", "-count_frames", "-show_entries"]
    words += ["stream=nb_read_frames", "-of", "csv=p=0", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    counts = [int(line) for line in done.stdout.split() if line.isdigit()]
    return counts, done.stderr


def encoded(frames: int) -> tuple[list[Track], list[Sample]]:
    encoder = VideoEncoder(0, Picture(320, 180, Fraction(30), 200_000, 333_333))
    samples: list[Sample] = []
    for number in range(frames):
        picture = av.VideoFrame(320, 180, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes([number * 7 % 256]) * plane.buffer_size)
        samples += encoder.encode(picture, Fraction(number, 30) + 5)
    return [encoder.track], samples


@BOTH
def test_nothing_of_a_real_clip_with_b_frames_is_lost(
    container: Container, bigbuckbunny: Path, tmp_path: Path
) -> None:
    tracks, samples = demux(bigbuckbunny)
    init, fragments = remux(tracks, samples, container)
    counts, errors = frames_and_errors(joined(init, fragments), tmp_path / "out")
    assert counts[-2:] == [132, 249]
    assert errors == ""


@BOTH
def test_the_publishers_annex_b_pictures_decode_from_any_key_frame(
    container: Container, tmp_path: Path
) -> None:
    tracks, samples = encoded(30)
    init, fragments = remux(tracks, samples, container)
    starts = [at for at, fragment in enumerate(fragments) if fragment.is_keyframe]
    assert len(starts) == sum(sample.is_keyframe for sample in samples) >= 2
    late = joined(init, fragments[starts[-1] :])
    counts, errors = frames_and_errors(late, tmp_path / "out")
    last_key = max(at for at, sample in enumerate(samples) if sample.is_keyframe)
    assert counts[-1] == len(samples) - last_key
    assert errors == ""


@BOTH
def test_one_key_frame_is_marked_where_the_clip_has_one(
    container: Container, bigbuckbunny: Path
) -> None:
    tracks, samples = demux(bigbuckbunny)
    init, fragments = remux(tracks, samples, container)
    assert [fragment.is_keyframe for fragment in fragments].count(True) == 1
    at = next(at for at, fragment in enumerate(fragments) if fragment.is_keyframe)
    with av.open(io.BytesIO(joined(init, fragments[at:])), "r") as read:
        first = next(packet for packet in read.demux(video=0) if packet.size)
    assert first.is_keyframe


def test_mp4_gives_every_sample_at_once(bigbuckbunny: Path) -> None:
    tracks, samples = demux(bigbuckbunny)
    first = next(sample for sample in samples if sample.is_keyframe)
    remuxer = Remuxer(tracks, Container.MP4, first)
    written = [remuxer.write([sample]) for sample in samples]
    assert [len(fragments) for fragments in written] == [1] * len(samples)
    assert all(
        fragments[0].data.endswith(sample.data)
        for fragments, sample in zip(written, samples, strict=True)
    )


def test_mp4_keeps_time_stamps_of_long_streams(bigbuckbunny: Path) -> None:
    tracks, samples = demux(bigbuckbunny, start_s=1_000_000)
    init, fragments = remux(tracks, samples, Container.MP4)
    with av.open(io.BytesIO(joined(init, fragments)), "r") as read:
        times = [packet.pts * packet.time_base for packet in read.demux(video=0) if packet.pts]
    expected = [Fraction(s.pts, 90_000) for s in samples if s.track == 0]
    assert [float(time) for time in times] == pytest.approx([float(t) for t in expected])


def test_a_sample_of_an_unknown_track_is_left_out(bigbuckbunny: Path) -> None:
    tracks, samples = demux(bigbuckbunny)
    first = next(sample for sample in samples if sample.is_keyframe)
    remuxer = Remuxer(tracks, Container.MP4, first)
    assert remuxer.write([Sample(9, False, 0, 0, 0, b"x")]) == []


@BOTH
@pytest.mark.parametrize("junk", [b"", b"\x00\x00\x00\x01", b"\xff\xff\xff\xff\x65", b"junk" * 9])
def test_a_publishers_junk_is_left_out_and_the_rest_goes_on(
    container: Container, junk: bytes
) -> None:
    tracks, samples = encoded(20)
    remuxer = Remuxer(tracks, container, samples[0])
    for number, sample in enumerate(samples):
        written = remuxer.write([replace(sample, data=junk) if number == 5 else sample])
        assert written or number == 5
    remuxer.close()


def test_a_stream_of_nothing_but_junk_ends_without_an_error() -> None:
    tracks, samples = encoded(20)
    remuxer = Remuxer(tracks, Container.MPEGTS, samples[0])
    written = remuxer.write([replace(sample, data=b"junk") for sample in samples])
    assert written + remuxer.close() == []
    assert remuxer.samples_refused == len(samples)
