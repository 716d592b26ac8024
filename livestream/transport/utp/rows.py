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
) -> bytearray:
    """Return a train of data packets.

    Args:
        header: Of the first; only the sequence number differs in the others.
        first: The first row's sequence number, 16 bits.
        payload: Buffers to be carried, in order.
        width: Payload bytes of each datagram; the last may have fewer.
    """
    source = payload[0] if len(payload) == 1 else b"".join(payload)
    full, rest = divmod(len(source), width)
    size = width + HEADER_BYTES
    train = bytearray(full * size + (HEADER_BYTES + rest if rest else 0))
    if full:
        strides = (size, 1)
        np.ndarray((full, HEADER_BYTES), np.uint8, train, 0, strides)[...] = np.frombuffer(
            header, np.uint8
        )
        body = np.frombuffer(source, np.uint8, full * width).reshape(full, width)
        np.ndarray((full, width), np.uint8, train, HEADER_BYTES, strides)[...] = body
        numbers = _SEQUENCE[first : first + full]
        np.ndarray((full,), ">u2", train, _SEQ_AT, (size,))[...] = numbers
    if rest:
        at = full * size
        fields = HEADER.unpack(header)
        HEADER.pack_into(train, at, *fields[:6], (first + full) & 0xFFFF, fields[7])
        train[at + HEADER_BYTES :] = memoryview(source)[full * width :]
    return train


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
