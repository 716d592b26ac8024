"""The test picture: its clock can be read back from whatever a viewer gets to see."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from publisher.encoder import Picture, VideoEncoder
from publisher.pattern import Pattern, read_clock

UNIX_MS = 1_789_012_345_678


def pixels(frame: av.VideoFrame) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(), dtype=np.uint8)


@given(st.integers(0, 2**42))
def test_the_machine_reads_what_was_drawn(unix_ms: int) -> None:
    pattern = Pattern(320, 180)
    assert read_clock(pattern.draw(unix_ms, 0)[:180]) == unix_ms % 2**32


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 360)])
def test_the_clock_survives_h264_and_scaling(width: int, height: int) -> None:
    pattern = Pattern(width, height)
    picture = Picture(width, height, Fraction(30), 600_000, 1_000_000)
    encoder = VideoEncoder(0, picture)
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = encoder.track.extradata
    for number in range(12):
        unix_ms = UNIX_MS + 33 * number
        frame = av.VideoFrame.from_ndarray(pattern.draw(unix_ms, number), "yuv420p")
        (sample,) = encoder.encode(frame, Fraction(number, 30))
        (decoded,) = decoder.decode(av.Packet(sample.data))
        expected = unix_ms % 2**32
        assert read_clock(pixels(decoded)[:height]) == expected
        assert read_clock(pixels(decoded.reformat(format="rgb24"))) == expected
        for small in ((480, 270), (854, 480)):
            scaled = pixels(decoded.reformat(*small, "rgb24"))
            assert read_clock(scaled) == expected, f"{width}x{height} at {small}"


def test_a_picture_without_a_clock_or_with_a_damaged_one_gives_none() -> None:
    picture = Pattern(640, 360).draw(UNIX_MS, 0)[:360]
    assert read_clock(np.zeros((360, 640), dtype=np.uint8)) is None
    assert read_clock(np.full((360, 640), 255, dtype=np.uint8)) is None
    damaged = picture.copy()
    column = slice(20 * 640 // 48, 21 * 640 // 48)
    damaged[330:, column] = 255 - damaged[330:, column]
    assert read_clock(damaged) is None


def test_the_geometry_is_the_one_that_the_page_reads() -> None:
    """Goal: bottom twelfth, 48 columns, 1010, time, checksum, 0101; white is 235."""
    luma = Pattern(960, 480).draw(0x0_8040_2011, 0)[:480]
    assert set(luma[440:].flatten().tolist()) == {16, 235}
    bits = "".join(str(int(luma[460, 10 + 20 * column] > 128)) for column in range(48))
    checksum = (0x80 + 0x40 + 0x20 + 0x11) % 256
    assert bits == f"1010{0x80402011:032b}{checksum:08b}0101"
    assert (luma[440:] == luma[440]).all()


def test_the_scene_moves_and_people_can_read_the_time() -> None:
    pattern = Pattern(640, 360)
    first = pattern.draw(UNIX_MS, 0)
    assert (pattern.draw(UNIX_MS, 0) == first).all()
    moved = pattern.draw(UNIX_MS, 1) != first
    assert moved[180:330].any()
    assert not moved[:180].any()
    later = pattern.draw(UNIX_MS + 1, 0) != first
    assert later[:180].any()


@pytest.mark.parametrize(("width", "height"), [(320, 180), (322, 182), (1920, 1080), (400, 800)])
def test_any_even_size_can_be_drawn(width: int, height: int) -> None:
    pattern = Pattern(width, height)
    for number in range(0, 2_000, 37):
        picture = pattern.draw(UNIX_MS + number, number)
        assert picture.shape == (height * 3 // 2, width)
        assert read_clock(picture[:height]) == (UNIX_MS + number) % 2**32
