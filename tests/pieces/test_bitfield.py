"""The sliding bitfield behaves as a set of indexes that forgets its past."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from livestream.pieces.bitfield import SPAN_MAX, SlidingBitfield


@given(st.lists(st.integers(0, 300)), st.integers(0, 300), st.integers(0, 300))
def test_it_is_a_set_that_slides(indexes: list[int], first: int, start: int) -> None:
    field = SlidingBitfield()
    for index in indexes:
        field.add(index)
    field.forget_before(first)
    expected = {index for index in indexes if index >= first}
    assert {index for index in range(310) if index in field} == expected
    assert len(field) == len(expected)
    assert field.end == max(expected, default=first - 1) + 1
    bits = field.bits_from(start)
    assert all((bits >> i & 1) == ((start + i) in expected) for i in range(310))


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, (1 << 64) - 1))
def test_replace_sets_exactly_the_range(first: int, start: int, held: int) -> None:
    field = SlidingBitfield()
    for index in range(400):
        field.add(index)
    field.forget_before(first)
    field.replace(start, held, 64)
    for index in range(first, 400):
        in_range = start <= index < start + 64
        assert (index in field) == (bool(held >> (index - start) & 1) if in_range else True)


def test_a_claim_far_ahead_costs_no_memory() -> None:
    field = SlidingBitfield()
    field.add(5)
    field.add(4_000_000_000)
    assert 4_000_000_000 in field
    assert 5 not in field
    assert field.end - field.first <= SPAN_MAX
