"""Blocks read straight to their places: whatever comes, nothing differs but the copies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.machine import Address
from livestream.transport.connection import (
    BlocksPlaced,
    BlocksReceived,
    MessageReceived,
    RequestsReceived,
)
from livestream.transport.inbound import PLACES_MAX
from livestream.transport.stream import Stream
from livestream.wire.image import BLOCK_BYTES, PieceImage
from livestream.wire.messages import Handshake, Have, Piece, Request, Unchoke

HANDSHAKE = Handshake(bytes(20), bytes(range(20))).to_bytes()
Block = tuple[int, int]


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def content(index: int, begin: int, length: int = BLOCK_BYTES) -> bytes:
    return (b"%d/%d;" % (index, begin) * length)[:length]


class Desk:
    """A stream, and pieces of `blocks` blocks that its blocks belong to.

    What comes is read as from a socket, or is in memory already, as `reads` says of each time.
    """

    def __init__(self, blocks: int = 8, reads: Sequence[bool] = (False,)) -> None:
        self._reads = cycle(reads)
        self.stream = Stream(Address("192.0.2.1", 1), lambda changed: None, 0, is_outgoing=True)
        self.stream.connected(0)
        self.pieces = {index: bytearray(blocks * BLOCK_BYTES) for index in range(4)}
        self.placed: list[Block] = []
        self.others: list[object] = []
        self.take(HANDSHAKE)

    def expect(self, *blocks: Block, length: int = BLOCK_BYTES) -> None:
        self.stream.expect(
            [
                (index, begin, memoryview(self.pieces[index])[begin : begin + length])
                for index, begin in blocks
            ]
        )

    def take(self, data: bytes, step: int = 1 << 30) -> None:
        for at in range(0, len(data), step):
            self._receive(memoryview(data)[at : at + step])
            while (event := self.stream.next_event()) is not None:
                if isinstance(event, BlocksPlaced):
                    self.placed += event.blocks
                elif isinstance(event, BlocksReceived):
                    self.others += [Piece(i, b, bytes(data)) for i, b, data in event.blocks]
                elif isinstance(event, RequestsReceived):
                    self.others += [Request(*request) for request in event.requests]
                elif isinstance(event, MessageReceived):
                    self.others.append(event.data)
            self.stream.rewind()

    def _receive(self, view: memoryview) -> None:
        if not next(self._reads):
            self.stream.receive_data(view, 0)
            return
        while view:
            view = view[self.stream.receive_some(view, 0) :]

    def has(self, index: int, begin: int, length: int = BLOCK_BYTES) -> bool:
        found = self.pieces[index][begin : begin + length]
        return found == content(index, begin, length)


def message(index: int, begin: int, length: int = BLOCK_BYTES) -> bytes:
    return framed(Piece(index, begin, content(index, begin, length)).to_bytes())


WAYS = pytest.mark.parametrize("reads", [(False,), (True,), (False, True)])
BLOCKS = [(index, number * BLOCK_BYTES) for index in range(3) for number in range(8)]


@settings(max_examples=80, deadline=None)
@given(
    st.permutations(range(len(BLOCKS))),
    st.lists(st.integers(0, len(BLOCKS)), max_size=6),
    st.integers(700, 70_000),
    st.sets(st.integers(0, len(BLOCKS) - 1), max_size=10),
    st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_in_any_order_with_anything_between_and_cut_anyhow(
    order: list[int], haves: list[int], step: int, unexpected: set[int], reads: list[bool]
) -> None:
    desk = Desk(reads=reads)
    expected = [block for number, block in enumerate(BLOCKS) if number not in unexpected]
    desk.expect(*expected)
    data = b""
    for at, number in enumerate(order):
        data += message(*BLOCKS[number]) + framed(Have(at).to_bytes()) * haves.count(at)
    desk.take(data, step)
    strays = [each for each in desk.others if isinstance(each, Piece)]
    assert sorted([*desk.placed, *((each.index, each.begin) for each in strays)]) == BLOCKS
    assert all(desk.has(*block) for block in desk.placed)
    assert all(each.data == content(each.index, each.begin) for each in strays)
    assert not set(desk.placed) - set(expected)
    told = [each for each in desk.others if not isinstance(each, Piece)]
    assert told == [HANDSHAKE] + [
        Have(at).to_bytes() for at in range(len(order)) for _ in range(haves.count(at))
    ]


@WAYS
def test_in_order_nothing_is_copied(reads: Sequence[bool]) -> None:
    desk = Desk(reads=reads)
    desk.expect(*BLOCKS)
    desk.take(b"".join(message(*block) for block in BLOCKS), 100_001)
    assert desk.placed == BLOCKS
    assert desk.others == [HANDSHAKE]


@WAYS
def test_a_block_of_another_length_is_nobodys_place(reads: Sequence[bool]) -> None:
    desk = Desk(reads=reads)
    desk.expect((0, 0), (0, BLOCK_BYTES))
    short = content(0, 0, 100)
    desk.take(framed(Piece(0, 0, short).to_bytes()) + message(0, BLOCK_BYTES), 50)
    assert desk.others[1:] == [Piece(0, 0, short)]
    assert desk.placed == [(0, BLOCK_BYTES)]


@WAYS
def test_what_is_forgotten_in_the_middle_is_not_written_any_more(reads: Sequence[bool]) -> None:
    for cut in (4, 13, 14, 5_000, 16_396):
        desk = Desk(reads=reads)
        desk.expect((0, 0), (0, BLOCK_BYTES))
        data = message(0, 0)
        desk.take(data[:cut])
        desk.stream.forget(0, 0)
        desk.pieces[0][:BLOCK_BYTES] = bytes(BLOCK_BYTES)
        desk.take(data[cut:] + message(0, BLOCK_BYTES), 7_000)
        assert desk.pieces[0][:BLOCK_BYTES] == bytes(BLOCK_BYTES), cut
        assert desk.others[1:] == [Piece(0, 0, content(0, 0))], cut
        assert desk.placed == [(0, BLOCK_BYTES)]


@WAYS
def test_a_whole_piece_is_forgotten(reads: Sequence[bool]) -> None:
    desk = Desk(reads=reads)
    desk.expect((0, 0), (0, BLOCK_BYTES), (1, 0))
    desk.take(message(0, 0)[:100])
    desk.stream.forget(0)
    desk.take(message(0, 0)[100:] + message(0, BLOCK_BYTES) + message(1, 0), 3_000)
    assert desk.others[1:] == [
        Piece(0, 0, content(0, 0)),
        Piece(0, BLOCK_BYTES, content(0, BLOCK_BYTES)),
    ]
    assert desk.placed == [(1, 0)]


@WAYS
def test_other_messages_where_many_blocks_were_expected_are_heard(reads: Sequence[bool]) -> None:
    desk = Desk(2 * PLACES_MAX, reads)
    desk.expect(*((0, number * BLOCK_BYTES) for number in range(2 * PLACES_MAX)))
    talk = framed(Unchoke().to_bytes()) + b"".join(
        framed(Have(number).to_bytes()) for number in range(100_000)
    )
    desk.take(talk)
    assert desk.others[1:] == [
        Unchoke().to_bytes(),
        *(Have(number).to_bytes() for number in range(100_000)),
    ]


def test_requests_come_as_a_run() -> None:
    desk = Desk()
    asked = [Request(1, number * BLOCK_BYTES, BLOCK_BYTES) for number in range(50)]
    desk.take(b"".join(framed(each.to_bytes()) for each in asked) + framed(Have(1).to_bytes()), 40)
    assert desk.others[1:] == [*asked, Have(1).to_bytes()]


def test_a_pieces_image_is_what_its_messages_are() -> None:
    size = 3 * BLOCK_BYTES + 77
    image = PieceImage(9, size)
    data = content(9, 0, size)
    at = 0
    for place in image.places():
        place[:] = data[at : at + len(place)]
        at += len(place)
    wanted = b"".join(
        framed(Piece(9, begin, data[begin : begin + BLOCK_BYTES]).to_bytes())
        for begin in range(0, size, BLOCK_BYTES)
    )
    assert image.messages(0, 4) == wanted
    assert image.messages(1, 2) == wanted[13 + BLOCK_BYTES : 3 * (13 + BLOCK_BYTES)]
    assert image.data(BLOCK_BYTES - 5, size) == data[BLOCK_BYTES - 5 :]
    assert image.data(7, 7) == b""
