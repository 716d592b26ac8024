"""Two µTP endpoints in virtual time, one of which has called the other (`Pair`)."""

from __future__ import annotations

from random import Random

from livestream.config import TransportConfig
from livestream.machine import SECOND, Address, Event
from livestream.transport.allowance import Allowance
from livestream.transport.connection import (
    BlocksReceived,
    Connected,
    Connection,
    ConnectionState,
    Disconnected,
    MessageReceived,
)
from livestream.transport.utp.endpoint import UtpEndpoint
from tests.transport.utp.path import Censor, Path
from tests.world import Link

HERE, THERE = Address("192.0.2.1", 1000), Address("192.0.2.2", 2000)
GREETING = b"\x13BitTorrent protocol" + bytes(48)
TEXT = b"\x14" + bytes(20_000)
BACKLOG = 400_000
DELAY_TARGET_US = 60_000  # Of files.


class Pair:
    """Invariant: `server` is the accepted connection, once there is one."""

    def __init__(
        self,
        seed: int = 1,
        link: Link | None = None,
        *,
        censor: Censor | None = None,
        config: TransportConfig | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        """Take what caps the server's side."""
        self.world = Path(seed, link or Link(), censor)
        config = config or TransportConfig(delay_target_us=DELAY_TARGET_US)
        self.client_end = UtpEndpoint(config, Random(seed))
        self.server_end = UtpEndpoint(config, Random(seed + 1), allowance)
        self.world.add(HERE, self.client_end)
        self.world.add(THERE, self.server_end)
        self.events: dict[str, list[Event]] = {"client": [], "server": []}
        self.blocks: dict[str, list[tuple[int, int, bytes]]] = {"client": [], "server": []}
        self.server: Connection | None = None
        self.client: Connection = self.client_end.connect(THERE, self.world.now)

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.world.run_until(self.world.now + int(seconds * SECOND), self._collect)
        self._collect()

    def greet(self) -> Connection:
        """Exchange handshakes; returns the side that was called."""
        self.client.send(GREETING)
        self.run(3)
        assert self.server is not None
        self.server.send(GREETING)
        self.run(3)
        return self.server

    def stream(self, seconds: float) -> int:
        """Run while the client always has something to send; return the bits/s that arrived."""
        before, since = sum(map(len, self.messages("server"))), self.world.now
        while self.world.now < since + seconds * SECOND:
            while self.client.backlog_bytes < BACKLOG:
                self.client.send(TEXT)
            self.run(0.05)
        return int((sum(map(len, self.messages("server"))) - before) * 8 / seconds)

    def run_until_gone(self, seconds_max: float) -> float:
        """Run until both sides have reported the end; return how long that took, s."""
        since = self.world.now
        while not (self.is_over("client") and self.is_over("server")):
            assert self.world.now - since <= seconds_max * SECOND, "still there"
            self.run(0.5)
        return (self.world.now - since) / SECOND

    def messages(self, side: str) -> list[bytes]:
        """Return the messages that a side got."""
        return [event.data for event in self.events[side] if isinstance(event, MessageReceived)]

    def is_connected(self, side: str) -> bool:
        """Whether a side has reported the connection."""
        return any(isinstance(event, Connected) for event in self.events[side])

    def is_over(self, side: str) -> bool:
        """Whether a side has nothing left: its last word was the end, or it never began."""
        events = self.events[side]
        return isinstance(events[-1], Disconnected) if events else True

    def is_open(self) -> bool:
        """Whether both sides are connected yet."""
        assert self.server is not None
        return self.client.state is self.server.state is ConnectionState.CONNECTED

    def _collect(self) -> None:
        while (report := self.client_end.next_event()) is not None:
            self._note("client", report.event)
        while (report := self.server_end.next_event()) is not None:
            self.server = report.connection
            self._note("server", report.event)

    def _note(self, side: str, event: Event) -> None:
        self.events[side].append(event)
        if isinstance(event, BlocksReceived):
            self.blocks[side] += [
                (index, begin, bytes(data)) for index, begin, data in event.blocks
            ]
