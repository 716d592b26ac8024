"""The local page (aiohttp): picture, statistics, and nothing from anywhere else."""

from __future__ import annotations

import asyncio
import errno
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final, TypeAlias

from aiohttp import web

from livestream.errors import MediaError, NetworkError
from livestream.media.sample import Track, TrackKind
from livestream.runtime.address import reachable_host
from viewer.h264 import avcc_of
from viewer.outlet import Outlet
from viewer.remuxer import Container
from viewer.web.guard import Guard

__all__ = ["ChannelView", "WebServer", "mime_type"]

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATIC: Final = Path(__file__).parent / "static"
PORT_TRIES: Final = 20
REQUEST_BYTES_MAX: Final = 512  # A number; nothing deep enough for JSON's recursion.
EVENT_S: Final = 1.0
LATENCY_MIN_S: Final = 0.2
LATENCY_MAX_S: Final = 30.0
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
    "GET /c/{id}/live.mp4": "the picture, fragmented MP4",
    "GET /c/{id}/live.ts": "the picture, MPEG-TS",
    "GET /c/{id}/stats": "counters, as --stats",
    "GET /api/v1/events": "counters and peers, once a second (SSE)",
    "POST /api/v1/latency": '{"seconds": 1.0}: how far behind the capture to play',
    "GET /healthz": "ok",
}


class ChannelView(ABC):
    """What the page may see of a session."""

    @property
    @abstractmethod
    def channel_id(self) -> str:
        """The channel's key in hex."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The channel's name."""

    @property
    @abstractmethod
    def link(self) -> str:
        """What to give to friends."""

    @property
    @abstractmethod
    def tracks(self) -> tuple[Track, ...]:
        """The tracks of the channel; empty before it is found."""

    @abstractmethod
    def outlet(self, container: Container) -> Outlet:
        """Return where the picture comes out in this container."""

    @abstractmethod
    def stats(self) -> Mapping[str, float | int | str]:
        """Return the counters of `--stats`, the target, and why the picture stands."""

    @abstractmethod
    def peers(self) -> list[dict[str, str | int | float]]:
        """Return a row for every peer."""

    @abstractmethod
    def set_latency(self, seconds: float) -> None:
        """Change the target."""


def mime_type(tracks: tuple[Track, ...]) -> str:
    """Return what MediaSource wants to hear (RFC 6381); empty without tracks. Raises MediaError."""
    codecs = []
    for track in tracks:
        if track.kind is TrackKind.VIDEO:
            record = track.extradata
            avcc = record if record[:1] == b"\x01" else avcc_of(record)
            codecs.append(f"avc1.{avcc[1:4].hex()}")
        else:
            codecs.append(f"mp4a.40.{track.extradata[0] >> 3 if track.extradata else 2}")
    return f'video/mp4; codecs="{", ".join(codecs)}"' if codecs else ""


class WebServer:
    """Serves one session on a port, to this machine or to those with a token."""

    def __init__(self, view: ChannelView, host: str, port: int, *, is_port_explicit: bool) -> None:
        self._view = view
        self._host = host
        self._port = port
        self._is_port_explicit = is_port_explicit
        self._runner: web.AppRunner | None = None
        self._guard = Guard(host)

    async def start(self) -> str:
        """Listen and return the page's URL, with its token if it has one. Raises NetworkError."""
        app = web.Application(middlewares=[self._admit], client_max_size=REQUEST_BYTES_MAX)
        app.router.add_get("/", self._page)
        app.router.add_get("/c/{id}/live.mp4", self._live_mp4)
        app.router.add_get("/c/{id}/live.ts", self._live_ts)
        app.router.add_get("/c/{id}/stats", self._stats)
        app.router.add_get("/api/v1", self._index)
        app.router.add_get("/api/v1/events", self._events)
        app.router.add_post("/api/v1/latency", self._latency)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_static("/static", STATIC)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
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

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _index(self, request: web.Request) -> web.Response:
        try:
            mime, problem = mime_type(self._view.tracks), ""
        except MediaError as error:
            mime, problem = "", str(error)
        return web.json_response(
            {
                "routes": ROUTES,
                "channel": self._view.channel_id,
                "name": self._view.name,
                "link": self._view.link,
                "mime": mime,
                "problem": problem,
            }
        )

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _stats(self, request: web.Request) -> web.Response:
        self._check_channel(request)
        return web.json_response(dict(self._view.stats()))

    async def _live_mp4(self, request: web.Request) -> web.StreamResponse:
        return await self._live(request, Container.MP4, "video/mp4")

    async def _live_ts(self, request: web.Request) -> web.StreamResponse:
        return await self._live(request, Container.MPEGTS, "video/mp2t")

    async def _live(
        self, request: web.Request, container: Container, kind: str
    ) -> web.StreamResponse:
        self._check_channel(request)
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": kind})
        await response.prepare(request)
        with suppress(ConnectionResetError):  # The reader has left, as readers do.
            async with aclosing(self._view.outlet(container).read()) as fragments:
                async for data in fragments:
                    await response.write(data)
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        with suppress(ConnectionResetError):
            while True:
                news = {"stats": dict(self._view.stats()), "peers": self._view.peers()}
                await response.write(f"data: {json.dumps(news)}\n\n".encode())
                await asyncio.sleep(EVENT_S)
        return response

    async def _latency(self, request: web.Request) -> web.Response:
        try:
            seconds = float((await request.json())["seconds"])
        except (ValueError, KeyError, TypeError) as error:
            raise web.HTTPBadRequest(text='Send {"seconds": 1.0}.\n') from error
        if not LATENCY_MIN_S <= seconds <= LATENCY_MAX_S:
            raise web.HTTPBadRequest(text=f"{LATENCY_MIN_S} to {LATENCY_MAX_S} seconds.\n")
        self._view.set_latency(seconds)
        return web.json_response({"seconds": seconds})

    def _check_channel(self, request: web.Request) -> None:
        if request.match_info["id"] != self._view.channel_id:
            raise web.HTTPNotFound(text="No such channel here.\n")
