"""A torrent's page: plays its files while they download, with HTTP ranges (RFC 9110 §14)."""

from __future__ import annotations

import mimetypes
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import ClassVar, Final

from aiohttp import web

from livestream.errors import DiskError, NotFoundError
from livestream.runtime.playback import Playback
from viewer.web.server import HEADERS, Page

__all__ = ["TorrentPage", "TorrentView"]

READERS_MAX: Final = 32  # A player opens a few; each holds a piece in memory.


class TorrentView(ABC):
    """What the page may see of torrents under way."""

    @abstractmethod
    def find(self, info_hash: str) -> Playback | None:
        """Return the torrent with this info-hash in hex, or None."""

    @abstractmethod
    def about(self) -> dict[str, object]:
        """Return the torrents and their files."""

    @abstractmethod
    def stats(self) -> Mapping[str, float | int | str]:
        """Return the counters of `--stats`."""

    @abstractmethod
    def peers(self) -> list[dict[str, str | int | float]]:
        """Return a row for every peer."""


class TorrentPage(Page):
    """Serves the files of torrents."""

    document = "torrent.html"
    routes: ClassVar[Mapping[str, str]] = {
        "GET /t/{info-hash}/stream/{file}": "a file as it comes in; ranges",
    }

    def __init__(self, view: TorrentView) -> None:
        self._view = view
        self._readers = 0

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of torrents; GET answers HEAD too."""
        router.add_get(r"/t/{id}/stream/{file:\d{1,6}}", self._stream)

    def about(self) -> dict[str, object]:
        """Return the torrents and their files."""
        return self._view.about()

    def news(self) -> dict[str, object]:
        """Return counters and peers."""
        return {"stats": dict(self._view.stats()), "peers": self._view.peers()}

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        playback = self._view.find(request.match_info["id"])
        if playback is None:
            raise web.HTTPNotFound(text="No such torrent here.\n")
        try:
            entry = playback.file(int(request.match_info["file"]))
        except NotFoundError as error:
            raise web.HTTPNotFound(text=f"{error}\n") from error
        start, stop, is_partial = _range(request, entry.length)
        headers = {
            **HEADERS,
            "Content-Type": _media_type(entry.path[-1]),
            "Accept-Ranges": "bytes",
            "Content-Length": str(stop - start),
        }
        if is_partial:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{entry.length}"
        response = web.StreamResponse(status=206 if is_partial else 200, headers=headers)
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        if self._readers >= READERS_MAX:
            raise web.HTTPServiceUnavailable(text="Too many readers. Close some.\n")
        self._readers += 1
        try:
            # A reader leaves as readers do; data that was lost ends the response short.
            with suppress(ConnectionError, DiskError):
                await response.prepare(request)
                await self._write(response, playback, entry.offset + start, entry.offset + stop)
        finally:
            self._readers -= 1
        return response

    async def _write(
        self, response: web.StreamResponse, playback: Playback, start: int, stop: int
    ) -> None:
        async with aclosing(playback.read(start, stop)) as parts:
            async for part in parts:
                await response.write(part)


def _media_type(name: str) -> str:
    """Return a type that no browser runs: a stranger's page or script would act as ours."""
    kind = mimetypes.guess_type(name)[0] or ""
    return kind if kind.startswith(("audio/", "video/")) else "application/octet-stream"


def _range(request: web.Request, length: int) -> tuple[int, int, bool]:
    """Return the first byte, the one after the last, and whether a range was asked for."""
    try:
        asked = request.http_range
    except ValueError:
        return 0, length, False  # RFC 9110: a Range that cannot be understood is ignored.
    if asked.start is None and asked.stop is None:
        return 0, length, False
    start, stop, _ = asked.indices(length)
    if start >= stop:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{length}"})
    return start, stop, True
