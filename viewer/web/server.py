"""The local page's server (aiohttp): one page, its API, and nothing from anywhere else."""

from __future__ import annotations

import asyncio
import errno
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

from aiohttp import web

from livestream.errors import NetworkError
from livestream.runtime.address import reachable_host
from viewer.web.guard import Guard

__all__ = ["HEADERS", "Page", "WebServer"]

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATIC: Final = Path(__file__).parent / "static"
PORT_TRIES: Final = 20
REQUEST_BYTES_MAX: Final = 512  # A number; nothing deep enough for JSON's recursion.
EVENT_S: Final = 1.0
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; media-src blob: 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
ROUTES: Final = {
    "GET /": "the page",
    "GET /api/v1/events": "counters and peers, once a second (SSE)",
    "GET /healthz": "ok",
}


class Page(ABC):
    """What a server shows: a document, and routes of its own."""

    document: ClassVar[str]
    "The file of `/` in the static folder."
    routes: ClassVar[Mapping[str, str]]
    "What the routes of its own are for."

    @abstractmethod
    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of its own."""

    @abstractmethod
    def about(self) -> dict[str, object]:
        """Return what `/api/v1` says beside the routes."""

    @abstractmethod
    def news(self) -> dict[str, object]:
        """Return what the page is told once a second."""


class WebServer:
    """Serves one page on a port, to this machine or to those with a token."""

    def __init__(self, page: Page, host: str, port: int, *, is_port_explicit: bool) -> None:
        self._page = page
        self._host = host
        self._port = port
        self._is_port_explicit = is_port_explicit
        self._runner: web.AppRunner | None = None
        self._guard = Guard(host)

    async def start(self) -> str:
        """Listen and return the page's URL, with its token if it has one. Raises NetworkError."""
        app = web.Application(middlewares=[self._admit], client_max_size=REQUEST_BYTES_MAX)
        app.router.add_get("/", self._document)
        app.router.add_get("/api/v1", self._index)
        app.router.add_get("/api/v1/events", self._events)
        app.router.add_get("/healthz", self._healthz)
        self._page.add_routes(app.router)
        app.router.add_static("/static", STATIC)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True
        )
        await self._runner.setup()
        tries = 1 if self._is_port_explicit or not self._port else PORT_TRIES
        for port in range(self._port, self._port + tries):
            try:
                await web.TCPSite(self._runner, self._host, port).start()
            except OSError as error:
                failure = error
                if error.errno != errno.EADDRINUSE:
                    break
            else:
                return self._url(self._runner.addresses[0][1])
        await self.stop()
        raise NetworkError(
            f"The page cannot be served on {self._host}:{self._port} ({failure.strerror}). "
            "Choose another port with --http HOST:PORT."
        )

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _url(self, port: int) -> str:
        host = reachable_host(self._host)
        query = f"?token={self._guard.token}" if self._guard.token else ""
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/{query}"

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._guard.check(request)
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _document(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / self._page.document)

    async def _index(self, request: web.Request) -> web.Response:
        return web.json_response({"routes": {**ROUTES, **self._page.routes}, **self._page.about()})

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        with suppress(ConnectionResetError):
            await response.prepare(request)
            while True:
                await response.write(f"data: {json.dumps(self._page.news())}\n\n".encode())
                await asyncio.sleep(EVENT_S)
        return response
