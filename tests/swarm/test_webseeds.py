"""Web seeds in a swarm, in virtual time: peers like any other, that nobody serves or calls."""

from __future__ import annotations

from random import Random

from livestream.config import Identity, SwarmConfig
from livestream.machine import SECOND
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.blocks import BlockSeams, BlockSwarm
from livestream.swarm.node import Node
from livestream.swarm.pex import PeerExchange
from livestream.swarm.swarm import PeerBanned
from livestream.torrent.choker import TitForTat
from livestream.torrent.picker import RarestFirst
from livestream.transport.fetch import ResponseHead
from tests.swarm.memory import PIECE_BYTES, MemoryStore, QuietConnection
from tests.transport.identity import identity
from tests.transport.website import Website

COUNT = 6


class World:
    """A node with one swarm and one web seed, whose answers the test gives."""

    def __init__(self, me: Identity) -> None:
        rng = Random(3)
        self.now = 0
        self.store = MemoryStore(COUNT)
        self.site = Website([COUNT * PIECE_BYTES], PIECE_BYTES)
        picker = RarestFirst(COUNT, rng)
        seams = BlockSeams(self.store, picker, TitForTat(rng))
        config = SwarmConfig(silence_max_us=180 * SECOND)
        self.swarm = BlockSwarm(bytes(20), me.public_key, seams, config, rng)
        self.node = Node(me, rng, swarm=config)
        self.node.add_swarm(self.swarm, 0)
        self.node.add_web_seeds([self.site], 0)
        self.banned: list[PeerBanned] = []
        self.fetches = 0
        self.is_honest = True
        self.status = 206

    def run(self, until: int) -> None:
        """Let time pass; the server answers at once."""
        while self.now < until:
            self.node.handle_timer(self.now)
            while (found := self.node.web_seeds.next_fetch(self.now)) is not None:
                self.fetches += 1
                seed, fetch = found
                head = self.site.head(fetch) if self.status == 206 else ResponseHead(self.status)
                seed.receive_head(fetch, head)
                body = self.site.body(fetch)
                seed.receive_body(fetch, body if self.is_honest else bytes(len(body)))
                self.node.handle_streams(self.now)
            self._verify()
            while (event := self.node.next_event()) is not None:
                if isinstance(event, PeerBanned):
                    self.banned.append(event)
            assert self.node.trains_to_send(self.now) == []
            self.now += SECOND // 4

    def _verify(self) -> None:
        while self.store.submitted:
            index, data = self.store.submitted.pop(0)
            start = index * PIECE_BYTES
            is_genuine = data == self.site.whole[start : start + PIECE_BYTES]
            if is_genuine:
                self.store.held.add(index)
            self.swarm.on_verified(index, is_genuine=is_genuine, now=self.now)


def test_a_swarm_completes_from_a_web_seed_alone() -> None:
    world = World(identity(1))
    world.run(20 * SECOND)
    assert world.swarm.is_complete
    assert world.swarm.stats.payload_bytes == COUNT * PIECE_BYTES
    assert world.swarm.stats.pieces_duplicate == 0
    assert world.swarm.stats.stream_bytes_out == 0


def test_a_web_seed_stays_for_hours_though_it_has_nothing_to_say() -> None:
    world = World(identity(1))
    world.run(20 * SECOND)
    (peer,) = world.swarm.block_peers
    world.run(2_000 * SECOND)
    assert world.swarm.block_peers == [peer]


def test_a_web_seed_is_never_called_as_a_peer() -> None:
    world = World(identity(1))
    world.status = 404
    for _ in range(20):
        world.run(world.now + 10 * SECOND)
        assert world.swarm.next_attempts(world.now) == []
        assert world.node.streams.next_dial() is None


def test_a_web_seed_takes_no_upload_slot() -> None:
    world = World(identity(1))
    world.run(60 * SECOND)
    (peer,) = world.swarm.block_peers
    assert peer.is_choked
    assert not peer.wants_us


def test_peers_are_not_told_of_a_web_seed() -> None:
    world = World(identity(1))
    world.run(SECOND)
    (web_seed,) = world.swarm.block_peers
    connection = QuietConnection(9)
    listener = BlockPeer(connection, b"", 0, COUNT)
    listener.extensions = {"ut_pex": 1}
    exchange = PeerExchange(lambda: [web_seed, listener])
    exchange.on_ready(listener, world.now)
    exchange.handle_timer(world.now + 60 * SECOND)
    assert connection.sent == []


def test_a_web_seed_that_lies_is_banned_and_not_asked_again() -> None:
    world = World(identity(1))
    world.is_honest = False
    world.run(60 * SECOND)
    assert len({event.peer for event in world.banned}) == 1
    asked = world.fetches
    world.is_honest = True
    world.run(2 * 3_600 * SECOND)
    assert world.fetches == asked
    assert not world.swarm.is_complete


def test_a_web_seed_that_was_down_is_used_when_it_is_back() -> None:
    world = World(identity(1))
    world.status = 503
    world.run(40 * SECOND)
    assert not world.swarm.block_peers
    assert world.fetches
    world.status = 206
    world.run(200 * SECOND)
    assert world.swarm.is_complete


def test_leaving_a_swarm_ends_its_web_seeds() -> None:
    world = World(identity(1))
    world.run(SECOND)
    world.node.remove_swarm(world.swarm, world.now)
    asked = world.fetches
    world.run(200 * SECOND)
    assert world.fetches == asked
    assert world.node.web_seeds.next_attempts(1 << 60) == []
