"""Magnets: both hashes, what goes with them, and junk."""

from __future__ import annotations

import pytest

from livestream.errors import MetainfoError
from livestream.machine import Address
from livestream.torrent.magnet import Magnet, is_magnet

V1 = bytes(range(20))
V2 = bytes(range(32))


def test_a_magnet_comes_back_as_it_was() -> None:
    magnet = Magnet(
        V1, V2, "a name", ("http://t/announce?x=1&y=2",), ("http://w/",), (Address("::1", 5),)
    )
    parsed = Magnet.parse(str(magnet))
    assert parsed == magnet
    assert parsed.info_hash == V1


def test_base32_and_bare_hex_name_the_same_torrent() -> None:
    link = "magnet:?xt=urn:btih:AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT"
    assert Magnet.parse(link).info_hash_v1 == V1
    assert Magnet.parse(V1.hex()).info_hash_v1 == V1


def test_selected_files_are_ranges() -> None:
    magnet = Magnet.parse(f"magnet:?xt=urn:btih:{V1.hex()}&so=0,2-4")
    assert magnet.wanted == frozenset({0, 2, 3, 4})


@pytest.mark.parametrize(
    "text",
    [
        "magnet:?dn=x",
        "magnet:?xt=urn:btih:zz",
        "magnet:?xt=urn:btih:" + "1" * 32,
        "http://x/",
        "magnet:?xt=urn:btih:" + "ab" * 20 + "&so=4-2",
        "magnet:?xt=urn:btih:" + "ab" * 20 + "&so=0-99999999999",
        "magnet:?" + "x" * 40_000,
    ],
)
def test_junk_is_a_clear_error(text: str) -> None:
    with pytest.raises(MetainfoError):
        Magnet.parse(text)


def test_a_channels_link_is_no_torrents() -> None:
    assert not is_magnet("magnet:?xs=urn:btpk:" + "ab" * 32)
    assert is_magnet(V1.hex())
