"""Messages of the live extension: what goes out comes back, and nothing else gets in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.machine import Address
from livestream.wire import live
from livestream.wire.live import (
    Feed,
    Goodbye,
    HeadUpdate,
    LiveMessage,
    Refuse,
    Status,
    Subscribe,
    Unsubscribe,
    WindowUpdate,
)

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
    ),
    st.builds(Unsubscribe, u8),
    st.builds(Status, st.booleans(), u8, u8, u16, st.lists(u16, max_size=32).map(tuple)),
    st.builds(Goodbye, st.one_of(st.none(), address)),
)


@given(anything)
def test_every_message_survives_the_wire(message: LiveMessage) -> None:
    assert live.parse(message.to_bytes()) == message


@given(u8, st.lists(address, max_size=3, unique=True))
def test_alternatives_survive_the_wire(substream: int, others: list[Address]) -> None:
    parsed = live.parse(Refuse(substream, tuple(others)).to_bytes())
    assert isinstance(parsed, Refuse)
    assert parsed.substream == substream
    assert sorted(parsed.alternatives) == sorted(others)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        live.parse(data)
    except MessageDecodeError:
        return
