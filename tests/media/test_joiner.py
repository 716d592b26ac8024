"""The Joiner: every sample whose payloads all arrived, in order, and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.media.chunker import Chunker
from livestream.media.joiner import CapturedSample, Joiner
from livestream.media.records import NO_RECORD, RECORD_HEADER_SIZE, Payload, PayloadFlags
from livestream.media.sample import Sample


def payloads_of(samples: list[Sample], gaps_us: list[int], size: int) -> list[Payload]:
    chunker = Chunker(size)
    now = 0
    payloads = []
    for sample, gap_us in zip(samples, gaps_us, strict=True):
        chunker.add(sample, 1_000 + sample.dts, now)
        now += gap_us
        chunker.handle_timer(now)
    chunker.finish(now)
    while (payload := chunker.next_payload()) is not None:
        payloads.append(payload)
    return payloads


def spans_of(samples: list[Sample], payloads: list[Payload]) -> list[range]:
    """Return, for each sample, the indices of the payloads that carry bytes of its record."""
    ends = []
    total = 0
    for payload in payloads:
        total += len(payload.data)
        ends.append(total)
    spans = []
    at = 0
    for sample in samples:
        last = at + RECORD_HEADER_SIZE + len(sample.data) - 1
        first_piece = next(i for i, end in enumerate(ends) if at < end)
        last_piece = next(i for i, end in enumerate(ends) if last < end)
        spans.append(range(first_piece, last_piece + 1))
        at = last + 1
    return spans


sizes = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 60_000)), min_size=1, max_size=25)


@given(sizes, st.integers(1, 120), st.data())
def test_exactly_the_samples_that_arrived_whole_come_out(
    drawn: list[tuple[int, int]], size: int, data: st.DataObject
) -> None:
    samples = [
        Sample(i % 2, i % 5 == 0, i, i, 1, bytes([i]) * length)
        for i, (length, _) in enumerate(drawn)
    ]
    payloads = payloads_of(samples, [gap_us for _, gap_us in drawn], size)
    lost = data.draw(st.lists(st.booleans(), min_size=len(payloads), max_size=len(payloads)))
    joiner = Joiner()
    joined: list[CapturedSample] = []
    for payload, is_lost in zip(payloads, lost, strict=True):
        if is_lost:
            joiner.gap()
        else:
            joined += joiner.add(payload)
    spans = spans_of(samples, payloads)
    assert joined == [
        CapturedSample(sample, payloads[span[0]].captured_ms)
        for sample, span in zip(samples, spans, strict=True)
        if not any(lost[i] for i in span)
    ]


@given(st.lists(st.tuples(st.sampled_from([0, 3, NO_RECORD]), st.binary(max_size=80))))
def test_any_payloads_give_samples_or_a_decode_error(drawn: list[tuple[int, bytes]]) -> None:
    joiner = Joiner()
    for first_record, data in drawn:
        try:
            joiner.add(Payload(0, PayloadFlags(0), first_record, data))
        except MessageDecodeError:
            continue


def test_after_a_malformed_payload_it_goes_on_at_the_next_record() -> None:
    samples = [Sample(0, True, i, i, 1, bytes(34)) for i in range(6)]  # Records of 50 bytes.
    payloads = payloads_of(samples, [0] * 6, 75)
    joiner = Joiner()
    assert [captured.sample.dts for captured in joiner.add(payloads[0])] == [0]
    with pytest.raises(MessageDecodeError):
        joiner.add(replace(payloads[1], first_record=payloads[1].first_record + 1))
    rest = [captured.sample.dts for payload in payloads[2:] for captured in joiner.add(payload)]
    assert rest == [3, 4, 5]


def test_a_viewer_that_enters_in_the_middle_waits_for_a_record() -> None:
    samples = [Sample(0, True, i, i, 1, bytes(134)) for i in range(2)]  # Records of 150 bytes.
    payloads = payloads_of(samples, [0] * 2, 60)
    joiner = Joiner()
    joined = [captured.sample.dts for payload in payloads[1:] for captured in joiner.add(payload)]
    assert joined == [1]


def test_a_first_record_beyond_the_payload_is_malformed() -> None:
    with pytest.raises(MessageDecodeError):
        Joiner().add(Payload(0, PayloadFlags(0), 5, b"abc"))
