"""One port for peers and for HTTP: whoever calls gets what it speaks, and nobody sits there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from livestream.discovery.tracker import TrackerState
from livestream.machine import Address
from livestream.runtime.clock import Clock
from livestream.runtime.sorter import HELD_MAX, CallerSorter
from livestream.runtime.tcp import TcpDriver
from livestream.runtime.tracker import HttpTracker
from livestream.transport.connection import MessageReceived
from livestream.transport.streams import StreamEndpoint
from livestream.wire.messages import Handshake

HERE = Address("127.0.0.1", 0)
HANDSHAKE = Handshake(b"h" * 20, b"p" * 20).to_bytes()


class Port:
    """A tracker and peers' streams behind one port."""

    def __init__(self) -> None:
        self.streams = StreamEndpoint()
        self.messages: list[bytes] = []
        self.arrived = asyncio.Event()
        clock = Clock()
        self.tracker = HttpTracker(TrackerState(Random(1)), clock.now)
        self.sorter = CallerSorter(self.tracker.adopt)
        self.driver = TcpDriver(self.streams, clock, self._on_activity, sorter=self.sorter)

    def _on_activity(self) -> None:
        while (report := self.streams.next_event()) is not None:
            if isinstance(report.event, MessageReceived):
                self.messages.append(report.event.data)
                self.arrived.set()

    async def until_message(self) -> bytes:
        await asyncio.wait_for(self.arrived.wait(), 10)
        return self.messages[-1]


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Port, Address]]:
    port = Port()
    address = await port.driver.open(HERE)
    await port.tracker.start_without_port()
    try:
        yield port, address
    finally:
        port.driver.close()
        port.sorter.close()
        await port.tracker.stop()


async def answer(address: Address, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    data = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return data


def test_a_peer_and_a_browser_call_the_same_port() -> None:
    async def run() -> None:
        async with opened() as (port, address):
            _, peer = await asyncio.open_connection(*address)
            peer.write(HANDSHAKE[:1])
            page = await answer(address, b"GET /announce HTTP/1.0\r\n\r\n")
            assert page.startswith(b"HTTP/1.0 200")
            assert b"failure reason" in page
            peer.write(HANDSHAKE[1:])
            assert await port.until_message() == HANDSHAKE
            peer.close()

    asyncio.run(run())


def test_callers_that_say_nothing_make_room_for_others() -> None:
    async def run() -> None:
        async with opened() as (port, address):
            silent = [socket.create_connection(address) for _ in range(HELD_MAX + 20)]
            _, peer = await asyncio.open_connection(*address)
            peer.write(HANDSHAKE)
            assert await port.until_message() == HANDSHAKE
            oldest = silent[0]
            oldest.settimeout(10)
            assert await asyncio.to_thread(oldest.recv, 1) == b"", "it was hung up on"
            for sock in silent:
                sock.close()
            peer.close()

    asyncio.run(run())


def test_a_caller_that_leaves_before_it_speaks_is_forgotten() -> None:
    async def run() -> None:
        async with opened() as (port, address):
            gone = [socket.create_connection(address) for _ in range(5)]
            for sock in gone:
                sock.close()
            _, peer = await asyncio.open_connection(*address)
            peer.write(HANDSHAKE)
            assert await port.until_message() == HANDSHAKE
            peer.close()

    asyncio.run(run())
