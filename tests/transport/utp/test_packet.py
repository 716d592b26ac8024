"""µTP's packets: what we write is what we read, and no bytes raise anything unexpected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.transport.utp.packet import (
    HEADER_BYTES,
    SACK_BYTES_MAX,
    Packet,
    PacketType,
    is_utp,
    parse_packet,
    sack_field,
    unwrap,
)

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
SACK_BITS = 8 * SACK_BYTES_MAX

packets = st.builds(
    Packet,
    type=st.sampled_from(PacketType),
    connection_id=U16,
    timestamp=U32,
    difference=U32,
    window=U32,
    seq=U16,
    ack=U16,
    sack=st.integers(0, (1 << SACK_BITS) - 1),
    payload=st.binary(max_size=60),
)


@given(packets)
def test_a_packet_is_read_as_it_was_written(packet: Packet) -> None:
    data = packet.to_bytes()
    assert is_utp(data)
    again = parse_packet(data)
    assert bytes(again.payload) == packet.payload
    again.payload = packet.payload
    assert again == packet


@given(packets, st.integers(1, 1 << 40), st.integers(1, 1 << 40))
def test_numbers_and_times_are_cut_to_what_the_wire_has(packet: Packet, more: int, us: int) -> None:
    packet.timestamp, packet.difference = us, -us
    packet.seq, packet.ack = more, more - 1
    again = parse_packet(packet.to_bytes())
    assert (again.timestamp, again.difference) == (us % (1 << 32), -us % (1 << 32))
    assert (again.seq, again.ack) == (more % (1 << 16), (more - 1) % (1 << 16))


def test_the_header_is_what_bep_29_draws() -> None:
    packet = Packet(PacketType.STATE, 0x1234, 0x01020304, 0x05060708, 0x0A0B, 0x0C0D, 0x0E0F, 0b101)
    assert packet.to_bytes().hex(" ") == (
        "21 01 12 34 01 02 03 04 05 06 07 08 00 00 0a 0b 0c 0d 0e 0f 00 04 05 00 00 00"
    )


def _read(data: bytes) -> Packet | None:
    try:
        return parse_packet(data)
    except MessageDecodeError:
        return None


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_are_refused(data: bytes) -> None:
    _read(data)


@given(st.integers(0, 255), st.integers(0, 255), st.binary(min_size=18, max_size=300))
def test_whatever_begins_like_a_packet_is_one_or_is_refused(
    first: int, extension: int, rest: bytes
) -> None:
    packet = _read(bytes((first, extension)) + rest)
    if packet is not None:
        assert first & 15 == 1
        assert len(packet.payload) <= len(rest) + 2 - HEADER_BYTES


@given(packets, st.data())
def test_a_packet_cut_short_is_refused_or_has_less_payload(
    packet: Packet, data: st.DataObject
) -> None:
    whole = packet.to_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    again = _read(whole[:cut])
    if cut < len(whole) - len(packet.payload):
        assert again is None
    else:
        assert again is not None
        assert bytes(again.payload) == packet.payload[: cut - len(whole) + len(packet.payload)]


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_up_to_four_extensions_are_read(count: int) -> None:
    data = bytearray(Packet(PacketType.DATA, 1, 2, 3, 4, 5, 6).to_bytes())
    data[1] = 9 if count else 0
    for left in range(count - 1, -1, -1):
        data += bytes((9 if left else 0, 3)) + b"abc"
    assert bytes(parse_packet(bytes(data + b"payload")).payload) == b"payload"


def test_a_longer_chain_of_extensions_is_refused() -> None:
    data = bytearray(Packet(PacketType.DATA, 1, 2, 3, 4, 5, 6).to_bytes())
    data[1] = 9
    with pytest.raises(MessageDecodeError):
        parse_packet(bytes(data) + b"\x09\x00" * 200 + b"\x00\x00")


@given(st.integers(1, (1 << (SACK_BITS + 40)) - 1))
def test_a_selective_acknowledgement_is_a_multiple_of_four_bytes_and_bounded(sack: int) -> None:
    field = sack_field(sack)
    assert field[0] == 0
    assert field[1] == len(field) - 2 <= SACK_BYTES_MAX
    assert field[1] % 4 == 0
    assert int.from_bytes(field[2:], "little") == sack % (1 << SACK_BITS)


@given(st.integers(0, 1 << 40), st.integers(-0x8000, 0x7FFF))
def test_a_number_is_found_again_near_where_it_was(near: int, away: int) -> None:
    assert unwrap((near + away) & 0xFFFF, near) == near + away
