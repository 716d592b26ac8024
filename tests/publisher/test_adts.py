"""ADTS headers: an AudioSpecificConfig and raw AAC come out."""

from __future__ import annotations

from pathlib import Path

import av

from publisher.adts import audio_specific_config, is_adts, strip_header
from tests.publisher.clips import Clip, remux, write_clip


def test_frames_from_mpegts_become_those_of_the_mp4_that_they_came_from(tmp_path: Path) -> None:
    mp4 = write_clip(tmp_path / "clip.mp4", Clip(seconds=1))
    ts = remux(mp4, tmp_path / "clip.ts")
    with av.open(str(mp4)) as container:
        config = container.streams.audio[0].codec_context.extradata
        raw = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    with av.open(str(ts)) as container:
        framed = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    assert all(is_adts(data) for data in framed)
    assert not any(is_adts(data) for data in raw)
    assert [strip_header(data) for data in framed] == raw
    assert config is not None
    assert audio_specific_config(framed[0]) == config[:2]


def test_a_checksum_behind_the_header_goes_too() -> None:
    assert strip_header(bytes.fromhex("fff04c8000 1ffc abcd 0102")) == b"\x01\x02"
    assert strip_header(bytes.fromhex("fff14c8000 1ffc 0102")) == b"\x01\x02"


def test_headers_that_do_not_say_it_all_are_refused() -> None:
    assert audio_specific_config(bytes.fromhex("fff14c00001ffc")) is None  # No channel count.
    assert audio_specific_config(bytes.fromhex("fff17c80001ffc")) is None  # Frequency 15.
