"""µTP packets (BEP 29): one at a time. Trains of them are in `rows`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from livestream.errors import MessageDecodeError

__all__ = [
    "HEADER",
    "HEADER_BYTES",
    "SACK_BYTES_MAX",
    "VERSION",
    "Packet",
    "PacketType",
    "is_utp",
    "parse_packet",
    "sack_field",
    "unwrap",
]

HEADER: Final = Struct("!BBHIIIHH")
HEADER_BYTES: Final = 20
VERSION: Final = 1
SACK: Final = 1  # The only extension that we read.
EXTENSIONS_MAX: Final = 4  # A longer chain is nobody's.
SACK_BYTES_MAX: Final = 252  # What the length byte can say in multiples of four.


class PacketType(IntEnum):
    """What a packet is for; BEP 29's ST_DATA, ST_FIN, ST_STATE, ST_RESET and ST_SYN."""

    DATA = 0
    FIN = 1
    STATE = 2
    RESET = 3
    SYN = 4


@dataclass(slots=True)
class Packet:
    """One packet; sequence numbers as on the wire, 16 bits."""

    type: PacketType
    connection_id: int
    timestamp: int
    "When it was sent, µs by the sender's clock, 32 bits."
    difference: int
    "What the sender last measured as our one-way delay, µs, 32 bits, with the clocks' offset."
    window: int
    "Bytes that the sender can take yet."
    seq: int
    ack: int
    sack: int = 0
    "Bit i: packet ack + 2 + i has come."
    payload: bytes | memoryview = b""

    def to_bytes(self) -> bytes:
        """Encode."""
        sack = sack_field(self.sack) if self.sack else b""
        header = HEADER.pack(
            self.type << 4 | VERSION,
            SACK if sack else 0,
            self.connection_id,
            self.timestamp & 0xFFFFFFFF,
            self.difference & 0xFFFFFFFF,
            self.window,
            self.seq & 0xFFFF,
            self.ack & 0xFFFF,
        )
        return b"".join((header, sack, self.payload))


def is_utp(data: bytes | bytearray | memoryview) -> bool:
    """Whether a datagram looks like µTP: version 1, a known type, room for a header."""
    return len(data) >= HEADER_BYTES and data[0] & 15 == VERSION and data[0] >> 4 <= PacketType.SYN


def parse_packet(data: bytes | memoryview) -> Packet:
    """Decode a datagram. Raises MessageDecodeError."""
    if not is_utp(data):
        raise MessageDecodeError("no µTP packet")
    first, extension, connection_id, timestamp, difference, window, seq, ack = HEADER.unpack_from(
        data
    )
    position, sack = HEADER_BYTES, 0
    for _ in range(EXTENSIONS_MAX):
        if not extension:
            break
        if position + 2 > len(data):
            raise MessageDecodeError("a µTP extension that is cut off")
        following, size = data[position], data[position + 1]
        stop = position + 2 + size
        if stop > len(data):
            raise MessageDecodeError("a µTP extension that is cut off")
        if extension == SACK:
            sack = int.from_bytes(data[position + 2 : stop], "little")
        extension, position = following, stop
    if extension:
        raise MessageDecodeError("too many µTP extensions")
    numbers = connection_id, timestamp, difference, window, seq, ack
    return Packet(PacketType(first >> 4), *numbers, sack, memoryview(data)[position:])


def sack_field(sack: int) -> bytes:
    """Return the extension that says which packets after a hole have come (BEP 29)."""
    size = min(-(-sack.bit_length() // 32) * 4, SACK_BYTES_MAX)
    mask = sack & ((1 << 8 * size) - 1)
    return bytes((0, size)) + mask.to_bytes(size, "little")


def unwrap(wire: int, near: int) -> int:
    """Return the number closest to `near` whose lowest 16 bits are `wire`."""
    return near + ((wire - near + 0x8000) & 0xFFFF) - 0x8000
