"""A greedy source of bytes and a sink, from one process's memory to another's.

The connection, endpoint and driver are those of the product; nothing is hashed, read or written.
`plain` is a blocking TCP socket each side: what the machine can do at all.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from random import SystemRandom
from typing import Final

from benchmarks.clients import HERE
from benchmarks.transfers import Transfer, listen, say, transfer
from livestream.config import TransportConfig
from livestream.machine import Address, Event
from livestream.runtime.clock import Clock
from livestream.runtime.keys import new_identity
from livestream.runtime.loop import run_to_end
from livestream.runtime.tcp import TcpDriver
from livestream.runtime.udp import UdpDriver
from livestream.swarm.blockuploads import BACKLOG_MAX
from livestream.transport.connection import (
    BlocksPlaced,
    BlocksReceived,
    Connected,
    Connection,
    ConnectionEvent,
    ConnectionState,
    MessageReceived,
)
from livestream.transport.dialler import Dialler
from livestream.transport.endpoint import Endpoint
from livestream.transport.streams import StreamEndpoint
from livestream.wire.image import BLOCK_BYTES, LENGTH_OVERHEAD, PIECE_ID, PieceImage
from livestream.wire.messages import Handshake

__all__ = ["flow"]

IMAGE_BYTES: Final = 1 << 20
PUMPS_MAX: Final = 64  # As in the product.
GREETING: Final = Handshake(bytes(20), bytes(20)).to_bytes()  # Before it nothing is a message.
OURS: Final = ("tcp", "quic", "utp")
BUFFER_BYTES: Final = 1 << 20


def flow(transport: str, size: int, limit_s: float) -> Transfer:
    """Let bytes flow through one connection."""
    words = "-m", "benchmarks.memory", "--transport", transport
    return transfer((*words, "--source"), (*words, "--size", str(size), "--limit", str(limit_s)))


class _End:
    """One end of one connection, on the product's endpoint and driver.

    Invariant: after anything happens to the connection, `pump` is called.
    """

    def __init__(self, transport: str, on_event: Callable[[Connection, Event], None]) -> None:
        self.clock = Clock()
        self._transport = transport
        self._on_event = on_event
        self._streams = StreamEndpoint()
        self._endpoint = Endpoint(new_identity(), TransportConfig(), SystemRandom())
        self._tcp = TcpDriver(self._streams, self.clock, self._on_bytes)
        self._udp = UdpDriver(self._endpoint, self.clock, self._on_report, on_turn=self.pump)
        self._pump_again: asyncio.Handle | None = None

    async def open(self) -> Address:
        """Listen."""
        driver = self._tcp if self._transport == "tcp" else self._udp
        return await driver.open(Address(HERE, 0))

    def connect(self, address: Address) -> None:
        """Call the other end."""
        diallers: dict[str, Dialler] = {
            "tcp": self._streams,
            "quic": self._endpoint.quic,
            "utp": self._endpoint.utp,
        }
        diallers[self._transport].connect(address, self.clock.now())
        self.pump()

    def fill(self) -> None:
        """Give the connection more to send. Overridden by whoever has it."""

    def pump(self) -> None:
        """Carry out what the connection wants, once in this turn of the loop."""
        if self._pump_again is None:
            self._pump_again = asyncio.get_running_loop().call_soon(self._pump)

    def close(self) -> None:
        """Stop."""
        self._pump()
        self._tcp.close()
        self._udp.close()

    def _pump(self) -> None:
        if self._pump_again is not None:
            self._pump_again.cancel()
            self._pump_again = None
        for _ in range(PUMPS_MAX):
            self.fill()
            self._udp.drain()
            if not self._tcp.drain():
                return
        self.pump()

    def _on_bytes(self) -> None:
        while (report := self._streams.next_event()) is not None:
            self._on_event(report.connection, report.event)
        self.pump()

    def _on_report(self, report: Event) -> None:
        if isinstance(report, ConnectionEvent):
            self._on_event(report.connection, report.event)


class _Source(_End):
    """Sends blocks to whoever calls, as long as the connection's backlog is short."""

    def __init__(self, transport: str) -> None:
        super().__init__(transport, self._react)
        self._image = PieceImage(0, IMAGE_BYTES)
        self._connection: Connection | None = None

    def fill(self) -> None:
        """Keep as much waiting as a seed does."""
        found = self._connection
        if found is None:
            return
        while found.state is ConnectionState.CONNECTED and found.backlog_bytes < BACKLOG_MAX:
            found.send_blocks(self._image, 0, self._image.count)

    def _react(self, connection: Connection, event: Event) -> None:
        if isinstance(event, MessageReceived):
            connection.send(GREETING)
            self._connection = connection


