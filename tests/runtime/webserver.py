"""A web server on loopback that has files, and can be told to behave badly."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class FileServer:
    """Serves the files below a folder, by ranges. Subclasses answer otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        "(path, Range) of each request."
        self.encodings: dict[str, None] = {}
        "Accept-Encoding of all of them."

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        data = self.data(request)
        if data is None:
            return web.Response(status=404)
        found = RANGE.fullmatch(request.headers.get("Range", ""))
        if found is None:
            return web.Response(body=data)
        first, last = int(found[1]), int(found[2])
        field = f"bytes {first}-{last}/{len(data)}"
        return web.Response(
            status=206, body=data[first : last + 1], headers={"Content-Range": field}
        )

    def data(self, request: web.Request) -> bytes | None:
        """Return the file that is asked for."""
        self.asked.append((request.path, request.headers.get("Range", "")))
        self.encodings[request.headers.get("Accept-Encoding", "")] = None
        path = self.folder / request.path.lstrip("/")
        return path.read_bytes() if path.is_file() else None


@asynccontextmanager
async def serving(server: FileServer) -> AsyncIterator[str]:
    """Run it; yields its URL, which ends in a slash."""
    application = web.Application()
    application.router.add_get("/{path:.*}", server.respond)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


class Answering(FileServer):
    """Answers everything with what a function says."""

    def __init__(self, folder: Path, answer: Callable[[web.Request], web.StreamResponse]) -> None:
        super().__init__(folder)
        self._answer = answer

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.data(request)
        return self._answer(request)
