"""The record codec: what goes in comes out, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError, StateError
from livestream.media.records import (
    DURATION_MAX,
    RECORD_BYTES_MAX,
    RECORD_HEADER_SIZE,
    pack_record,
    parse_record_header,
)
from livestream.media.sample import Sample

samples = st.builds(
    lambda track, key, dts, offset, duration, data: Sample(
        track, key, dts + offset, dts, duration, data
    ),
    st.integers(0, 127),
    st.booleans(),
    st.integers(0, 2**48 - 1),
    st.integers(0, DURATION_MAX),
    st.integers(0, DURATION_MAX),
    st.binary(max_size=100),
)


@given(samples, st.binary(max_size=20))
def test_a_record_parses_to_the_sample_that_it_was_made_of(sample: Sample, before: bytes) -> None:
    data = before + pack_record(sample)
    header = parse_record_header(data, len(before))
    assert header.length == len(sample.data)
    assert header.to_sample(data[len(before) + RECORD_HEADER_SIZE :]) == sample


@given(st.binary(max_size=40))
def test_any_bytes_give_a_bounded_header_or_a_decode_error(data: bytes) -> None:
    try:
        header = parse_record_header(data)
    except MessageDecodeError:
        return
    assert len(data) >= RECORD_HEADER_SIZE
    assert header.length <= RECORD_BYTES_MAX


def test_a_record_that_would_eat_memory_is_refused() -> None:
    data = bytearray(pack_record(Sample(0, True, 0, 0, 0, b"")))
    data[13] = 0x40  # The length's highest byte: 4 MiB and, with the next, one more.
    assert parse_record_header(data).length == RECORD_BYTES_MAX
    data[15] = 1
    with pytest.raises(MessageDecodeError):
        parse_record_header(data)


@pytest.mark.parametrize(
    "sample",
    [
        Sample(128, False, 0, 0, 0, b""),
        Sample(0, False, -1, -1, 0, b""),
        Sample(0, False, 2**48, 2**48, 0, b""),
        Sample(0, False, 0, 1, 0, b""),
        Sample(0, False, DURATION_MAX + 1, 0, 0, b""),
        Sample(0, False, 0, 0, DURATION_MAX + 1, b""),
        Sample(0, False, 0, 0, 0, bytes(RECORD_BYTES_MAX + 1)),
    ],
)
def test_a_sample_that_does_not_fit_is_our_own_mistake(sample: Sample) -> None:
    with pytest.raises(StateError):
        pack_record(sample)


def test_records_add_less_than_one_percent_at_one_megabit() -> None:
    """Goal: 30 video samples and 48000/1024 audio samples a second cost under 10 kbit/s."""
    assert (30 + 48_000 / 1024) * RECORD_HEADER_SIZE * 8 < 10_000
