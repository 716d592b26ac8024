"""The sockets of one node: UDP and TCP on one port number (`NodeDriver`)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from livestream.config import Transport
from livestream.errors import NetworkError, UsageError
from livestream.machine import MILLISECOND, Address, Event
from livestream.runtime.clock import Clock
from livestream.runtime.sorter import CallerSorter
from livestream.runtime.tcp import TcpDriver
from livestream.runtime.udp import UdpDriver
from livestream.swarm.node import Node

__all__ = ["NodeDriver", "check_transport"]

PORT_TRIES: Final = 8  # A free TCP port whose UDP twin is taken: try another pair.
PUMPS_MAX: Final = 64  # Rounds of uploads before other work gets its turn.
# Live pieces are dropped when late, which those in the kernel's buffer cannot be.
UNSENT_BYTES_MAX: Final = 16 * 1024
# What twenty neighbours send comes one datagram at a time, and most of what a turn costs is the
# same for two: with rests there are half as many turns. A hop takes 5 ms longer on average; round
# trips are measured without that, by when the kernel got a datagram.
REST_US: Final = 10 * MILLISECOND


class NodeDriver:
    """Drives a node whose traffic is live.

    Invariant: after anything happens to the node, its sockets are served.
    """

    def __init__(
        self,
        node: Node,
        clock: Clock,
        on_event: Callable[[Event], None],
        on_http: Callable[[socket.socket], None] | None = None,
        on_turn: Callable[[], None] | None = None,
    ) -> None:
        """Take the node, and whom to tell.

        `on_http` gets the sockets of TCP callers that are no peers; `on_turn` is called whenever
        UDP had a turn, for what may as well be done then as a little later.
        """
        self._node = node
        self._clock = clock
        self._udp = UdpDriver(node, clock, on_event, on_turn=self._on_turn, rest_us=REST_US)
        self._on_own_turn = on_turn
        self._sorter = None if on_http is None else CallerSorter(on_http)
        self._tcp = TcpDriver(
            node.streams,
            clock,
            self._on_bytes,
            sorter=self._sorter,
            unsent_bytes_max=UNSENT_BYTES_MAX,
        )
        self._failure: asyncio.Future[None] | None = None
        self._is_pumping = False
        self._pump_again: asyncio.Handle | None = None

    async def open(self, listen: Address) -> Address:
        """Listen for TCP and UDP on one port. Raises NetworkError."""
        self._failure = asyncio.get_running_loop().create_future()
        error = NetworkError("no port")
        for _ in range(1 if listen.port else PORT_TRIES):
            address = await self._tcp.open(listen)
            try:
                return await self._udp.open(address)
            except NetworkError as failure:
                error = failure
                self._tcp.close()
        raise error

    def close(self) -> None:
        """Stop, without a word to anyone."""
        if self._pump_again is not None:
            self._pump_again.cancel()
            self._pump_again = None
        self._udp.close()
        self._tcp.close()
        if self._sorter is not None:
            self._sorter.close()

    async def failed(self) -> None:
        """Wait for ever, unless the node raises: then raise that."""
        works: list[asyncio.Future[None]] = [asyncio.ensure_future(self._udp.failed())]
        if self._failure is not None:
            works.append(asyncio.shield(self._failure))
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()
        for work in done:
            work.result()

    # Queries

    @property
    def address(self) -> Address:
        """Where peers call, whichever way."""
        return self._udp.address

    @property
    def bytes_in(self) -> int:
        """Bytes that came, UDP's headers among them."""
        return self._node.wire_bytes_in + self._tcp.bytes_in

    @property
    def bytes_out(self) -> int:
        """Bytes that went, UDP's headers among them."""
        return self._node.wire_bytes_out + self._tcp.bytes_out

    # Driving

    def drain(self) -> None:
        """Carry out everything that the node wants. Call it after every change to it."""
        self._pump()

    def _on_turn(self) -> None:
        """UDP was served already; what that brought may be for TCP."""
        try:
            if self._tcp.drain():
                self._pump_soon()
            if self._on_own_turn is not None:
                self._on_own_turn()
        except Exception as error:
            self._fail(error)

    def _pump(self) -> None:
        if self._pump_again is not None:
            self._pump_again.cancel()
            self._pump_again = None
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            for _ in range(PUMPS_MAX):
                self._udp.drain()
                if not self._tcp.drain():
                    return
        except Exception as error:
            self._fail(error)
            return
        finally:
            self._is_pumping = False
        self._pump_soon()

    def _pump_soon(self) -> None:
        if self._pump_again is None:
            self._pump_again = asyncio.get_running_loop().call_soon(self._pump)

    def _on_bytes(self) -> None:
        try:
            self._node.handle_streams(self._clock.now())
        except Exception as error:
            self._fail(error)
        self._pump_soon()

    def _fail(self, error: Exception) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)


def check_transport(node: Node, transport: Transport | None) -> None:
    """Raise UsageError if a node cannot do with this transport alone."""
    if transport is not None and transport not in node.transports:
        raise UsageError(
            f"--transport {transport.value}: this version does not speak it yet. "
            f"Give one of {', '.join(each.value for each in node.transports)}, or auto."
        )
