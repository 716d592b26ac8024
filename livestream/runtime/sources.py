"""What names a torrent on the command line, read: a file, a URL, a magnet, an info-hash."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import aiohttp

from livestream.discovery.reach import Purpose
from livestream.errors import MetainfoError, NetworkError, UsageError
from livestream.runtime.web import WebClient
from livestream.torrent.magnet import Magnet, is_magnet
from livestream.torrent.metainfo import METADATA_BYTES_MAX, Metainfo

__all__ = ["is_from_internet", "read_torrent"]

FETCH_TIMEOUT_S: Final = 30
URL_PREFIXES: Final = ("http://", "https://")


def is_from_internet(source: str) -> bool:
    """Whether a stranger may have written what is there: a magnet or a URL, but no file."""
    return is_magnet(source) or source.startswith(URL_PREFIXES)


async def read_torrent(source: str) -> Metainfo | Magnet:
    """Read what names a torrent: a file, a magnet, an info-hash or a URL.

    Raises:
        MetainfoError: it is not one.
        UsageError: there is no such file.
        NetworkError: the URL does not answer.
    """
    if is_magnet(source):
        return Magnet.parse(source)
    if source.startswith("magnet:"):
        raise UsageError(f"{source[:80]} names no torrent: urn:btih: or urn:btmh: is missing.")
    data = await (
        _fetch(source)
        if source.startswith(URL_PREFIXES)
        else asyncio.to_thread(_read_file, Path(source))
    )
    try:
        return await asyncio.to_thread(Metainfo.parse, data)
    except MetainfoError as error:
        raise MetainfoError(f"{source}: {error}") from error


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > METADATA_BYTES_MAX:
            raise MetainfoError(f"{path}: too large to be a .torrent file.")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}. Give a .torrent file, a magnet link or a URL."
        ) from error


async def _fetch(url: str) -> bytes:
    """Get what a URL of the user's leads to; a server out there may not redirect to inside."""
    web = WebClient(Purpose.WEB_SEED, aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S))
    try:
        reply = await web.get(url, is_trusted=True, bytes_max=METADATA_BYTES_MAX)
    except NetworkError as error:
        raise NetworkError(f"{url} cannot be fetched: {error}. Check the address.") from error
    finally:
        await web.close()
    if reply.status != 200:
        raise NetworkError(
            f"{url} cannot be fetched: HTTP status {reply.status}. Check the address."
        )
    return reply.body
