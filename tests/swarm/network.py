"""Block swarms of many nodes, joined by simulated byte streams, in virtual time.

The clock jumps from what is due to what is due next, so that a run with one seed is always the
same run, and minutes of transfer take as long as their hashing and copying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha1
from heapq import heappop, heappush
from random import Random

from livestream.config import SwarmConfig, Transport
from livestream.machine import MILLISECOND, SECOND, Address, Event
from livestream.pieces.assembly import BLOCK_BYTES
from livestream.pieces.blockstore import BlockStore
from livestream.pieces.pieceset import PieceSet
from livestream.sim.contents import Contents, image_of
from livestream.swarm.blocks import BlockSeams, BlockSwarm
from livestream.swarm.node import Node
from livestream.torrent.choker import TitForTat
from livestream.torrent.picker import RarestFirst
from livestream.transport.connection import ConnectionState
from livestream.transport.stream import Stream
from livestream.wire.image import PieceImage
from tests.transport.identity import identity

LISTEN_PORT = 6881
HASHING_US = MILLISECOND
INFO_HASH = b"virtual time, really"


@dataclass(frozen=True)
class Link:
    """How a host is connected; `upload_bps` is the wire's, which the node does not know."""

    delay_us: int = 20 * MILLISECOND
    upload_bps: int | None = None


class HashStore(BlockStore):
    """Keeps genuine pieces in memory, and says which are not."""

    def __init__(self, contents: Contents, held: Iterable[int]) -> None:
        self.contents = contents
        self.held = PieceSet(contents.count)
        self.results: list[tuple[int, bool]] = []
        "What was hashed and not yet reported."
        self.loaded: list[int] = []
        self._pieces: dict[int, bytes] = {}
        for index in held:
            self._pieces[index] = contents.piece(index)
            self.held.add(index)

    @property
    def data(self) -> bytes:
        """All that is held, in order."""
        return b"".join(self._pieces[index] for index in sorted(self._pieces))

    def lose(self, index: int) -> None:
        """The file was cut: it is noticed when the piece is to be read."""
        del self._pieces[index]

    def piece_size(self, index: int) -> int:
        return self.contents.piece_bytes

    def padding_size(self, index: int) -> int:
        return 0

    @property
    def has_room(self) -> bool:
        return True

    def submit(self, index: int, buffer: bytearray) -> None:
        is_genuine = sha1(buffer, usedforsecurity=False).digest() == self.contents.digests[index]
        if is_genuine:
            self._pieces[index] = bytes(buffer)
        self.results.append((index, is_genuine))

    def load(self, index: int) -> None:
        self.loaded.append(index)

    def image(self, index: int) -> PieceImage | None:
        piece = self._pieces.get(index)
        if piece is None:
            return None
        return image_of(index, piece)


@dataclass(eq=False)
class Host:
    """One node with one swarm, and what a test wants to know of it."""

    address: Address
    node: Node
    swarm: BlockSwarm
    store: HashStore
    link: Link
    kept: list[tuple[int, int]] = field(default_factory=list)
    "(when, piece) of all that was verified."
    finished_at: int | None = None
    events: list[Event] = field(default_factory=list)
    is_stalled: bool = False
    "Its uplink carries nothing any more, though it is there."
    unsent: dict[Stream, None] = field(default_factory=dict)
    free_at: int = 0
    timer_at: int | None = None

    @property
    def neighbours(self) -> list[str]:
        """Hosts of the peers that can be talked to."""
        return sorted(peer.address.host for peer in self.swarm.block_peers)


