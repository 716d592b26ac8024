"""UDP trackers on the wire: one announce as a client, or a server (`exchange`, `serve_udp`)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import urlsplit

from livestream.discovery.udp_tracker import UdpAnnounce, UdpTrackerServer
from livestream.errors import NetworkError
from livestream.machine import SECOND, Address
from livestream.runtime.clock import Clock

__all__ = ["exchange", "serve_udp"]

POLL_S: Final = 0.25


class _Client(asyncio.DatagramProtocol):
    def __init__(self, on_datagram: Callable[[bytes], None]) -> None:
        self._on_datagram = on_datagram

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._on_datagram(data)


class _Server(asyncio.DatagramProtocol):
    def __init__(self, server: UdpTrackerServer, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one, and does not say so.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        source = Address(addr[0].removeprefix("::ffff:"), addr[1])
        answer = self._server.receive(data, source, self._clock.now())
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


async def exchange(machine: UdpAnnounce, url: str, clock: Clock) -> None:
    """Carry one announce out, on a socket that only the tracker can reach.

    Raises:
        OSError: the name does not resolve, or the network is unreachable.
    """
    remote = _host_and_port(url)
    if remote is None:
        machine.failure = "the tracker's URL has no host or port"
        return
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    transport: asyncio.DatagramTransport | None = None

    def take(data: bytes) -> None:
        machine.receive(data, clock.now(), is_v6=is_v6)
        came.set()

    is_v6 = False
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Client(take), remote_addr=remote
        )
        is_v6 = ":" in transport.get_extra_info("peername")[0]
        while not machine.is_over:
            datagram = machine.datagram(clock.now())
            if datagram is not None:
                transport.sendto(datagram)
            came.clear()
            wait_s = max(machine.get_timer() - clock.now(), 0) / SECOND
            try:
                await asyncio.wait_for(came.wait(), min(max(wait_s, 0.001), POLL_S))
            except TimeoutError:
                continue
    finally:
        if transport is not None:
            transport.close()


def _host_and_port(url: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # What the resolver would choke on later.
    except ValueError:
        return None
    return (host, port) if host and port else None


async def serve_udp(
    server: UdpTrackerServer, listen: Address, clock: Clock
) -> asyncio.DatagramTransport:
    """Answer on a UDP port until the transport is closed. Raises NetworkError."""
    loop = asyncio.get_running_loop()
    # Bound here: uvloop does not say why it could not, and then may hang when it is closed.
    sock = socket.socket(
        socket.AF_INET6 if ":" in listen.host else socket.AF_INET, socket.SOCK_DGRAM
    )
    try:
        sock.setblocking(False)
        sock.bind(listen)
    except OSError as error:
        sock.close()
        raise NetworkError(
            f"UDP port {listen.port} on {listen.host} cannot be used ({error.strerror}). "
            "Choose another with --listen HOST:PORT."
        ) from error
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(server, clock), sock=sock)
    return transport
