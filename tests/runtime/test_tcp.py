"""Sockets and streams: what cannot be called is reported, and nothing else stops."""

from __future__ import annotations

import asyncio

from livestream.machine import Address
from livestream.runtime.clock import Clock
from livestream.runtime.tcp import TcpDriver
from livestream.transport.connection import ConnectionState, Disconnected
from livestream.transport.streams import StreamEndpoint


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
