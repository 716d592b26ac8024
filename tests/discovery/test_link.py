"""Channel links: what goes in comes out, and junk is a clear error."""

from __future__ import annotations

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
        "",
        "magnet:?xs=urn:btpk:" + "ab" * 32 + "&tr=x" * 20_000,
    ],
)
def test_junk_is_a_clear_error(text: str) -> None:
    with pytest.raises(UserError):
        ChannelLink.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_link_or_a_clear_error(text: str) -> None:
    for candidate in (text, "magnet:?" + text, f"magnet:?xs=urn:btpk:{KEY.hex()}&{text}"):
        try:
            ChannelLink.parse(candidate)
        except UserError:
            continue
