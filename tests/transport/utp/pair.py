"""Two µTP endpoints in virtual time, one of which has called the other (`Pair`)."""

from __future__ import annotations

from random import Random

from livestream.config import TransportConfig
from livestream.machine import SECOND, Address, Event
from livestream.transport.allowance import Allowance
from livestream.transport.connection import Connection, MessageReceived
from livestream.transport.utp.endpoint import UtpEndpoint
from tests.world import Link, World

HERE, THERE = Address("192.0.2.1", 1000), Address("192.0.2.2", 2000)
GREETING = b"\x13BitTorrent protocol" + bytes(48)


class Pair:
    """Invariant: `server` is the accepted connection, once there is one."""

    def __init__(
        self, seed: int = 1, link: Link | None = None, *, allowance: Allowance | None = None
    ) -> None:
        """Take what caps the server's side."""
        self.world = World(seed, link or Link())
        config = TransportConfig()
        self.client_end = UtpEndpoint(config, Random(seed))
        self.server_end = UtpEndpoint(config, Random(seed + 1), allowance)
        self.world.add(HERE, self.client_end)
        self.world.add(THERE, self.server_end)
        self.events: dict[str, list[Event]] = {"client": [], "server": []}
        self.server: Connection | None = None
        self.client: Connection = self.client_end.connect(THERE, self.world.now)

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.world.run_until(self.world.now + int(seconds * SECOND), self._collect)

    def greet(self) -> Connection:
        """Exchange handshakes; returns the side that was called."""
        self.client.send(GREETING)
        self.run(3)
        assert self.server is not None
        self.server.send(GREETING)
        self.run(3)
        return self.server

    def messages(self, side: str) -> list[bytes]:
        """Return the messages that a side got."""
        return [event.data for event in self.events[side] if isinstance(event, MessageReceived)]

    def _collect(self) -> None:
        while (report := self.client_end.next_event()) is not None:
            self.events["client"].append(report.event)
        while (report := self.server_end.next_event()) is not None:
            self.server = report.connection
            self.events["server"].append(report.event)
