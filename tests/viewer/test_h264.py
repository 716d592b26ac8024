"""H.264 parameter sets: our decoder configuration record is the one that FFmpeg writes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MediaError
from publisher.encoder import Picture, VideoEncoder
from tests.viewer.samples import demux
from viewer.h264 import avcc_of, length_prefixed, nal_units

START = b"\x00\x00\x00\x01"


def annex_b(avcc: bytes) -> bytes:
    """Take a record with one SPS and one PPS apart."""
    sps_size = int.from_bytes(avcc[6:8], "big")
    sps, rest = avcc[8 : 8 + sps_size], avcc[9 + sps_size :]
    pps = rest[2 : 2 + int.from_bytes(rest[:2], "big")]
    return START + sps + START + pps


def test_the_record_is_byte_for_byte_that_of_a_real_clip(bigbuckbunny: Path) -> None:
    tracks, _ = demux(bigbuckbunny)
    written = next(track.extradata for track in tracks if track.codec == "h264")
    assert avcc_of(annex_b(written)) == written


def test_the_publishers_high_profile_has_the_picture_format_at_its_end() -> None:
    track = VideoEncoder(0, Picture(320, 180, Fraction(30), 200_000, 333_333)).track
    record = avcc_of(track.extradata)
    assert record[1] == 100
    assert record[-4:] == bytes((0xFC | 1, 0xF8, 0xF8, 0))  # 4:2:0, 8 bit, 8 bit, no extension.


def test_baseline_has_no_picture_format() -> None:
    sps = bytes((0x67, 66, 0xC0, 0x1F, 0xDA, 0x01))
    pps = bytes((0x68, 0xCE))
    assert avcc_of(START + sps + START + pps).endswith(pps)


@given(st.binary(max_size=64))
def test_any_bytes_give_a_record_or_a_media_error(data: bytes) -> None:
    for given_bytes in (data, START + b"\x67\x64" + data + START + b"\x68\xce"):
        try:
            record = avcc_of(given_bytes)
        except MediaError:
            continue
        assert record[0] == 1


def test_a_parameter_set_cut_short_is_a_media_error() -> None:
    sps = bytes((0x67, 100, 0, 0x1F))
    with pytest.raises(MediaError):
        avcc_of(START + sps + START + b"\x68\xce")


def test_start_codes_of_three_and_four_bytes_become_lengths() -> None:
    units = [b"\x67\x01", b"\x68\x02\x00\x03"]
    data = START + units[0] + START[1:] + units[1]
    assert nal_units(data) == units
    assert length_prefixed(data) == b"\x00\x00\x00\x02" + units[0] + b"\x00\x00\x00\x04" + units[1]
