"""A channel's page: picture, statistics and the target lag."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import ClassVar, Final

from aiohttp import web

from livestream.errors import MediaError
from livestream.media.sample import Track, TrackKind
from viewer.h264 import avcc_of
from viewer.outlet import Outlet
from viewer.remuxer import Container
from viewer.web.server import HEADERS, Page

__all__ = ["ChannelPage", "ChannelView", "mime_type"]

LATENCY_MIN_S: Final = 0.2
LATENCY_MAX_S: Final = 30.0


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


class ChannelPage(Page):
    """Serves one session."""

    document = "index.html"
    routes: ClassVar[Mapping[str, str]] = {
        "GET /c/{id}/live.mp4": "the picture, fragmented MP4",
        "GET /c/{id}/live.ts": "the picture, MPEG-TS",
        "GET /c/{id}/stats": "counters, as --stats",
        "POST /api/v1/latency": '{"seconds": 1.0}: how far behind the capture to play',
    }

    def __init__(self, view: ChannelView) -> None:
        self._view = view

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of a channel."""
        router.add_get("/c/{id}/live.mp4", self._live_mp4)
        router.add_get("/c/{id}/live.ts", self._live_ts)
        router.add_get("/c/{id}/stats", self._stats)
        router.add_post("/api/v1/latency", self._latency)

    def about(self) -> dict[str, object]:
        """Return which channel it is, and what MediaSource wants to hear of it."""
        try:
            mime, problem = mime_type(self._view.tracks), ""
        except MediaError as error:
            mime, problem = "", str(error)
        return {
            "channel": self._view.channel_id,
            "name": self._view.name,
            "link": self._view.link,
            "mime": mime,
            "problem": problem,
        }

    def news(self) -> dict[str, object]:
        """Return counters and peers."""
        return {"stats": dict(self._view.stats()), "peers": self._view.peers()}

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
        with suppress(ConnectionResetError):  # The reader has left, as readers do.
            await response.prepare(request)
            async with aclosing(self._view.outlet(container).read()) as fragments:
                async for data in fragments:
                    await response.write(data)
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
