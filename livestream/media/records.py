"""The stream on the wire: a sequence of records, one per Sample, cut into piece payloads.

It is not a container: one is made only at the viewer's edge. A record costs 16 bytes, which at
1 Mbit/s (30 video and 47 audio samples a second) is just under 1 %; MPEG-TS takes 12 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from struct import Struct
from typing import Final, NamedTuple

from livestream.errors import MessageDecodeError, StateError
from livestream.media.sample import Sample

__all__ = [
    "DURATION_MAX",
    "NO_RECORD",
    "RECORD_BYTES_MAX",
    "RECORD_HEADER_SIZE",
    "Payload",
    "PayloadFlags",
    "RecordHeader",
    "pack_record",
    "parse_record_header",
]

NO_RECORD: Final = 0xFFFF  # `first_record` of a payload in which no record begins.

# The largest key frames of 4K at 50 Mbit/s are near 1 MiB. A viewer keeps at most one unfinished
# record, so this is also what a hostile publisher can make it hold.
RECORD_BYTES_MAX: Final = 4 * 1024 * 1024
DURATION_MAX: Final = 2**24 - 1  # Ticks; three minutes of video. Also the limit of pts - dts.
DTS_MAX: Final = 2**48 - 1  # A hundred years at 90 kHz.
TRACKS_MAX: Final = 128

# Key flag and track (u8), dts (u48), pts - dts (u24), duration (u24), length (u24).
_HEADER: Final = Struct("!BHIBHBHBH")
RECORD_HEADER_SIZE: Final = _HEADER.size
_KEY_BIT: Final = 0x80


class PayloadFlags(IntFlag):
    """What a viewer must know about a payload before it has those around it."""

    KEYFRAME = 1  # The record of a key frame starts here.
    END = 2  # Nothing follows.


@dataclass(frozen=True, slots=True)
class Payload:
    """What one piece carries: some bytes of the record stream, and where it can be entered."""

    captured_ms: int
    "Unix time (ms) at which the sample was captured whose byte comes first."
    flags: PayloadFlags
    first_record: int
    "Offset of the first record that begins in `data`, or NO_RECORD."
    data: bytes


class RecordHeader(NamedTuple):
    """All of a record but its data."""

    track: int
    is_keyframe: bool
    dts: int
    offset: int
    "pts - dts."
    duration: int
    length: int

    def to_sample(self, data: bytes) -> Sample:
        """Complete the record with its data."""
        return Sample(
            self.track, self.is_keyframe, self.dts + self.offset, self.dts, self.duration, data
        )


def pack_record(sample: Sample) -> bytes:
    """Serialise one sample.

    Raises:
        StateError: a value that does not fit; whoever makes samples keeps within the limits.
    """
    offset, length = sample.pts - sample.dts, len(sample.data)
    if not (
        0 <= sample.track < TRACKS_MAX
        and 0 <= sample.dts <= DTS_MAX
        and 0 <= offset <= DURATION_MAX
        and 0 <= sample.duration <= DURATION_MAX
        and length <= RECORD_BYTES_MAX
    ):
        raise StateError(
            f"sample of track {sample.track} does not fit a record: dts {sample.dts}, "
            f"pts {sample.pts}, duration {sample.duration}, {length} bytes"
        )
    header = _HEADER.pack(
        sample.track | (_KEY_BIT if sample.is_keyframe else 0),
        sample.dts >> 32,
        sample.dts & 0xFFFFFFFF,
        offset >> 16,
        offset & 0xFFFF,
        sample.duration >> 16,
        sample.duration & 0xFFFF,
        length >> 16,
        length & 0xFFFF,
    )
    return header + sample.data


def parse_record_header(data: bytes | bytearray, at: int = 0) -> RecordHeader:
    """Parse the header that starts at `at`.

    Raises:
        MessageDecodeError: too short, or a record longer than RECORD_BYTES_MAX.
    """
    if len(data) - at < RECORD_HEADER_SIZE:
        raise MessageDecodeError(f"record header: {len(data) - at} bytes")
    values: tuple[int, ...] = _HEADER.unpack_from(data, at)
    kind, dts_high, dts_low, offset_high, offset_low, long_high, long_low, high, low = values
    length = high << 16 | low
    if length > RECORD_BYTES_MAX:
        raise MessageDecodeError(f"record of {length} bytes, at most {RECORD_BYTES_MAX}")
    return RecordHeader(
        kind & ~_KEY_BIT,
        bool(kind & _KEY_BIT),
        dts_high << 32 | dts_low,
        offset_high << 16 | offset_low,
        long_high << 16 | long_low,
        length,
    )
