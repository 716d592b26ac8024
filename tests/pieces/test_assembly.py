"""A piece on its way: whatever order its blocks come in, and whoever sends what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.pieces.assembly import BLOCK_BYTES, Assembly

SIZE = 3 * BLOCK_BYTES + 100
PIECE = bytes(range(256)) * 200
assert len(PIECE) >= SIZE


def block(number: int) -> bytes:
    return PIECE[:SIZE][number * BLOCK_BYTES :][:BLOCK_BYTES]


def begun(*asked: tuple[int, str]) -> Assembly[str]:
    assembly: Assembly[str] = Assembly(7, bytearray(b"\xff" * SIZE))
    for number, peer in asked:
        if number in assembly.free:
            assembly.free.remove(number)
        assembly.asked[number] = (*assembly.asked[number], peer)
    return assembly


@given(st.permutations(range(4)))
def test_blocks_in_any_order_make_the_piece(order: list[int]) -> None:
    assembly = begun()
    for left, number in zip(range(3, -1, -1), order, strict=True):
        assert assembly.put(number, block(number), "ann") == []
        assert assembly.missing == left
    assert bytes(assembly.buffer) == PIECE[:SIZE]
    assert assembly.free == []


def test_whoever_else_was_asked_is_named_once_and_a_second_copy_is_of_no_use() -> None:
    assembly = begun((1, "ann"), (1, "bob"), (1, "cy"))
    assert assembly.put(1, block(1), "bob") == ["ann", "cy"]
    assert assembly.put(1, bytes(BLOCK_BYTES), "ann") is None
    assert assembly.authors[1] == "bob"
    assert bytes(assembly.buffer[BLOCK_BYTES : 2 * BLOCK_BYTES]) == block(1)


@pytest.mark.parametrize(
    ("number", "length"),
    [
        (0, 0),
        (0, BLOCK_BYTES - 1),
        (0, BLOCK_BYTES + 1),
        (0, SIZE),
        (3, 99),
        (3, 101),
        (3, BLOCK_BYTES),
    ],
)
def test_a_block_of_another_length_changes_nothing(number: int, length: int) -> None:
    assembly = begun()
    before = bytes(assembly.buffer)
    assert assembly.put(number, bytes(length), "ann") is None
    assert bytes(assembly.buffer) == before
    assert assembly.missing == 4


def test_a_block_is_free_again_when_the_last_who_was_asked_will_not_give_it() -> None:
    assembly = begun((2, "ann"), (2, "bob"))
    assembly.release(2, "ann")
    assembly.release(2, "nobody")
    assert 2 not in assembly.free
    assembly.release(2, "bob")
    assembly.release(2, "bob")
    assert assembly.free.count(2) == 1


def test_padding_is_zeros_and_not_asked_for() -> None:
    """BEP 47: a file in the piece ends, and the next begins with the next piece."""
    assembly: Assembly[str] = Assembly(7, bytearray(b"\xff" * SIZE), padding=BLOCK_BYTES + 200)
    assert assembly.missing == 2
    assert sorted(assembly.free) == [0, 1]
    assert bytes(assembly.buffer[2 * BLOCK_BYTES :]) == bytes(BLOCK_BYTES + 100)


def test_digests_tell_which_block_was_wrong() -> None:
    one, other = begun(), begun()
    for number in range(4):
        one.put(number, block(number), "ann")
        other.put(number, block(number) if number != 2 else bytes(BLOCK_BYTES), "bob")
    pairs = zip(one.digests(), other.digests(), strict=True)
    assert [a == b for a, b in pairs] == [True, True, False, True]
