"""Movie fragments of one sample each (ISO 14496-12, 8.8), and where MPEG-TS can be joined.

FFmpeg's own fragments leave it a frame late and out of step with what was written, so that one
cannot tell which of them begins with a key frame.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["movie_fragment", "split_at_keyframe"]

SYNC_SAMPLE: Final = 0x02000000  # depends on no other (8.8.3.1)
OTHER_SAMPLE: Final = 0x01010000  # depends on others; is no sync sample
DEFAULT_BASE_IS_MOOF: Final = 0x020000
TRUN_FLAGS: Final = 0x000F01  # Data offset; duration, size, flags and composition offset.
UINT32_MAX: Final = (1 << 32) - 1
INT32_MAX: Final = (1 << 31) - 1

TS_PACKET: Final = 188
PAT_PID: Final = 0


def movie_fragment(
    sequence: int,
    track_id: int,
    data: bytes,
    *,
    dts: int,
    offset: int,
    duration: int,
    is_sync: bool,
) -> bytes:
    """Return moof and mdat of one sample; dts, offset (pts - dts) and duration in its timescale."""
    flags = SYNC_SAMPLE if is_sync else OTHER_SAMPLE
    duration, offset = min(duration, UINT32_MAX), min(offset, INT32_MAX)
    mfhd = _box(b"mfhd", struct.pack(">II", 0, sequence & UINT32_MAX))
    tfhd = _box(b"tfhd", struct.pack(">II", DEFAULT_BASE_IS_MOOF, track_id))
    tfdt = _box(b"tfdt", struct.pack(">IQ", 1 << 24, dts))
    trun_size = 8 + 12 + 16
    moof_size = 8 + len(mfhd) + 8 + len(tfhd) + len(tfdt) + trun_size
    trun = _box(
        b"trun",
        struct.pack(
            ">IIIIIIi",
            1 << 24 | TRUN_FLAGS,
            1,
            moof_size + 8,
            duration,
            len(data),
            flags,
            offset,
        ),
    )
    return _box(b"moof", mfhd + _box(b"traf", tfhd + tfdt + trun)) + _box(b"mdat", data)


def split_at_keyframe(data: bytes, pid: int) -> tuple[bytes, bytes]:
    """Cut MPEG-TS in front of the tables that lead in a random access point of `pid`.

    Returns what comes before, and what begins with the key frame (empty if there is none).
    """
    tables_at = 0
    for at in range(0, len(data) - TS_PACKET + 1, TS_PACKET):
        packet_pid = (data[at + 1] & 0x1F) << 8 | data[at + 2]
        if packet_pid == PAT_PID:
            tables_at = at
        has_adaptation = data[at + 3] & 0x20 and data[at + 4] > 0
        if packet_pid == pid and has_adaptation and data[at + 5] & 0x40:
            return data[:tables_at], data[tables_at:]
    return data, b""


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body
