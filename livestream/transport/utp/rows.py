"""Trains of µTP data packets, all rows at once: headers by numpy, the payload copied once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from livestream.transport.utp.packet import HEADER, HEADER_BYTES

__all__ = ["check_rows", "payload_of", "rows_of", "stamp_rows", "write_rows"]

_WORD_BYTES: Final = 4  # Type, version, extension and connection id: the same in all rows.
_SEQ_AT: Final = 16
_ROWS_MAX: Final = 1024
_HEADER_TYPE: Final = np.dtype((np.void, HEADER_BYTES))
# Sequence numbers as they stand in consecutive packets, wrapping: any run of them is one slice.
_SEQUENCE: Final = (np.arange((1 << 16) + _ROWS_MAX) & 0xFFFF).astype(">u2")
_SEQUENCE_BYTES: Final = _SEQUENCE.tobytes()


def rows_of(size: int, datagram_size: int) -> int:
    """Return how many datagrams a train of `size` bytes has."""
    return -(-size // datagram_size)


def check_rows(
    data: bytes | bytearray | memoryview, datagram_size: int, rows: int, first: int
) -> bool:
    """Whether all rows have the first one's type, extension and connection, and are in order.

    Args:
        data: A train; its last datagram has room for a header.
        datagram_size: Of each datagram but the last.
        rows: How many there are.
        first: The first row's sequence number, 16 bits.
    """
    strides = (datagram_size,)
    words = np.ndarray((rows,), "S4", data, 0, strides).tobytes()
    numbers = np.ndarray((rows,), ">u2", data, _SEQ_AT, strides).tobytes()
    return (
        rows <= _ROWS_MAX
        and words == bytes(data[:_WORD_BYTES]) * rows
        and numbers == _SEQUENCE_BYTES[2 * first : 2 * (first + rows)]
    )


def payload_of(
    data: bytes | bytearray | memoryview, datagram_size: int, scratch: bytearray
) -> memoryview:
    """Return what the rows of a train carry, in one piece: a view of `scratch`, if it fits there.

    A buffer that is used again costs a third of a new one, whose pages come from the kernel.
    """
    full, rest = divmod(len(data), datagram_size)
    width = datagram_size - HEADER_BYTES
    tail = max(0, rest - HEADER_BYTES)
    size = full * width + tail
    target = scratch if size <= len(scratch) else bytearray(size)
    body = np.ndarray((full, width), np.uint8, data, HEADER_BYTES, (datagram_size, 1))
    np.ndarray((full, width), np.uint8, target)[...] = body
    if tail:
        target[full * width : size] = data[len(data) - tail :]
    return memoryview(target)[:size]


def write_rows(
    header: bytes, first: int, payload: Sequence[bytes | bytearray | memoryview], width: int
) -> memoryview:
    """Return a train of data packets.

    Args:
        header: Of the first; only the sequence number differs in the others.
        first: The first row's sequence number, 16 bits.
        payload: Buffers to be carried, in order.
        width: Payload bytes of each datagram; the last may have fewer.
    """
    full, rest = divmod(sum(map(len, payload)), width)
    size = width + HEADER_BYTES
    # Not a bytearray: all of it is written below, and zeros would be written for nothing.
    train = np.empty(full * size + (HEADER_BYTES + rest if rest else 0), np.uint8).data
    if full:
        np.ndarray((full,), _HEADER_TYPE, train, 0, (size,))[...] = np.frombuffer(
            header, _HEADER_TYPE
        )
        numbers = _SEQUENCE[first : first + full]
        np.ndarray((full,), ">u2", train, _SEQ_AT, (size,))[...] = numbers
    if rest:
        fields = HEADER.unpack(header)
        HEADER.pack_into(train, full * size, *fields[:6], (first + full) & 0xFFFF, fields[7])
    at = 0
    for buffer in payload:
        _write_payload(train, at, buffer, width)
        at += len(buffer)
    return train


def _write_payload(
    train: memoryview, at: int, source: bytes | bytearray | memoryview, width: int
) -> None:
    """Write bytes to rows, from byte `at` of the payload on: whole rows at once."""
    size = width + HEADER_BYTES
    row, begun = divmod(at, width)
    head = min(-begun % width, len(source))
    place = row * size + HEADER_BYTES + begun
    train[place : place + head] = source[:head]
    if begun:
        row += 1
    full, rest = divmod(len(source) - head, width)
    if full:
        start = row * size + HEADER_BYTES
        body = np.frombuffer(source, np.uint8, full * width, head).reshape(full, width)
        np.ndarray((full, width), np.uint8, train, start, (size, 1))[...] = body
    if rest:
        place = (row + full) * size + HEADER_BYTES
        train[place : place + rest] = source[len(source) - rest :]


def stamp_rows(train: bytearray, datagram_size: int, rows: int, header: bytes) -> None:
    """Bring the times, the window and the acknowledgement of a train up to date.

    Args:
        train: What is sent again; type, connection and numbers stay.
        datagram_size: Of each row but the last.
        rows: How many there are.
        header: Has the new values.
    """
    strides = (datagram_size, 1)
    fresh = np.frombuffer(header, np.uint8)
    times = np.ndarray((rows, 12), np.uint8, train, _WORD_BYTES, strides)
    times[...] = fresh[_WORD_BYTES : _WORD_BYTES + 12]
    acks = np.ndarray((rows, 2), np.uint8, train, _SEQ_AT + 2, strides)
    acks[...] = fresh[_SEQ_AT + 2 :]
