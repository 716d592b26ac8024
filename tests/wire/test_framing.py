"""Framing: a stream cut anywhere gives the same messages, and none longer than the limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.wire.framing import MessageReader, frame
from livestream.wire.messages import HANDSHAKE_SIZE

HANDSHAKE = bytes(range(HANDSHAKE_SIZE))
MESSAGES = [b"\x01", b"\x04abcd", b"\x07" + bytes(40)]
STREAM = HANDSHAKE + b"".join(frame(message) for message in MESSAGES[:2])
STREAM += frame(b"") + frame(MESSAGES[2])  # A keep-alive among them.


def greeted(message_bytes_max: int) -> MessageReader:
    """One that has had the handshake."""
    reader = MessageReader(message_bytes_max)
    assert reader.receive(HANDSHAKE) == [HANDSHAKE]
    return reader


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_stream_cut_anywhere_gives_the_same_messages(cut: int) -> None:
    reader = MessageReader(100)
    got = reader.receive(STREAM[:cut])
    assert sum(map(len, got)) <= cut
    got += reader.receive(STREAM[cut:])
    assert got == [HANDSHAKE, *MESSAGES]
    assert len(reader) == 0


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=8), st.integers(1, 9))
def test_messages_come_back_however_the_bytes_arrive(messages: list[bytes], step: int) -> None:
    reader = greeted(30)
    data = b"".join(frame(message) for message in messages)
    got: list[bytes] = []
    for at in range(0, len(data), step):
        got += reader.receive(data[at : at + step])
        assert len(reader) < 4 + 30
    assert got == messages


def test_a_message_is_refused_by_its_length_before_it_is_here() -> None:
    reader = greeted(100)
    assert reader.receive(frame(bytes(100))) == [bytes(100)]
    with pytest.raises(MessageDecodeError):
        reader.receive((101).to_bytes(4, "big"))


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_length_that_fills_its_field_is_refused(length: int) -> None:
    with pytest.raises(MessageDecodeError):
        greeted(1 << 20).receive(length.to_bytes(4, "big") + b"x")
