"""A host: one node behind one access line, and all hosts there are (`Internet`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final

from livestream.config import Identity, Transport
from livestream.machine import SECOND, Address, Event
from livestream.sim.calls import dial
from livestream.sim.connection import ModelConnection
from livestream.sim.links import (
    ACK_BYTES,
    Access,
    Path,
    Paths,
    Uplink,
    reception,
)
from livestream.sim.parts import Role
from livestream.sim.world import Occurrence, World
from livestream.swarm.node import Node
from livestream.transport.connection import ConnectionEvent, ConnectionState, MessageReceived
from livestream.transport.dialler import Dialler

__all__ = ["Host", "Internet"]

CONNECTIONS_MAX: Final = 400  # As `TransportConfig` has it.
PORT: Final = 4000


class Internet:
    """Hosts by address, and what is between them."""

    sees_messages: ClassVar[bool] = True
    "Whether each message that leaves a host is seen, and counted for what it is."

    def __init__(self, world: World, path: Path, seed: int) -> None:
        self.world = world
        self.paths = Paths(path, seed, world.rng)
        self.hosts: dict[Address, Host] = {}

    def address_of(self, number: int) -> Address:
        """Return the public address of a host."""
        # Each in a network of its own: neighbours in one count as one for much (BEP 6, BEP 42).
        high, low = divmod(number, 1 << 16)
        return Address(f"{45 + high}.{low >> 8}.{low & 255}.1", PORT)

    def add(self, number: int, access: Access, public_key: bytes) -> Host:
        """Connect a host that has no node yet."""
        host = Host(self, number, access, public_key)
        self.hosts[host.address] = host
        return host


class Host:
    """Drives one node: arrivals and timers in, messages to the uplink, events to whoever listens.

    Invariant: after each call the node has nothing left to send that its connections would take,
    and the world wakes it at its timer or before.
    """

    def __init__(self, internet: Internet, number: int, access: Access, public_key: bytes) -> None:
        self.internet = internet
        self.world = internet.world
        self.number = number
        self.address = internet.address_of(number)
        self.public_key = public_key
        self.identity = Identity(public_key, b"", b"")
        self.transport: Transport | None = None
        "The only one that its node may use; None: what suits the swarm."
        self.uplink = Uplink(access.uplink_bps)
        self.is_up = True
        self.control_bytes_out = 0
        self.ack_bytes_out = 0
        self.wire_bytes_in = 0
        self.connections: dict[ModelConnection, None] = {}
        self.sending: dict[ModelConnection, None] = {}
        "Connections with a queue, in the order of their turns."
        self.waiting: dict[ModelConnection, int] = {}
        "Connections with messages that go along with others, and until when."
        self.node: Node | None = None
        self.on_sent: Callable[[Host, bytes], None] | None = None
        "Sees every message that leaves."
        self.role = Role.HONEST
        self._on_event: Callable[[Event, int], None] = _ignore
        self._reports: deque[ConnectionEvent] = deque()
        self.downlink_bps = access.downlink_bps
        "None: never the bottleneck."
        self._downlink_free_at = 0
        self._wakes_at: int | None = None
        self._pumps_at: int | None = None
        self._waits_until: int | None = None

    # Set-up

    @property
    def diallers(self) -> dict[Transport, Dialler] | None:
        """What the node is to call by; None: its own endpoint."""
        return {Transport.QUIC: self}

    def run(self, node: Node, on_event: Callable[[Event, int], None]) -> None:
        """Put a node here; its events go to `on_event`."""
        self.node = node
        self._on_event = on_event
        self.settle(self.world.now)

    def crash(self) -> None:
        """Vanish without a word: what flies to it is lost."""
        self.is_up = False
        self.node = None
        self.connections.clear()
        self.sending.clear()
        self.waiting.clear()
        self._reports.clear()
        self.internet.hosts.pop(self.address, None)

    # Dialler

    def connect(self, address: Address, now: int) -> ModelConnection:
        """Open a connection; it reports `Connected` or `Disconnected`."""
        connection = ModelConnection(self, address, is_outgoing=True)
        self.connections[connection] = None
        dial(connection, now)
        return connection

    def next_event(self) -> ConnectionEvent | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._reports.popleft() if self._reports else None

    def get_timer(self) -> int | None:
        """The world plans all that connections do."""
        return None

    def handle_timer(self, now: int) -> None:
        """The world plans all that connections do."""

    # For connections

    def answers(self, size: int, now: int) -> bool:
        """Whether one more caller is answered, by so many bytes."""
        budget = self.node.answers if self.node is not None else None
        is_over = budget is not None and not budget.has_tokens(now)
        if is_over or len(self.connections) >= CONNECTIONS_MAX:
            return False
        if budget is not None:
            budget.take(size, now)
        return True

    def report(self, connection: ModelConnection, event: Event) -> None:
        """Let the node know at the next occasion."""
        if connection.state is ConnectionState.CLOSED:
            self.connections.pop(connection, None)
        self._reports.append(ConnectionEvent(connection, event))

    def last_mile_us(self, size: int, uplink_bps: int) -> int:
        """Return how long after its last bit has come to the downlink a message is whole."""
        return reception(size, uplink_bps, self.downlink_bps)[0]

    def downlink_us(self, size: int) -> int:
        """Return how long the downlink takes for so many bytes."""
        return 0 if self.downlink_bps is None else size * 8 * SECOND // self.downlink_bps

    def through_downlink(self, took_us: int, now: int) -> int:
        """Return when a message is whole that would be now, were nothing before it.

        It takes the downlink `took_us`.
        """
        if self._downlink_free_at < now - took_us:
            self._downlink_free_at = now
        else:
            self._downlink_free_at += took_us
        return self._downlink_free_at

    def receive_messages(
        self, end: ModelConnection, messages: list[bytes], size: int, acknowledgements: int
    ) -> None:
        """Messages came on a connection: so many bytes on the wire."""
        reports = self._reports
        for message in messages:
            reports.append(ConnectionEvent(end, MessageReceived(message)))
        end.answer(self.world.now)
        self.on_arrival(size, self.world.now, acknowledgements)

    def on_arrival(self, size: int, now: int, acknowledgements: int = 1) -> None:
        """Something came: acknowledge it, and let the node act."""
        self.wire_bytes_in += size
        self.ack_bytes_out += acknowledgements * ACK_BYTES
        self.take(acknowledgements * ACK_BYTES, now)
        self.settle(now)

    def wait(self, connection: ModelConnection, by: int) -> None:
        """Let a connection's messages wait for something that they go along with."""
        self.waiting[connection] = min(by, self.waiting.get(connection, by))
        if self._waits_until is None or by < self._waits_until:
            self._waits_until = by
            self.world.plan(by, _Moment(self.end_waits, by))

    def end_waits(self, at: int, now: int) -> None:
        """What went along with nothing by now goes alone."""
        if self._waits_until != at or not self.is_up:
            return
        self._waits_until = None
        for connection in [each for each, until in self.waiting.items() if until <= now]:
            connection.end_waiting()
        if self.waiting:
            self._waits_until = min(self.waiting.values())
            self.world.plan(self._waits_until, _Moment(self.end_waits, self._waits_until))
        self.settle(now)

    def take(self, size: int, now: int) -> int:
        """Book and send so many bytes; returns when the last of them has left."""
        self.book(size, now)
        return self.uplink.take(size, now)

    def book(self, size: int, now: int) -> None:
        """Let the node know of bytes that its uplink has to carry."""
        if self.node is not None:
            self.node.book(size, now)

    def settle(self, now: int) -> None:
        """Let the node take what is reported, and carry out all that it wants. Call at any change.

        Without a node, what was sent on its connections leaves all the same.
        """
        node = self.node
        if node is None:
            self._pump(now)
            return
        if self._reports:
            node.handle_streams(now)
        while True:
            node.trains_to_send(now)
            if self._reports:  # What the node closed itself reports at once.
                node.handle_streams(now)
            if not self.sending or (self._pumps_at is not None and not self.uplink.has_room(now)):
                break
            if not self._pump(now):
                break
        while (event := node.next_event()) is not None:
            self._on_event(event, now)
        self._arm(node.get_timer(), now)

    def wake(self, at: int, now: int) -> None:
        """The node's timer, if it was not moved to before `at`."""
        node = self.node
        if node is None or self._wakes_at != at:
            return
        self._wakes_at = None
        timer = node.get_timer()  # It may have moved to later since.
        if timer is not None and timer <= now:
            node.handle_timer(now)
            self.settle(now)
        else:
            self._arm(timer, now)

    def pump(self, at: int, now: int) -> None:
        """The uplink has room again."""
        if self._pumps_at != at:
            return
        self._pumps_at = None
        node = self.node
        if self._reports or (node is not None and node.may_upload(now)):
            self.settle(now)
        else:
            self._pump(now)  # The node has nothing for those whose queues become shorter.

    # Helpers

    def _arm(self, timer: int | None, now: int) -> None:
        if timer is not None and (self._wakes_at is None or timer < self._wakes_at):
            self._wakes_at = max(timer, now + 1)
            self.world.plan(self._wakes_at, _Moment(self.wake, self._wakes_at))

    def _pump(self, now: int) -> bool:
        """Give the uplink what it takes, one connection after the other. Whether it took any."""
        sending, uplink = self.sending, self.uplink
        has_moved = False
        while sending and uplink.free_at - now < uplink.target_us:
            connection = next(iter(sending))
            del sending[connection]
            has_moved = True
            if connection.transmit(now):
                sending[connection] = None
        if sending and self._pumps_at is None:
            self._pumps_at = max(uplink.room_at(), now + 1)
            self.world.plan(self._pumps_at, _Moment(self.pump, self._pumps_at))
        return has_moved


class _Moment(Occurrence):
    """A time at which a host wanted to be called; it looks itself whether it still does."""

    __slots__ = ("_at", "_call")

    def __init__(self, call: Callable[[int, int], None], at: int) -> None:
        self._call = call
        self._at = at

    def happen(self, now: int) -> None:
        self._call(self._at, now)


def _ignore(event: Event, now: int) -> None:
    """Nobody listens yet."""
