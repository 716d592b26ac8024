"""Channel links: what goes in comes out, and junk is a clear error."""

from __future__ import annotations

from base64 import b32encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.discovery.link import ChannelLink
from livestream.errors import UserError
from livestream.machine import Address

KEY = bytes(range(32))


def test_a_link_comes_back_as_it_was() -> None:
    link = ChannelLink(
        KEY, "my show & more", ("http://t:1/announce?a=1&b=2",), (Address("192.0.2.1", 7),)
    )
    assert ChannelLink.parse(str(link)) == link


def test_a_bare_key_is_a_link() -> None:
    assert ChannelLink.parse(KEY.hex()).public_key == KEY


@pytest.mark.parametrize(
    "text",
    [
        "magnet:?xs=urn:btpk:1234",
        "magnet:?xs=urn:btpk:" + "zz" * 32,
        "magnet:?dn=x",
        "ab" * 31,
        "ab " * 20 + "abab",
        "magnet:?xs=urn:btpk:" + "ab" * 32 + "&tr=http://[x",
        "magnet:?xs=urn:btpk:" + "ab" * 32 + "&tr=udp://t:99999",
        "magnet:?xs=urn:btpk:" + "ab" * 32 + "&tr=http:///announce",
        "magnet:?xs=urn:btpk:" + "ab" * 32 + "&tr=file:///etc/passwd",
        "magnet:?xs=urn:btpk:" + "ab" * 32 + "&x.pe=192.0.2.1:0",
        "magnet:?xs=urn:btpk:" + "ab" * 32 + "&x.pe=192.0.2.1:65536",
        "magnet:?xs=urn:btpk:" + "ab" * 32 + "&x.pe=192.0.2.1:\N{SUPERSCRIPT TWO}",
        "magnet:?xs=urn:btpk:" + "ab" * 32 + "&xs=urn:btpk:" + "cd" * 32,
        "",
        "magnet:?xs=urn:btpk:" + "ab" * 32 + "&tr=x" * 20_000,
    ],
)
def test_junk_is_a_clear_error(text: str) -> None:
    with pytest.raises(UserError):
        ChannelLink.parse(text)


def test_a_key_in_base32_is_the_same_key() -> None:
    text = b32encode(KEY).decode().rstrip("=")
    assert ChannelLink.parse(text.lower()) == ChannelLink.parse(KEY.hex())


def test_a_name_cannot_write_escape_sequences_to_a_terminal() -> None:
    text = f"magnet:?xs=urn:btpk:{KEY.hex()}&dn=%1B%5D0%3Bevil%07%0Ashow"
    assert ChannelLink.parse(text).name == "]0;evilshow"


def test_what_a_link_carries_is_bounded() -> None:
    many = "&tr=http%3A%2F%2Ft" * 100 + "&x.pe=192.0.2.1:7" * 100 + "&dn=" + "x" * 1_000
    link = ChannelLink.parse(f"magnet:?xs=urn:btpk:{KEY.hex()}{many}")
    assert (len(link.trackers), len(link.peers), len(link.name)) == (20, 50, 200)


@given(st.text(max_size=80))
def test_any_text_is_a_link_or_a_clear_error(text: str) -> None:
    for candidate in (text, "magnet:?" + text, f"magnet:?xs=urn:btpk:{KEY.hex()}&{text}"):
        try:
            ChannelLink.parse(candidate)
        except UserError:
            continue
