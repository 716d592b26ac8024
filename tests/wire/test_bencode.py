"""Bencode: round trips, and every way in which bytes can be wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.wire.bencode import (
    DEPTH_MAX,
    Value,
    decode,
    decode_prefix,
    decode_with_span,
    encode,
)

VALUES = st.recursive(
    st.integers(-(1 << 63), 1 << 63) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_was_encoded_is_decoded(value: Value) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=60))
def test_bytes_are_decoded_to_what_encodes_to_them_or_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except MessageDecodeError:
        return
    assert encode(value) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i",
        b"ie",
        b"i-0e",
        b"i03e",
        b"i1",
        b"i99999999999999999999999999999999e",
        b"3:ab",
        b"-1:a",
        b"01:a",
        b"99999999999999999999:a",
        b"l",
        b"d",
        b"d1:ae",
        b"di1e1:ae",
        b"d1:ai1e1:ai2ee",
        b"d1:bi1e1:ai2ee",
        b"i1ei2e",
        b"e",
        b"x",
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MessageDecodeError):
        decode(data)


def test_depth_is_a_limit_and_never_a_crash() -> None:
    assert decode(b"l" * DEPTH_MAX + b"e" * DEPTH_MAX)
    with pytest.raises(MessageDecodeError):
        decode(b"l" * 200_000 + b"e" * 200_000)


def test_the_span_is_of_the_bytes_as_they_stand_even_out_of_order() -> None:
    data = b"d4:infod1:bi1e1:ai2ee8:announce3:urle"
    value, span = decode_with_span(data, b"info")
    assert span is not None
    assert data[span[0] : span[1]] == b"d1:bi1e1:ai2ee"
    assert value == {b"info": {b"b": 1, b"a": 2}, b"announce": b"url"}
    assert decode_with_span(b"d1:xd4:infoi1eee", b"info")[1] is None


def test_a_prefix_ends_where_its_value_ends() -> None:
    assert decode_prefix(b"d1:ai1eeREST") == ({b"a": 1}, 8)
