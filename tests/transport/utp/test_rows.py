"""Trains written and read at once, against packet by packet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from livestream.transport.utp.packet import HEADER_BYTES, Packet, PacketType, parse_packet
from livestream.transport.utp.rows import (
    check_rows,
    payload_of,
    rows_of,
    stamp_rows,
    write_rows,
)

SEQ = st.integers(0, 0xFFFF) | st.integers(0xFFF0, 0xFFFF)
WIDTH = st.integers(1, 50)
BUFFERS = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=6)


def _header(seq: int, ack: int = 7, timestamp: int = 1_000) -> bytes:
    return Packet(PacketType.DATA, 0xABCD, timestamp, 33, 4_444, seq, ack).to_bytes()


def _cut(train: bytes | bytearray | memoryview, size: int) -> list[Packet]:
    return [parse_packet(bytes(train[at : at + size])) for at in range(0, len(train), size)]


@given(SEQ, WIDTH, BUFFERS)
def test_a_train_is_what_its_packets_would_be_one_by_one(
    first: int, width: int, buffers: list[bytes]
) -> None:
    payload = b"".join(buffers)
    expected = b"".join(
        _header(first + row) + payload[at : at + width]
        for row, at in enumerate(range(0, len(payload), width))
    )
    views: list[bytes | bytearray | memoryview] = [memoryview(buffer) for buffer in buffers]
    assert write_rows(_header(first), first, views, width) == expected


@given(SEQ, WIDTH, BUFFERS)
def test_a_train_is_read_as_its_packets_would_be(
    first: int, width: int, buffers: list[bytes]
) -> None:
    size = width + HEADER_BYTES
    train = write_rows(_header(first), first, buffers, width)
    rows = rows_of(len(train), size)
    packets = _cut(train, size)
    assert len(packets) == rows
    payload = b"".join(buffers)
    assert b"".join(bytes(packet.payload) for packet in packets) == payload
    for data in (train, bytes(train), memoryview(train)):
        assert check_rows(data, size, rows, first)
        for scratch in (bytearray(b"x" * 2_000), bytearray(1)):
            assert payload_of(data, size, scratch) == payload


@given(SEQ, WIDTH, BUFFERS, st.data())
def test_a_train_with_a_row_that_differs_is_none(
    first: int, width: int, buffers: list[bytes], data: st.DataObject
) -> None:
    size = width + HEADER_BYTES
    train = write_rows(_header(first), first, buffers, width)
    rows = rows_of(len(train), size)
    row = data.draw(st.integers(0, rows - 1))
    at = data.draw(st.sampled_from([0, 1, 2, 3, 16, 17] if row else [16, 17]))
    train[row * size + at] ^= 1 << data.draw(st.integers(0, 7))
    assert not check_rows(train, size, rows, first)


@given(SEQ, WIDTH, BUFFERS, st.integers(0, 5), st.integers(1, 5))
def test_what_is_sent_again_differs_in_times_window_and_acknowledgement_only(
    first: int, width: int, buffers: list[bytes], row: int, count: int
) -> None:
    size = width + HEADER_BYTES
    train = write_rows(_header(first), first, buffers, width)
    row = min(row, rows_of(len(train), size) - 1)
    part = bytearray(train[row * size : (row + count) * size])
    rows = rows_of(len(part), size)
    fresh = Packet(PacketType.STATE, 1, 999_999, 88, 5_555, 4_321, 0x1234)
    stamp_rows(part, size, rows, fresh.to_bytes())
    for number, (old, new) in enumerate(
        zip(_cut(train, size)[row:], _cut(part, size), strict=False)
    ):
        assert (new.type, new.connection_id, new.seq) == (old.type, old.connection_id, old.seq)
        assert new.payload == old.payload
        assert (new.timestamp, new.difference, new.window) == (999_999, 88, 5_555), number
        assert new.ack == 0x1234


def test_more_rows_than_any_train_has_are_left_to_the_slow_way() -> None:
    train = write_rows(_header(0), 0, [bytes(2_000)], 1)
    assert not check_rows(train, 21, 2_000, 0)
