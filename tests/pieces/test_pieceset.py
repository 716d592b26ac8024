"""Bitfields of torrents: what is said is counted, and what cannot be is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.pieces.pieceset import PieceSet


@given(st.integers(1, 70), st.lists(st.integers(0, 1_000)))
def test_what_is_put_in_and_taken_out_is_counted_and_survives_the_wire(
    count: int, indexes: list[int]
) -> None:
    pieces, expected = PieceSet(count), set[int]()
    for step, index in enumerate(each % count for each in indexes):
        if step % 3 == 2:
            pieces.discard(index)
            expected.discard(index)
        else:
            assert pieces.add(index) == (index not in expected)
            expected.add(index)
    again = PieceSet.from_bytes(pieces.to_bytes(), count)
    for each in (pieces, again):
        assert [index for index in range(count) if index in each] == sorted(expected)
        assert each.held == len(expected)
        assert each.is_full == (len(expected) == count)


def test_the_first_piece_is_the_highest_bit_as_in_bep_3() -> None:
    assert 0 in PieceSet.from_bytes(b"\x80\x00", 9)
    assert 8 in PieceSet.from_bytes(b"\x00\x80", 9)


@pytest.mark.parametrize("bits", [b"", b"\x80", b"\x80\x00\x00", b"\x00\x40", b"\x00\x01"])
def test_another_length_or_a_spare_bit_is_refused(bits: bytes) -> None:
    with pytest.raises(MessageDecodeError):
        PieceSet.from_bytes(bits, 9)


def test_many_pieces_are_put_in_at_once_and_counted_once() -> None:
    found = PieceSet(10)
    found.add(3)
    found.add_all([3, 4, 9, 4])
    assert found.held == 3
    assert [index for index in range(10) if index in found] == [3, 4, 9]
    found.add_all([])
    assert found.held == 3
