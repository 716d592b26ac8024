"""UDP trackers on the wire: one question as a client, or a server (`exchange`, `serve_udp`)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast
from urllib.parse import urlsplit

from livestream.discovery.reach import Purpose, Zone, zone_of, zones_allowed
from livestream.discovery.udp_exchange import UdpExchange
from livestream.discovery.udp_tracker import UdpTrackerServer
from livestream.errors import NetworkError
from livestream.machine import SECOND, Address
from livestream.runtime.address import reason_of
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


async def exchange(
    machine: UdpExchange, url: str, clock: Clock, *, is_trusted: bool, patience_us: int | None
) -> bool:
    """Carry one question out, on a socket that only the tracker can reach.

    Args:
        machine: The question; its `failure` says why there is no answer.
        url: The tracker's.
        clock: Machine time.
        is_trusted: The user named the tracker: every address will do.
        patience_us: When to give up; None: when the machine does.

    Returns:
        Whether the tracker is on this machine or its own network.
    """
    remote = _host_and_port(url)
    if remote is None:
        machine.give_up("the tracker's URL has no host or port")
        return False
    until = None if patience_us is None else clock.now() + patience_us
    came = asyncio.Event()
    is_v6 = False

    def take(data: bytes) -> None:
        machine.receive(data, clock.now(), is_v6=is_v6)
        came.set()

    try:
        transport = await _connect(
            remote, take, zones_allowed(url, Purpose.TRACKER, is_trusted=is_trusted)
        )
    except (OSError, ValueError) as error:
        machine.give_up(reason_of(error))
        return False
    peer = str(transport.get_extra_info("peername")[0])
    is_v6 = ":" in peer
    try:
        while not machine.is_over:
            datagram = machine.datagram(clock.now())
            if datagram is not None:
                transport.sendto(datagram)
            came.clear()
            if until is not None and clock.now() >= until:
                machine.give_up("no answer")
            wait_s = max(machine.get_timer() - clock.now(), 0) / SECOND
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max(wait_s, 0.001), POLL_S)):
                    await came.wait()
    finally:
        transport.close()
    return zone_of(peer) is not Zone.GLOBAL


async def _connect(
    remote: tuple[str, int], take: Callable[[bytes], None], allowed: frozenset[Zone]
) -> asyncio.DatagramTransport:
    """Connect to the first address of the name that is allowed and has a route. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(*remote, type=socket.SOCK_DGRAM)
    problem = OSError("the name has no address")
    for *_, address in found:
        zone = zone_of(str(address[0]))
        if zone not in allowed:
            problem = OSError(f"{remote[0][:70]} is a {zone.value} address")
            continue
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Client(take), remote_addr=(str(address[0]), int(address[1]))
            )
        except OSError as error:
            problem = error
        else:
            return transport
    raise problem


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
