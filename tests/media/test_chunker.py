"""The Chunker: payloads are full or punctual, and say where they can be entered."""

from __future__ import annotations

import pytest

from livestream.errors import StateError
from livestream.machine import MILLISECOND
from livestream.media.chunker import WAIT_US_MAX, Chunker
from livestream.media.records import NO_RECORD, RECORD_HEADER_SIZE, Payload, PayloadFlags
from livestream.media.sample import Sample


def sample(size: int, dts: int = 0, is_keyframe: bool = False) -> Sample:
    """Make a sample whose record takes `size` bytes."""
    return Sample(0, is_keyframe, dts, dts, 0, bytes(size - RECORD_HEADER_SIZE))


def drain(chunker: Chunker) -> list[Payload]:
    payloads = []
    while (payload := chunker.next_payload()) is not None:
        payloads.append(payload)
    return payloads


def test_payloads_are_cut_when_full_and_carry_the_capture_time_of_their_first_byte() -> None:
    chunker = Chunker(100)
    chunker.add(sample(60), 1_000, 0)
    chunker.add(sample(240, is_keyframe=True), 1_033, 0)
    chunker.add(sample(30), 1_066, 0)
    first, second, third = drain(chunker)
    assert [len(payload.data) for payload in (first, second, third)] == [100, 100, 100]
    assert [payload.captured_ms for payload in (first, second, third)] == [1_000, 1_033, 1_033]
    assert [payload.first_record for payload in (first, second, third)] == [0, NO_RECORD, NO_RECORD]
    assert [payload.flags for payload in (first, second, third)] == [PayloadFlags.KEYFRAME, 0, 0]
    chunker.finish(0)
    (last,) = drain(chunker)
    assert (last.captured_ms, last.first_record, len(last.data)) == (1_066, 0, 30)


def test_the_offset_tells_where_the_first_record_begins() -> None:
    chunker = Chunker(100)
    chunker.add(sample(130), 0, 0)
    chunker.add(sample(80, is_keyframe=True), 0, 0)
    first, second = drain(chunker)
    assert (first.first_record, second.first_record) == (0, 30)
    assert (first.flags, second.flags) == (0, PayloadFlags.KEYFRAME)


def test_a_finished_record_waits_forty_milliseconds_and_no_longer() -> None:
    chunker = Chunker(1_000)
    assert chunker.get_timer() is None
    chunker.add(sample(20), 0, 5_000)
    chunker.add(sample(20), 0, 25_000)
    assert chunker.get_timer() == 5_000 + WAIT_US_MAX
    chunker.handle_timer(5_000 + WAIT_US_MAX - 1)
    assert drain(chunker) == []
    chunker.handle_timer(5_000 + WAIT_US_MAX)
    assert [len(payload.data) for payload in drain(chunker)] == [40]
    assert chunker.get_timer() is None


def test_a_sample_that_comes_when_the_wait_is_over_still_goes_along() -> None:
    chunker = Chunker(1_000)
    chunker.add(sample(20), 0, 0)
    chunker.add(sample(20), 0, WAIT_US_MAX + 10 * MILLISECOND)
    assert [len(payload.data) for payload in drain(chunker)] == [40]


def test_the_rest_of_a_cut_record_waits_from_its_own_time_on() -> None:
    chunker = Chunker(100)
    chunker.add(sample(90), 0, 0)
    chunker.add(sample(30), 0, 30_000)
    assert len(drain(chunker)) == 1
    assert chunker.get_timer() == 30_000 + WAIT_US_MAX


def test_the_last_payload_says_so_even_if_it_is_empty() -> None:
    chunker = Chunker(100)
    chunker.add(sample(100), 7, 0)
    chunker.finish(0)
    chunker.finish(0)
    full, last = drain(chunker)
    assert full.flags == 0
    assert last == Payload(7, PayloadFlags.END, NO_RECORD, b"")
    with pytest.raises(StateError):
        chunker.add(sample(20), 0, 0)


@pytest.mark.parametrize("size", [0, 0x10000])
def test_sizes_that_the_wire_cannot_carry_are_refused(size: int) -> None:
    with pytest.raises(StateError):
        Chunker(size)
