"""What names a torrent: files and URLs, and what is none of them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from livestream.errors import MetainfoError, NetworkError, UsageError
from livestream.runtime.sources import read_torrent
from livestream.torrent.create import Version
from livestream.torrent.metainfo import METADATA_BYTES_MAX, Metainfo
from tests.interop.peers import make_data, make_torrent
from tests.runtime.webserver import Answering, serving


@pytest.fixture
def torrent(tmp_path: Path) -> bytes:
    return make_torrent(make_data(tmp_path / "data"), Version.HYBRID)


def fetch(folder: Path, answer: Callable[[web.Request], web.StreamResponse]) -> str | Metainfo:
    """Read a torrent from a server that answers so; returns it, or the error's words."""

    async def main() -> str | Metainfo:
        async with serving(Answering(folder, answer)) as url:
            try:
                found = await read_torrent(f"{url}x.torrent")
            except (NetworkError, MetainfoError) as error:
                return f"{type(error).__name__} {error}".replace(url, "URL/")
            assert isinstance(found, Metainfo)
            return found

    return asyncio.run(main())


def info_of(found: str | Metainfo) -> bytes:
    assert isinstance(found, Metainfo), found
    return found.info


def test_a_torrent_comes_from_a_url_of_this_network_too(tmp_path: Path, torrent: bytes) -> None:
    known = Metainfo.parse(torrent)
    found = fetch(tmp_path, lambda request: web.Response(body=torrent))
    assert info_of(found) == known.info
    packed = web.Response(body=gzip.compress(torrent), headers={"Content-Encoding": "gzip"})
    assert info_of(fetch(tmp_path, lambda request: packed)) == known.info


def test_redirects_are_followed(tmp_path: Path, torrent: bytes) -> None:
    def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/x.torrent":
            return web.Response(status=302, headers={"Location": "/there"})
        return web.Response(body=torrent)

    assert info_of(fetch(tmp_path, answer)) == Metainfo.parse(torrent).info


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda request: web.Response(status=404, body=b"d4:infoe"),
            "NetworkError HTTP status 404",
        ),
        (lambda request: web.Response(body=b"<html>"), "MetainfoError "),
        (
            lambda request: web.Response(status=302, headers={"Location": "/x.torrent"}),
            "NetworkError more than 5 redirects",
        ),
        (
            lambda request: web.Response(status=302, headers={"Location": "file:///etc/passwd"}),
            "NetworkError no web address",
        ),
        (
            lambda request: web.Response(
                body=gzip.compress(bytes(METADATA_BYTES_MAX + 1)),
                headers={"Content-Encoding": "gzip"},
            ),
            "NetworkError more than 31,457,280 bytes",
        ),
    ],
    ids=["404", "junk", "loop", "file", "bomb"],
)
def test_what_is_no_torrent_is_said_so_with_its_url(
    tmp_path: Path, answer: Callable[[web.Request], web.StreamResponse], words: str
) -> None:
    found = fetch(tmp_path, answer)
    assert isinstance(found, str)
    kind, _, reason = words.partition(" ")
    assert found.startswith(kind)
    assert "URL/x.torrent" in found
    assert reason in found


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(NetworkError, match=r"http://127.0.0.1:9/x .*refused"):
        asyncio.run(read_torrent("http://127.0.0.1:9/x"))


def test_a_folder_and_a_magnet_of_nothing_are_usage_errors(tmp_path: Path) -> None:
    for source in (str(tmp_path), "magnet:?dn=x"):
        with pytest.raises(UsageError):
            asyncio.run(read_torrent(source))
