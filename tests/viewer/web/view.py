"""A channel without a swarm: what a page sees of it is what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from fractions import Fraction

import av

from livestream.media.sample import Sample, Track
from publisher.encoder import Picture, VideoEncoder
from viewer.outlet import Outlet
from viewer.outputs import Outputs
from viewer.remuxer import Container
from viewer.web.channel import ChannelPage, ChannelView
from viewer.web.server import WebServer

FPS = 25
GOP = 10


class ScriptedView(ChannelView):
    """Shows what it was given."""

    def __init__(self) -> None:
        self.outputs = Outputs()
        self.outputs.outlet(Container.MP4)
        self.why = ""
        self.asked = asyncio.Event()
        self.lag_s = 1.0
        self.latency_s = 1.0

    @property
    def channel_id(self) -> str:
        return "ab" * 32

    @property
    def name(self) -> str:
        return "<b>garden</b>"

    @property
    def link(self) -> str:
        return "magnet:?xs=urn:btpk:" + self.channel_id

    @property
    def tracks(self) -> tuple[Track, ...]:
        return self.outputs.tracks

    def outlet(self, container: Container) -> Outlet:
        return self.outputs.outlet(container)

    def stats(self) -> Mapping[str, float | int | str]:
        self.asked.set()
        return {
            "lag_s": self.lag_s,
            "buffer_s": 0.8,
            "down_bps": 2_500_000,
            "up_bps": 5_000_000,
            "peers": 1,
            "pieces_received": 100,
            "pieces_late": 0,
            "publisher_share": 0.25,
            "feeders": 3,
            "children": 7,
            "depth": 2,
            "why": self.why,
            "latency_target_s": self.latency_s,
        }

    def peers(self) -> list[dict[str, str | int | float]]:
        return [
            {
                "address": "192.0.2.1:6881",
                "client": "livestream",
                "transport": "tcp",
                "rtt_ms": 40.0,
                "down_bps": 2_500_000,
                "up_bps": 0,
                "roles": "<script>alert(1)</script>",
            }
        ]

    def set_latency(self, seconds: float) -> None:
        self.latency_s = seconds


@asynccontextmanager
async def serving(view: ChannelView, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve a view on a free port and yield the page's URL."""
    server = WebServer(ChannelPage(view), host, 0, is_port_explicit=True)
    url = await server.start()
    try:
        yield url
    finally:
        await server.stop()


def pictures(seconds: float) -> tuple[tuple[Track, ...], list[Sample]]:
    """Encode pictures that brighten, with a key frame every GOP frames, from channel time 1 s."""
    encoder = VideoEncoder(0, Picture(320, 180, Fraction(FPS), 200_000, GOP * 1_000_000 // FPS))
    samples: list[Sample] = []
    for number in range(int(seconds * FPS)):
        frame = av.VideoFrame(320, 180, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([16 + number * 5 % 200]) * plane.buffer_size)
        samples += encoder.encode(frame, Fraction(number, FPS) + 1)
    return (encoder.track,), samples
