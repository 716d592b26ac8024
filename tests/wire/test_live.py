"""Messages of the live extension: what goes out comes back, and nothing else gets in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.machine import Address
from livestream.wire import live
from livestream.wire.live import (
    PATH_MAX,
    ROOMS_MAX,
    SUBSTREAMS_MAX,
    WINDOW_BITS_MAX,
    Feed,
    Goodbye,
    HeadUpdate,
    LiveMessage,
    Refuse,
    Rooms,
    Status,
    Subscribe,
    Unsubscribe,
    WindowUpdate,
)


def _tagged(parts: tuple[int, bytes]) -> bytes:
    return bytes((parts[0],)) + parts[1]


u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
address = st.builds(
    Address, st.sampled_from(["192.0.2.1", "127.0.0.1", "2001:db8::1"]), st.integers(1, 65535)
)
anything: st.SearchStrategy[LiveMessage] = st.one_of(
    st.builds(HeadUpdate, st.binary(max_size=100)),
    st.builds(WindowUpdate, u32, u32, st.integers(0, (1 << 1000) - 1)),
    st.builds(Subscribe, u8, u32),
    st.builds(
        Feed,
        u8,
        u16,
        st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=16).map(tuple),
        st.one_of(st.none(), address),
    ),
    st.builds(Unsubscribe, u8),
    st.builds(Status, st.booleans(), u8, u8, u16, st.lists(u16, max_size=32).map(tuple)),
    st.builds(Goodbye, st.one_of(st.none(), address)),
)


@given(anything)
def test_every_message_survives_the_wire(message: LiveMessage) -> None:
    assert live.parse(message.to_bytes()) == message


@given(u8, st.lists(address, max_size=3, unique=True), u16)
def test_alternatives_and_notice_survive_the_wire(
    substream: int, others: list[Address], notice_ms: int
) -> None:
    parsed = live.parse(Refuse(substream, tuple(others), notice_ms).to_bytes())
    assert isinstance(parsed, Refuse)
    assert parsed.substream == substream
    assert parsed.notice_ms == notice_ms
    assert sorted(parsed.alternatives) == sorted(others)


@given(st.lists(st.tuples(u8, address), max_size=ROOMS_MAX))
def test_each_room_keeps_its_substream_on_the_wire(rooms: list[tuple[int, Address]]) -> None:
    """IPv4 addresses go before IPv6 ones, whatever the order was."""
    parsed = live.parse(Rooms(tuple(rooms)).to_bytes())
    assert isinstance(parsed, Rooms)
    assert list(parsed.rooms) == sorted(rooms, key=lambda room: ":" in room[1].host)


def test_of_too_many_rooms_the_first_are_told() -> None:
    rooms = tuple((number, Address("192.0.2.1", number + 1)) for number in range(ROOMS_MAX + 3))
    assert live.parse(Rooms(rooms).to_bytes()) == Rooms(rooms[:ROOMS_MAX])


@given(st.binary(max_size=64) | st.tuples(st.integers(0, 9), st.binary(max_size=60)).map(_tagged))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        message = live.parse(data)
    except MessageDecodeError:
        return
    if message is not None:
        assert live.parse(message.to_bytes()) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01" + bytes(8 + WINDOW_BITS_MAX // 8 + 1),
        b"\x02" + bytes(4),
        b"\x03" + bytes(3),
        b"\x03" + bytes(3 + 4 * (PATH_MAX + 1)),
        b"\x04\x00\x00\x00",
        b"\x04\x00\x00\x00\x01" + bytes(5),
        b"\x04\x00\x00\x00\x04" + 4 * (bytes(5) + b"\x01"),
        b"\x04\x00\x00\x00\x00" + 4 * (bytes(17) + b"\x01"),
        b"\x05",
        b"\x06" + bytes(5 + 2 * (SUBSTREAMS_MAX + 1)),
        b"\x07" + bytes(7),
        b"\x08",
        b"\x08\x00",
        b"\x08\x01\x00" + bytes(6) + b"\x01" + b"\x01",
        b"\x08\x01\x00" + bytes(5) + b"\x01",
        b"\x08\x00\x01" + bytes(7) + b"\x01",
        b"\x08\x01\x00" + bytes(7),
        b"\x08\x09\x00" + bytes(9) + 9 * (bytes(5) + b"\x01"),
        b"\x08\x08\x01" + bytes(9) + 8 * (bytes(5) + b"\x01") + bytes(17) + b"\x01",
    ],
    ids=range(20),
)
def test_what_is_too_long_or_too_short_is_refused(data: bytes) -> None:
    with pytest.raises(MessageDecodeError):
        live.parse(data)
