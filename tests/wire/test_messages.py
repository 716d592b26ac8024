"""Peer wire messages: what goes out comes back, and nothing else gets in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.wire import messages
from livestream.wire.messages import (
    AllowedFast,
    Bitfield,
    Cancel,
    Choke,
    Extended,
    Handshake,
    Have,
    HaveAll,
    HaveNone,
    Interested,
    Message,
    NotInterested,
    Piece,
    Reject,
    Request,
    Suggest,
    Unchoke,
)


def _tagged(parts: tuple[int, bytes]) -> bytes:
    return bytes((parts[0],)) + parts[1]


u32 = st.integers(0, 0xFFFFFFFF)
anything: st.SearchStrategy[Message] = st.one_of(
    st.sampled_from([Choke(), Unchoke(), Interested(), NotInterested(), HaveAll(), HaveNone()]),
    st.builds(Have, u32),
    st.builds(Suggest, u32),
    st.builds(AllowedFast, u32),
    st.builds(Bitfield, st.binary(max_size=40)),
    st.builds(Request, u32, u32, u32),
    st.builds(Cancel, u32, u32, u32),
    st.builds(Reject, u32, u32, u32),
    st.builds(Piece, u32, u32, st.binary(max_size=40)),
    st.builds(Extended, st.integers(0, 255), st.binary(max_size=40)),
)


@given(anything)
def test_every_message_survives_the_wire(message: Message) -> None:
    assert messages.parse(message.to_bytes()) == message


@given(st.binary(max_size=64) | st.tuples(st.integers(0, 24), st.binary(max_size=20)).map(_tagged))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        message = messages.parse(data)
    except MessageDecodeError:
        return
    assert message is None or message.to_bytes() == data


def test_unknown_ids_are_ignored_as_bep_3_asks() -> None:
    assert messages.parse(b"\xfe anything") is None


def test_request_is_laid_out_as_in_bep_3() -> None:
    assert Request(1, 2, 16384).to_bytes() == bytes.fromhex("06000000010000000200004000")


def test_handshake_is_laid_out_as_in_bep_3_and_offers_bep_10() -> None:
    data = Handshake(b"h" * 20, b"p" * 20).to_bytes()
    assert data[:20] == b"\x13BitTorrent protocol"
    assert data[25] & 0x10
    assert data[28:48] == b"h" * 20
    assert Handshake.parse(data) == Handshake(b"h" * 20, b"p" * 20)
    assert Handshake.parse(data).has_extended


@pytest.mark.parametrize("data", [b"", b"\x13BitTorrent protocol", b"\x12" + b"x" * 67])
def test_what_is_no_handshake_is_refused(data: bytes) -> None:
    with pytest.raises(MessageDecodeError):
        Handshake.parse(data)
