"""Movie fragments box by box, and where a transport stream can be joined."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from viewer.moof import TS_PACKET, movie_fragment, split_at_keyframe

LEAD_PID = 0x100


def boxes(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    while data:
        size = int.from_bytes(data[:4], "big")
        assert 8 <= size <= len(data)
        found[data[4:8]] = data[8:size]
        data = data[size:]
    return found


@given(
    data=st.binary(max_size=99),
    dts=st.integers(0, 2**63),
    offset=st.integers(0, 2**40),
    duration=st.integers(0, 2**40),
    is_sync=st.booleans(),
)
def test_the_run_points_at_the_samples_bytes(
    data: bytes, dts: int, offset: int, duration: int, *, is_sync: bool
) -> None:
    whole = movie_fragment(
        2**32 + 7, 2, data, dts=dts, offset=offset, duration=duration, is_sync=is_sync
    )
    outer = boxes(whole)
    inner = boxes(outer[b"moof"])
    track = boxes(inner[b"traf"])
    assert inner[b"mfhd"][4:] == (7).to_bytes(4, "big")
    assert track[b"tfdt"] == struct.pack(">IQ", 1 << 24, dts)
    _, count, at, ticks, size, flags, shift = struct.unpack(">IIIIIIi", track[b"trun"])
    assert count == 1
    assert whole[at : at + size] == data == outer[b"mdat"]
    assert ticks == min(duration, 2**32 - 1)
    assert shift == min(offset, 2**31 - 1)
    assert bool(flags & 0x10000) is not is_sync  # sample_is_non_sync_sample


def packet(pid: int, *, is_random_access: bool = False) -> bytes:
    adaptation = bytes((1, 0x40)) if is_random_access else b""
    control = 0x30 if adaptation else 0x10
    head = bytes((0x47, pid >> 8, pid & 0xFF, control)) + adaptation
    return head.ljust(TS_PACKET, b"\xff")


def test_the_cut_is_in_front_of_the_tables_of_a_key_frame() -> None:
    before = packet(LEAD_PID) + packet(0x101, is_random_access=True)
    start = packet(0) + packet(0x1000) + packet(LEAD_PID, is_random_access=True) + packet(0x101)
    assert split_at_keyframe(before + start, LEAD_PID) == (before, start)


def test_without_a_key_frame_nothing_is_a_start() -> None:
    data = packet(0) + packet(LEAD_PID) + packet(0x101, is_random_access=True)
    assert split_at_keyframe(data, LEAD_PID) == (data, b"")