class Network:
    """Hosts and the streams between them."""

    def __init__(self, contents: Contents, seed: int = 1) -> None:
        self.now = SECOND
        self.contents = contents
        self.hosts: dict[str, Host] = {}
        self._seed = seed
        self._ends: dict[Stream, tuple[Host, Stream]] = {}
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._callers = 0

    # Set-up

    def add(
        self,
        held: Iterable[int] = (),
        *,
        wanted: Iterable[int] | None = None,
        link: Link | None = None,
        upload_bps: int | None = None,
        config: SwarmConfig | None = None,
    ) -> Host:
        """Add a host that holds these pieces; `upload_bps` is its own cap, as by `--max-up`."""
        number = len(self.hosts) + 1
        config = config or SwarmConfig(
            transport=Transport.TCP,
            neighbours_wanted=80,
            peers_max=200,
            attempts_max=30,
            silence_max_us=180 * SECOND,
            upload_bps=upload_bps,
        )
        rng = Random(self._seed * 1_000 + number)
        store = HashStore(self.contents, held)
        picker = RarestFirst(self.contents.count, rng)
        is_wanted = set(range(self.contents.count) if wanted is None else wanted)
        for index in range(self.contents.count):
            if index in store.held or index not in is_wanted:
                picker.close(index)
        me = identity(number)
        seams = BlockSeams(store, picker, TitForTat(rng))
        swarm = BlockSwarm(INFO_HASH, me.public_key, seams, config, rng)
        swarm.listen_port = LISTEN_PORT
        node = Node(me, rng, swarm=config)
        node.add_swarm(swarm, self.now)
        address = Address(f"5.{number}.0.1", LISTEN_PORT)
        host = Host(address, node, swarm, store, link or Link())
        self.hosts[address.host] = host
        self._serve(host)
        return host

    def add_seed(self, *, upload_bps: int | None = None, link: Link | None = None) -> Host:
        """Add a host that holds everything."""
        return self.add(range(self.contents.count), upload_bps=upload_bps, link=link)

    def introduce(self, host: Host, *others: Host) -> None:
        """Tell a host where others are, as a tracker does."""
        addresses = [other.address for other in others]
        host.node.add_candidates(INFO_HASH, addresses, self.now)
        self._serve(host)

    def introduce_all(self) -> None:
        """Tell everybody of those who were there before."""
        hosts = list(self.hosts.values())
        for place, host in enumerate(hosts):
            self.introduce(host, *hosts[:place])

    def leave(self, host: Host) -> None:
        """Take a host away, as the end of its process does: its streams end."""
        del self.hosts[host.address.host]
        for stream, (owner, end) in list(self._ends.items()):
            if owner is host:
                self._hang_up(stream, end)

    # Time

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True as soon as `until` is so, which ends it."""
        end = self.now + int(seconds * SECOND)
        while self._due and self._due[0][0] <= end:
            at, _, act = heappop(self._due)
            self.now = max(self.now, at)
            act()
            if until is not None and until():
                return True
        self.now = end
        return False

    def run_until_complete(self, seconds: float, *hosts: Host) -> None:
        """Let time pass until all of these have all that they want; fails when they do not."""
        wanted = hosts or tuple(self.hosts.values())

        def is_done() -> bool:
            return all(host.swarm.is_complete for host in wanted)

        late = [host.address.host for host in wanted]
        assert self.run(seconds, is_done), f"of {late}, not all complete within {seconds} s"

    def at(self, host: Host, act: Callable[[int], None]) -> None:
        """Do something to a host now, and let it act on it."""
        act(self.now)
        self._serve(host)

    # Driving

    def _later(self, at: int, act: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._due, (at, self._order, act))

    def _serve(self, host: Host) -> None:
        """Carry out what a host wants until it wants nothing."""
        if host.address.host not in self.hosts:
            return
        node = host.node
        while True:
            assert node.trains_to_send(self.now) == []
            while (stream := node.streams.next_dial()) is not None:
                self._dial(host, stream)
            host.unsent |= dict.fromkeys(node.streams.take_unsent())
            if not self._send(host):
                break
        self._report(host)
        while (event := node.next_event()) is not None:
            host.events.append(event)
        if host.finished_at is None and host.swarm.is_complete:
            host.finished_at = self.now
        self._arm(host)

    def _arm(self, host: Host) -> None:
        at = host.node.get_timer()
        if at is not None and (host.timer_at is None or at < host.timer_at):
            host.timer_at = at
            self._later(at, lambda: self._on_timer(host, at))

    def _on_timer(self, host: Host, at: int) -> None:
        if host.timer_at == at and host.address.host in self.hosts:
            host.timer_at = None
            host.node.handle_timer(self.now)
            self._serve(host)

    def _report(self, host: Host) -> None:
        results, host.store.results = host.store.results, []
        for index, is_genuine in results:
            self._later(self.now + HASHING_US, lambda i=index, g=is_genuine: self._keep(host, i, g))  # type: ignore[misc]
        loaded, host.store.loaded = host.store.loaded, []
        for index in loaded:
            self._later(self.now + HASHING_US, lambda i=index: self._load(host, i))  # type: ignore[misc]

    def _keep(self, host: Host, index: int, is_genuine: bool) -> None:
        if is_genuine:
            host.store.held.add(index)
            host.kept.append((self.now, index))
        host.swarm.on_verified(index, is_genuine=is_genuine, now=self.now)
        self._serve(host)

    def _load(self, host: Host, index: int) -> None:
        if host.store.image(index) is None:
            host.store.held.discard(index)
        host.swarm.on_loaded(index, self.now)
        self._serve(host)

    # Streams

    def _dial(self, host: Host, stream: Stream) -> None:
        self._later(self.now + host.link.delay_us, lambda: self._answer(host, stream))

    def _answer(self, host: Host, stream: Stream) -> None:
        called = self.hosts.get(stream.address.host)
        self._callers += 1
        caller = Address(host.address.host, 40_000 + self._callers)
        end = None if called is None else called.node.streams.accept(caller, self.now)
        if called is None or end is None:
            stream.lost("refused")
        else:
            self._ends[stream] = host, end
            self._ends[end] = called, stream
            called.node.handle_streams(self.now)
            self._serve(called)
            stream.connected(self.now)
        host.node.handle_streams(self.now)
        self._serve(host)

    def _send(self, host: Host) -> bool:
        """Let one round of streams send; True if anything went."""
        has_sent = False
        for stream in list(host.unsent):
            if stream.state is ConnectionState.CLOSED:
                del host.unsent[stream]
                if stream in self._ends:
                    self._hang_up(stream, self._ends[stream][1])
                continue
            if host.is_stalled or host.free_at > self.now or stream not in self._ends:
                continue
            size = self._send_some(host, stream)
            has_sent |= size > 0
            del host.unsent[stream]
            if size and stream.backlog_bytes:
                host.unsent[stream] = None  # Its next turn comes after everybody else's.
        return has_sent

    def _send_some(self, host: Host, stream: Stream) -> int:
        data = b"".join(stream.buffers_to_send())
        rate = host.link.upload_bps
        if rate is not None and data:
            data = data[:BLOCK_BYTES]
            host.free_at = self.now + len(data) * 8 * SECOND // rate
            self._later(host.free_at, lambda: self._serve(host))
        if data:
            stream.sent(len(data), self.now)
            receiver = self._ends[stream][1]
            arrives_at = max(self.now, host.free_at) + host.link.delay_us
            self._later(arrives_at, lambda: self._deliver(receiver, data))
        return len(data)

    def _deliver(self, stream: Stream, data: bytes) -> None:
        if stream not in self._ends:
            return
        host, _ = self._ends[stream]
        rest = memoryview(data)
        while rest and stream.state is ConnectionState.CONNECTED:
            rest = rest[stream.receive_some(rest, self.now) :]
            host.node.handle_streams(self.now)
            stream.rewind()
        self._serve(host)

    def _hang_up(self, stream: Stream, end: Stream) -> None:
        """One end is closed: the other hears of it after what is on its way."""
        host, _ = self._ends.pop(stream)

        def lose() -> None:
            if end in self._ends:
                other, _ = self._ends.pop(end)
                end.lost("hung up")
                other.node.handle_streams(self.now)
                self._serve(other)

        self._later(max(self.now, host.free_at) + host.link.delay_us, lose)