class _Sink(_End):
    """Takes blocks to their places, again and again, until enough of them came."""

    def __init__(self, transport: str, size: int) -> None:
        super().__init__(transport, self._react)
        self.is_done = asyncio.Event()
        self.count = 0
        self.began_s = 0.0
        self.ended_s = 0.0
        self._size = size
        self._places = PieceImage(0, IMAGE_BYTES).places()
        self._connection: Connection | None = None

    def hang_up(self) -> None:
        """Enough."""
        if self._connection is not None:
            self._connection.close("done", self.clock.now())
        self.pump()

    def _react(self, connection: Connection, event: Event) -> None:
        if isinstance(event, BlocksPlaced):
            self._take(connection, [begin for _, begin in event.blocks])
        elif isinstance(event, BlocksReceived):
            self._take(connection, [begin for _, begin, _ in event.blocks])
        elif isinstance(event, MessageReceived):
            if len(event.data) == LENGTH_OVERHEAD + BLOCK_BYTES and event.data[0] == PIECE_ID:
                self._take(connection, [int.from_bytes(event.data[5:9], "big")])
        elif isinstance(event, Connected):
            self._connection = connection
            connection.send(GREETING)
            self._expect(connection, range(0, IMAGE_BYTES, BLOCK_BYTES))

    def _take(self, connection: Connection, begins: list[int]) -> None:
        self.ended_s = time.monotonic()
        if not self.count:
            self.began_s = self.ended_s
        self.count += BLOCK_BYTES * len(begins)
        if self.count >= self._size:
            self.is_done.set()
        self._expect(connection, begins)

    def _expect(self, connection: Connection, begins: list[int] | range) -> None:
        places = self._places
        connection.expect([(0, begin, places[begin // BLOCK_BYTES]) for begin in begins])


async def _send(transport: str) -> int:
    source = _Source(transport)
    say((await source.open()).port)
    await asyncio.to_thread(listen)
    source.close()
    return 0


async def _receive(transport: str, size: int, limit_s: float) -> int:
    sink = _Sink(transport, size)
    await sink.open()
    say("ready")
    if line := await asyncio.to_thread(listen):
        sink.connect(Address(HERE, int(line)))
        with suppress(TimeoutError):
            await asyncio.wait_for(sink.is_done.wait(), limit_s)
        say(sink.count, sink.ended_s - sink.began_s)
        sink.hang_up()
        await asyncio.to_thread(listen)
    sink.close()
    return 0


def _send_plain() -> None:
    with socket.create_server((HERE, 0)) as server:
        say(server.getsockname()[1])
        sock, _ = server.accept()
    data = bytes(BUFFER_BYTES)
    with sock, suppress(ConnectionError):
        while True:
            sock.sendall(data)
    listen()


def _receive_plain(size: int, limit_s: float) -> None:
    say("ready")
    with socket.create_connection((HERE, int(listen()))) as sock:
        buffer, count, began = bytearray(BUFFER_BYTES), 0, time.monotonic()
        while count < size and time.monotonic() - began < limit_s:
            count += sock.recv_into(buffer)
        say(count, time.monotonic() - began)
        listen()


def main() -> None:
    """Play one role of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", required=True, choices=[*OURS, "plain"])
    parser.add_argument("--source", action="store_true")
    parser.add_argument("--size", type=int, default=1 << 30, help="bytes")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds")
    words = parser.parse_args()
    if words.transport == "plain" and words.source:
        _send_plain()
    elif words.transport == "plain":
        _receive_plain(words.size, words.limit)
    elif words.source:
        run_to_end(_send(words.transport))
    else:
        run_to_end(_receive(words.transport, words.size, words.limit))


if __name__ == "__main__":
    main()
