"""Hash messages of BEP 52: what goes out comes back, and nothing else gets in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.wire import messages
from livestream.wire.hashes import HASHES_MAX, Hashes, HashReject, HashRequest

u32 = st.integers(0, 0xFFFFFFFF)
root = st.binary(min_size=32, max_size=32)
requests = st.builds(HashRequest, root, u32, u32, u32, u32)
hashes = st.builds(
    Hashes,
    requests,
    st.integers(0, 9).flatmap(lambda n: st.binary(min_size=32 * n, max_size=32 * n)),
)


@given(st.one_of(requests, st.builds(HashReject, root, u32, u32, u32, u32), hashes))
def test_every_message_survives_the_wire(message: messages.Message) -> None:
    assert messages.parse(message.to_bytes()) == message


@given(st.sampled_from([21, 22, 23]), st.binary(max_size=150))
def test_any_bytes_are_a_message_or_refused(kind: int, body: bytes) -> None:
    data = bytes((kind,)) + body
    try:
        message = messages.parse(data)
    except MessageDecodeError:
        return
    assert message is not None
    assert message.to_bytes() == data


def test_they_are_laid_out_as_in_bep_52() -> None:
    request = HashRequest(b"r" * 32, 1, 2, 3, 4)
    numbers = bytes.fromhex("00000001000000020000000300000004")
    assert request.to_bytes() == b"\x15" + b"r" * 32 + numbers
    assert Hashes(request, b"h" * 64).to_bytes() == b"\x16" + b"r" * 32 + numbers + b"h" * 64
    assert request.rejection.to_bytes() == b"\x17" + b"r" * 32 + numbers
    assert request.rejection.request == request


@pytest.mark.parametrize("size", [-1, 1, 31, 32 * (HASHES_MAX + 1)])
def test_parts_of_hashes_and_too_many_are_refused(size: int) -> None:
    body = Hashes(HashRequest(bytes(32), 0, 0, 2, 0), bytes(max(size, 0))).to_bytes()
    with pytest.raises(MessageDecodeError):
        messages.parse(body[:size] if size < 0 else body)
