"""Addresses as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import NetworkError, UsageError
from livestream.machine import Address
from livestream.runtime.address import parse_address, resolve


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7000", Address("127.0.0.1", 7000)),
        ("[::1]:7000", Address("::1", 7000)),
        (":7000", Address("0.0.0.0", 7000)),  # noqa: S104
        ("tv.example:0", Address("tv.example", 0)),
    ],
)
def test_host_and_port_are_told_apart(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", "host:x", "host:-1", "host:65536", "host:7 ", "host:\N{SUPERSCRIPT TWO}"],
)
def test_what_is_no_host_and_port_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    for candidate in (text, text + ":1", "host:" + text):
        try:
            parse_address(candidate)
        except UsageError:
            continue


def test_a_name_with_both_families_resolves_to_the_one_that_every_socket_reaches() -> None:
    assert resolve(Address("localhost", 7)) == Address("127.0.0.1", 7)


@pytest.mark.parametrize("host", ["a" * 70, "a..b", "a\0b"])
def test_a_name_that_cannot_be_is_a_network_error(host: str) -> None:
    with pytest.raises(NetworkError):
        resolve(Address(host, 7))
