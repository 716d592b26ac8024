"""Hosts whose nodes really speak QUIC and µTP, over emulated lines (`PacketInternet`)."""

from __future__ import annotations

from typing import Final

from livestream.config import Transport
from livestream.machine import SECOND, Address, Train
from livestream.runtime.keys import identity_of
from livestream.sim.host import Host, Internet
from livestream.sim.lines import Line
from livestream.sim.links import Access, Path
from livestream.sim.routes import Route, Weather
from livestream.sim.world import Occurrence, World
from livestream.transport.dialler import Dialler

__all__ = ["PacketHost", "PacketInternet", "queue_bytes"]

QUEUE_BYTES_MIN: Final = 32 * 1024  # Of a line however slow: modems count in packets, too.


def queue_bytes(rate_bps: int, queue_us: int) -> int:
    """Return the length of a line's queue that takes so long to empty."""
    return max(QUEUE_BYTES_MIN, rate_bps * queue_us // (8 * SECOND))


class PacketInternet(Internet):
    """Hosts by address, and a route for each two of them that have spoken, in each direction."""

    sees_messages = False

    def __init__(
        self,
        world: World,
        path: Path,
        seed: int,
        transport: Transport | None = None,
    ) -> None:
        """Take what the model takes, and the only transport that nodes may use, if it is one."""
        super().__init__(world, path, seed)
        self.transport = transport
        self._weather = Weather(path.jitter_us, path.loss, path.loss_burst, path.reordered)
        self._routes: dict[tuple[int, int], Route] = {}

    def add(self, number: int, access: Access, public_key: bytes) -> PacketHost:
        """Connect a host that has no node yet; its key is made of the one given."""
        host = PacketHost(self, number, access, public_key)
        self.hosts[host.address] = host
        return host

    def route(self, source: int, target: int) -> Route:
        """Return the way from one host to another, by their numbers."""
        route = self._routes.get((source, target))
        if route is None:
            delay_us = self.paths.base_delay_us(source, target)
            route = self._routes[source, target] = Route(delay_us, self._weather)
        return route

    def send(self, source: PacketHost, train: Train, left_at: int) -> None:
        """Bring a train, as much of it as arrives, to whoever is at its address by then."""
        target = self.hosts.get(train.address)
        if target is None or not self.paths.are_joined(source.number, target.number):
            return
        parts = self.route(source.number, target.number).carry(train, left_at, self.world.rng)
        for at, part in parts:
            part.address = source.address
            self.world.plan(at, _Landing(self, target.address, part))


class PacketHost(Host):
    """A host whose node has an endpoint of its own, and datagrams instead of messages.

    Invariant: after each call the node has nothing left to send at this moment.
    """

    def __init__(
        self, internet: PacketInternet, number: int, access: Access, private_key: bytes
    ) -> None:
        identity = identity_of(private_key, number + 1)
        super().__init__(internet, number, access, identity.public_key)
        self.identity = identity
        self.transport = internet.transport
        self.uplink = self._line = Line(
            access.uplink_bps, queue_bytes(access.uplink_bps, access.queue_us)
        )
        self.downlink: Line | None = None
        if access.downlink_bps is not None:
            self.downlink = Line(
                access.downlink_bps, queue_bytes(access.downlink_bps, access.queue_us)
            )
        self._net = internet

    @property
    def diallers(self) -> dict[Transport, Dialler] | None:
        """Nothing stands in for the endpoint."""
        return None

    def land(self, train: Train, now: int) -> None:
        """A train has come to the far end of the downlink."""
        if self.downlink is None:
            self.receive(train, now)
            return
        for at, part in self.downlink.carry(train, now):
            if at <= now:
                self.receive(part, now)
            else:
                self.world.plan(at, _Reception(self, part))

    def receive(self, train: Train, now: int) -> None:
        """A train is here: the node's own."""
        node = self.node
        if node is None:
            return
        size = len(train.data)
        self.wire_bytes_in += size
        self.world.note(self.number << 32 | size)
        node.receive_train(train, now)
        self.settle(now)

    def settle(self, now: int) -> None:
        """Let the node send what it wants, and take its events."""
        node = self.node
        if node is None:
            return
        while (stream := node.streams.next_dial()) is not None:
            stream.lost("there is no TCP")
        node.handle_streams(now)
        while trains := node.trains_to_send(now):
            for train in trains:
                for left_at, part in self._line.carry(train, now):
                    self._net.send(self, part, left_at)
        while (event := node.next_event()) is not None:
            self._on_event(event, now)
        self._arm(node.get_timer(), now)


class _Landing(Occurrence):
    __slots__ = ("_address", "_internet", "_train")

    def __init__(self, internet: PacketInternet, address: Address, train: Train) -> None:
        self._internet = internet
        self._address = address
        self._train = train

    def happen(self, now: int) -> None:
        host = self._internet.hosts.get(self._address)
        if isinstance(host, PacketHost):
            host.land(self._train, now)


class _Reception(Occurrence):
    __slots__ = ("_host", "_train")

    def __init__(self, host: PacketHost, train: Train) -> None:
        self._host = host
        self._train = train

    def happen(self, now: int) -> None:
        self._host.receive(self._train, now)
