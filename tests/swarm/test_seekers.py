"""A v2-only magnet among nodes in memory: metadata, then piece layers, whoever else is there."""

from __future__ import annotations

from hashlib import sha256
from random import Random

import pytest

from livestream.config import SwarmConfig
from livestream.machine import SECOND, Address
from livestream.pieces.merkle import HashLayer
from livestream.swarm.blocks import BlockSeams, BlockSwarm
from livestream.swarm.hashes import HashFetch, HashServe
from livestream.swarm.metadata import MetadataFetch, MetadataServe
from livestream.swarm.node import Node
from livestream.swarm.seekers import SeekerSwarm
from livestream.swarm.swarm import PeerBanned, Swarm
from livestream.torrent.choker import TitForTat
from livestream.torrent.picker import RarestFirst
from livestream.transport.stream import Stream
from tests.swarm.memory import MemoryStore
from tests.transport.identity import identity

BASE = 2
INFO = b"info" * 9_000
INFO_HASH = sha256(INFO).digest()
LAYERS = {
    HashLayer(layer, BASE).root: layer
    for layer in (Random(count).randbytes(32 * count) for count in (2, 700, 3_000))
}
CONFIG = SwarmConfig(silence_max_us=180 * SECOND)


class Net:
    """Nodes whose streams are joined in memory, in virtual time."""

    def __init__(self) -> None:
        self.now = 0
        self.nodes: dict[Address, Node] = {}
        self._joined: list[tuple[Stream, Stream]] = []

    def add(self, swarm: Swarm, number: int) -> Address:
        address = Address(f"192.0.2.{number}", 6881)
        node = Node(identity(number), Random(number), swarm=CONFIG)
        node.add_swarm(swarm, self.now)
        self.nodes[address] = node
        return address

    def run(self, seconds: int) -> None:
        for _ in range(seconds * 10):
            self.now += SECOND // 10
            for node in self.nodes.values():
                node.handle_timer(self.now)
            for _ in range(50):
                self._connect()
                self._carry()

    def _connect(self) -> None:
        for caller, node in self.nodes.items():
            while (dialled := node.streams.next_dial()) is not None:
                answered = self.nodes[dialled.address].streams.accept(caller, self.now)
                assert answered is not None
                dialled.connected(self.now)
                self._joined.append((dialled, answered))

    def _carry(self) -> None:
        for pair in self._joined:
            for sender, receiver in (pair, pair[::-1]):
                for train in sender.trains_to_send(self.now):
                    receiver.receive_data(train.data, self.now)
        for node in self.nodes.values():
            node.handle_streams(self.now)


class Seeker:
    """Looks for the metadata and then the layers, and keeps what it found."""

    def __init__(self, net: Net, number: int = 1) -> None:
        self._net = net
        self.layers: list[dict[bytes, bytes]] = []
        self.swarm = SeekerSwarm(INFO_HASH[:20], identity(number).public_key, CONFIG, Random(1))
        self.swarm.speak(MetadataFetch((b"", INFO_HASH), self._on_info, self.swarm.ban))

    def _on_info(self, info: bytes) -> None:
        assert info == INFO
        counts = {root: len(layer) // 32 for root, layer in LAYERS.items()}
        fetch = HashFetch(counts, BASE, self.layers.append, self.swarm.ban)
        self.swarm.seek(fetch, self._net.now)

    @property
    def banned(self) -> list[Address]:
        found = []
        while (event := self.swarm.next_event()) is not None:
            if isinstance(event, PeerBanned):
                found.append(event.peer.address)
        return found


def seed(number: int, layers: dict[bytes, bytes], *, has_info: bool = True) -> BlockSwarm:
    seams = BlockSeams(MemoryStore(1), RarestFirst(1, Random(1)), TitForTat(Random(1)))
    swarm = BlockSwarm(INFO_HASH[:20], identity(number).public_key, seams, CONFIG, Random(number))
    swarm.hashes = HashServe(layers, BASE)
    if has_info:
        swarm.metadata_size = len(INFO)
        swarm.speak(MetadataServe(INFO))
    return swarm


@pytest.fixture
def net() -> Net:
    return Net()


def test_metadata_and_layers_come_from_a_seed(net: Net) -> None:
    seeker = Seeker(net)
    net.add(seeker.swarm, 1)
    seeker.swarm.candidates.add([net.add(seed(2, LAYERS), 2)])
    net.run(3)
    assert seeker.layers == [LAYERS]


def test_a_peer_that_comes_after_the_metadata_is_asked_for_what_others_lack(net: Net) -> None:
    """Goal: peers that refuse do not stop it, and a late one is asked without delay."""
    seeker = Seeker(net)
    net.add(seeker.swarm, 1)
    seeker.swarm.candidates.add([net.add(seed(2, {}), 2)])
    net.run(5)
    assert seeker.layers == []
    late = net.add(seed(3, LAYERS, has_info=False), 3)
    seeker.swarm.candidates.add([late])
    net.nodes[Address("192.0.2.1", 6881)].add_candidates(INFO_HASH[:20], [late], net.now)
    net.run(2)
    assert seeker.layers == [LAYERS]


def test_a_liar_is_banned_and_what_it_said_is_not_believed(net: Net) -> None:
    seeker = Seeker(net)
    net.add(seeker.swarm, 1)
    false = {root: bytes(len(layer)) for root, layer in LAYERS.items()}
    liar = net.add(seed(2, false), 2)
    honest = net.add(seed(3, LAYERS), 3)
    seeker.swarm.candidates.add([liar, honest])
    net.run(10)
    assert seeker.layers == [LAYERS]
    assert seeker.banned == [liar]


def test_two_seekers_ask_each_other_and_neither_waits_for_ever(net: Net) -> None:
    """A seeker has no layers to give and says so, so that the other goes on to whoever has."""
    first, second = Seeker(net), Seeker(net, 4)
    addresses = [net.add(first.swarm, 1), net.add(second.swarm, 4), net.add(seed(2, LAYERS), 2)]
    first.swarm.candidates.add(addresses[1:])
    second.swarm.candidates.add(addresses[2:])
    net.run(20)
    assert first.layers == [LAYERS]
    assert second.layers == [LAYERS]
