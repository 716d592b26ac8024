"""Virtual time for whole nodes: datagrams as in `World`, and byte streams beside them.

Firewalls drop datagrams without a sign; streams get through, as on port-restricted networks.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from livestream.machine import Address, Machine, Train
from livestream.swarm.node import Node
from livestream.transport.connection import ConnectionState
from livestream.transport.stream import Stream
from tests.world import Link, World


class _Uplink(Machine):
    """A node behind a firewall that drops UDP while it is told to."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.blocks_udp = False
        self.datagrams_dropped = 0

    def receive_train(self, train: Train, now: int) -> None:
        if self.blocks_udp:
            self.datagrams_dropped += 1
        else:
            self.node.receive_train(train, now)

    def trains_to_send(self, now: int) -> list[Train]:
        trains = self.node.trains_to_send(now)
        if self.blocks_udp:
            self.datagrams_dropped += len(trains)
            return []
        return trains

    def get_timer(self) -> int | None:
        return self.node.get_timer()

    def handle_timer(self, now: int) -> None:
        self.node.handle_timer(now)

    def next_event(self) -> None:
        return None


class Internet(World):
    """Joins nodes by datagrams and by streams, over links of the same delay."""

    def __init__(self, seed: int, link: Link) -> None:
        super().__init__(seed, link)
        self.bytes_by_stream: dict[Address, int] = {}
        "Bytes that each node sent on streams."
        self._nodes: dict[Address, Node] = {}
        self._uplinks: dict[Address, _Uplink] = {}
        self._ends: dict[Stream, tuple[Address, Stream]] = {}
        "The other end of a stream, and where that is."
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0

    def add_node(self, address: Address, node: Node) -> None:
        """Put a node at an address."""
        self._nodes[address] = node
        self._uplinks[address] = _Uplink(node)
        self.bytes_by_stream[address] = 0
        self.add(address, self._uplinks[address])

    def block_udp(self, address: Address, *, is_blocked: bool = True) -> None:
        """From now on its firewall drops datagrams, both ways; or does so no more."""
        self._uplinks[address].blocks_udp = is_blocked

    def flush(self) -> None:
        """Let datagrams depart, and carry out what streams want, until nobody wants anything."""
        while True:
            super().flush()
            if not any(self._serve(address) for address in self._nodes):
                return

    def _next_at(self) -> int | None:
        times = [at for at in (super()._next_at(),) if at is not None]
        times += [self._due[0][0]] if self._due else []
        return min(times, default=None)

    def _deliver(self) -> None:
        super()._deliver()
        while self._due and self._due[0][0] <= self.now:
            heappop(self._due)[2]()

    def _later(self, act: Callable[[], None]) -> None:
        self._number += 1
        heappush(self._due, (self.now + self.link.delay_us, self._number, act))

    def _serve(self, address: Address) -> bool:
        streams = self._nodes[address].streams
        has_acted = False
        while (dialled := streams.next_dial()) is not None:
            self._later(lambda stream=dialled: self._connect(address, stream))  # type: ignore[misc]
        for stream in streams.take_unsent():
            if stream.state is ConnectionState.CLOSED and stream in self._ends:
                self._later(lambda ended=stream: self._hang_up(ended))  # type: ignore[misc]
            data = b"".join(stream.buffers_to_send()) if stream in self._ends else b""
            if data:
                has_acted = True
                stream.sent(len(data), self.now)
                self.bytes_by_stream[address] += len(data)
                self._later(lambda s=stream, d=data: self._carry(s, d))  # type: ignore[misc]
        return has_acted

    def _connect(self, caller: Address, stream: Stream) -> None:
        called = self._nodes.get(stream.address)
        self._number += 1
        source = Address(caller.host, 30_000 + self._number)
        end = None if called is None else called.streams.accept(source, self.now)
        if called is None or end is None:
            stream.lost("refused")
        else:
            self._ends[stream], self._ends[end] = (stream.address, end), (caller, stream)
            called.handle_streams(self.now)
            stream.connected(self.now)
        self._nodes[caller].handle_streams(self.now)

    def _carry(self, stream: Stream, data: bytes) -> None:
        if stream not in self._ends:
            return
        address, end = self._ends[stream]
        rest = memoryview(data)
        while rest and end.state is ConnectionState.CONNECTED:
            rest = rest[end.receive_some(rest, self.now) :]
            self._nodes[address].handle_streams(self.now)
            end.rewind()

    def _hang_up(self, stream: Stream) -> None:
        if stream not in self._ends:
            return
        address, end = self._ends.pop(stream)
        self._ends.pop(end, None)
        end.lost("hung up")
        self._nodes[address].handle_streams(self.now)
