"""Sockets and streams: what cannot be called is reported, and nothing else stops."""

from __future__ import annotations

import asyncio
import socket

from livestream.machine import SECOND, Address
from livestream.runtime.clock import Clock
from livestream.runtime.tcp import TcpDriver
from livestream.transport.connection import ConnectionState, Disconnected
from livestream.transport.stream import BACKLOG_MAX
from livestream.transport.streams import StreamEndpoint
from livestream.wire.messages import Piece

PIECE = Piece(1, 0, bytes(8192)).to_bytes()


def test_an_address_that_cannot_be_called_ends_its_stream_only() -> None:
    async def run() -> None:
        streams = StreamEndpoint()
        active = asyncio.Event()
        driver = TcpDriver(streams, Clock(), active.set)
        nowhere = streams.connect(Address("fe80::1%nowhere", 6881), 0)
        port = (await driver.open(Address("127.0.0.1", 0))).port
        other = streams.connect(Address("127.0.0.1", port), 0)
        driver.drain()
        assert nowhere.state is ConnectionState.CLOSED
        async with asyncio.timeout(10):
            while other.state is not ConnectionState.CONNECTED:
                await active.wait()
                active.clear()
        ended = [
            report.connection
            for report in iter(streams.next_event, None)
            if isinstance(report.event, Disconnected)
        ]
        assert ended == [nowhere]
        driver.close()

    asyncio.run(run())


def test_the_kernel_holds_little_of_a_live_stream_that_is_not_read() -> None:
    """What it holds cannot be dropped when it is late; the rest waits in the stream, which can."""

    async def bytes_taken(unsent_bytes_max: int | None) -> int:
        streams = StreamEndpoint()
        active = asyncio.Event()
        driver = TcpDriver(streams, Clock(), active.set, unsent_bytes_max=unsent_bytes_max)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.listen()
            stream = streams.connect(Address(*server.getsockname()), 0)
            driver.drain()
            idle, _ = await asyncio.to_thread(server.accept)
            async with asyncio.timeout(10):
                while stream.state is not ConnectionState.CONNECTED:
                    await active.wait()
                    active.clear()
            stream.send(bytes(68))
            for _ in range(BACKLOG_MAX // len(PIECE) - 1):
                stream.send_independent(PIECE, SECOND)
            size = stream.backlog_bytes
            for _ in range(200):
                driver.drain()
                await asyncio.sleep(0)
            idle.close()
            driver.close()
            return size - stream.backlog_bytes

    async def run() -> None:
        assert await bytes_taken(16 * 1024) < await bytes_taken(None) / 2

    asyncio.run(run())
