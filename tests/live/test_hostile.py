"""Neighbours without the channel's key may say what they like: the channel goes on."""

from __future__ import annotations

from random import Random

import pytest

from livestream.machine import Address
from livestream.swarm.greeting import extension_handshake
from livestream.swarm.peer import Peer, PeerState
from livestream.wire import live
from livestream.wire.live import (
    Feed,
    Goodbye,
    HeadUpdate,
    LiveMessage,
    Refuse,
    Rooms,
    Status,
    Subscribe,
    Unsubscribe,
    WindowUpdate,
)
from livestream.wire.messages import (
    AllowedFast,
    Bitfield,
    Cancel,
    Choke,
    Extended,
    Have,
    HaveAll,
    HaveNone,
    Interested,
    Message,
    NotInterested,
    Piece,
    Reject,
    Request,
    Suggest,
    Unchoke,
)
from tests.live.neighbourhood import SIGNER, SUBSTREAMS, Neighbourhood

EDGES = (0, 1, 2, 255, 256, 65_535, 65_536, 1 << 31, (1 << 32) - 2, (1 << 32) - 1)
BARE = (Choke, Unchoke, Interested, NotInterested, HaveAll, HaveNone)
STRANGERS = 4
HONEST = 1


class Babbler:
    """Makes up messages, each valid by itself, from a seed."""

    def __init__(self, here: Neighbourhood, seed: int) -> None:
        self._here = here
        self._rng = Random(seed)

    def say_something(self, peer: Peer) -> None:
        """Have a neighbour say the next message."""
        rng = self._rng
        make = rng.choice((self._plain, self._extended, self._live, self._live))
        self._here.say(peer, make(peer))

    def _index(self) -> int:
        near = self._here.next_index + self._rng.randrange(-200, 200)
        return max(0, near) if self._rng.random() < 0.6 else self._rng.choice(EDGES)

    def _byte(self) -> int:
        return self._rng.choice((self._rng.randrange(SUBSTREAMS), 8, 31, 32, 254, 255))

    def _ms(self) -> int:
        return self._rng.choice((0, 1, 50, 500, live.LAG_UNKNOWN_MS - 1, live.LAG_UNKNOWN_MS))

    def _address(self) -> Address:
        hosts = ("192.0.2.7", "127.0.0.1", "224.0.0.1", "10.0.0.1", "2001:db8::1")
        return Address(self._rng.choice(hosts), self._rng.choice((0, 1, 6881, 65_535)))

    def _plain(self, peer: Peer) -> Message:
        rng, index = self._rng, self._index()
        return rng.choice(
            (
                rng.choice((Have, Suggest, AllowedFast))(index),
                Request(index, rng.choice((0, self._index())), self._index()),
                rng.choice((Cancel, Reject))(index, 0, self._index()),
                rng.choice(BARE)(),
                Bitfield(rng.randbytes(rng.randrange(2_000))),
                Piece(index, rng.choice((0, 0, 1)), self._piece(index)),
            )
        )

    def _piece(self, index: int) -> bytes:
        """Return a genuine piece that there was already, or a forgery, or a stump."""
        rng = self._rng
        data = self._here.piece(min(index, self._here.next_index), age_us=rng.choice((0, 50_000)))
        if index > self._here.next_index or rng.random() < 0.3:
            data = data[:-1] + bytes((data[-1] ^ 1,))
        return data if rng.random() < 0.8 else data[: rng.randrange(len(data))]

    def _extended(self, peer: Peer) -> Message:
        greeting = extension_handshake([self._here.channel.name], peer.address, {})
        payloads = (b"de", b"d1:md4:livei0eee", b"d1:mde1:pi70000ee", greeting)
        number = self._rng.choice((0, 1, 2, 3, 255))
        if number == 0:
            return Extended(0, self._rng.choice(payloads))
        return Extended(number, self._rng.randbytes(self._rng.randrange(1, 40)))

    def _live(self, peer: Peer) -> Message:
        rng = self._rng
        head = self._here.head().sign(SIGNER)
        ids = (b"srce", peer.node_id, self._here.swarm.node_id, rng.randbytes(4))
        count = rng.choice((SUBSTREAMS, SUBSTREAMS, 0, 1, 32))
        rooms = tuple((self._byte(), self._address()) for _ in range(rng.randrange(8)))
        others = tuple(self._address() for _ in range(rng.randrange(3)))
        lags_ms = tuple(self._ms() for _ in range(count))
        path = tuple(rng.choice(ids) for _ in range(rng.choice((1, 2, 16))))
        held = rng.getrandbits(rng.choice((1, 64, 1 << 14)))
        told: tuple[LiveMessage, ...] = (
            HeadUpdate(head if rng.random() < 0.9 else head[:-1] + b"x"),
            WindowUpdate(self._index(), self._index(), held),
            Subscribe(self._byte(), self._index(), is_fed=rng.random() < 0.5),
            Feed(self._byte(), self._ms(), path, self._address(), self._index()),
            Refuse(self._byte(), others, self._ms()),
            Unsubscribe(self._byte(), self._index()),
            Status(rng.random() < 0.1, self._byte(), self._byte(), self._byte(), lags_ms),
            Goodbye(rng.choice((None, self._address()))),
            Rooms(rooms),
        )
        return Extended(1, rng.choice(told).to_bytes())


def babble(here: Neighbourhood, seed: int, *, rounds: int) -> None:
    """Have strangers babble; who was let go is followed by another. All leave in the end."""
    rng, babbler = Random(seed), Babbler(here, seed)
    strangers: list[Peer] = []
    number = HONEST
    for _ in range(rounds):
        strangers = [each for each in strangers if each.state is not PeerState.CLOSED]
        while len(strangers) < STRANGERS and number < 200:
            number += 1
            strangers.append(here.join(number))
        babbler.say_something(rng.choice(strangers))
        if here.channel.is_source:
            here.publish()
        here.go_on(rng.choice((0.001, 0.01, 0.05)))
    for each in strangers:
        if each.state is not PeerState.CLOSED:
            here.leave(each)


@pytest.mark.parametrize("seed", range(20))
def test_a_viewer_is_fed_by_the_honest_one_whatever_the_others_say(seed: int) -> None:
    here = Neighbourhood(seed=seed)
    honest = here.join(HONEST)
    here.serve(honest)
    here.go_on(2)
    babble(here, seed, rounds=150)
    here.go_on(8)
    begin = here.next_index - 40
    held = [here.channel.window.holds(index) for index in range(begin, here.next_index - 5)]
    assert all(held)
    assert all(here.channel.feeders.feeder(number) is honest for number in range(SUBSTREAMS))


@pytest.mark.parametrize("seed", range(10))
def test_a_publisher_goes_on_whatever_its_viewers_say(seed: int) -> None:
    here = Neighbourhood(is_source=True, upload_bps=20_000_000, seed=seed)
    babble(here, seed, rounds=150)
    child = here.join(HONEST)
    here.tell(child, Subscribe(0, here.next_index))
    here.pushed()
    for _ in range(SUBSTREAMS * 2):
        here.publish()
        here.go_on(0.02)
    pushed = [index for peer, index in here.pushed() if peer is child]
    assert pushed
    assert {index % SUBSTREAMS for index in pushed} == {0}


def test_a_claim_billions_of_pieces_ahead_costs_nothing_to_look_at() -> None:
    """Else each look at who holds what would fill half a gigabyte."""
    here = Neighbourhood()
    other = here.join(HONEST)
    here.next_index = 50
    here.say(other, Have((1 << 32) - 1))
    here.tell(other, WindowUpdate(0, 0, (1 << 40) - 1))
    assert other.held.bits_from(0).bit_length() <= 1 << 15


def test_a_publisher_takes_no_piece_of_another_that_has_its_key() -> None:
    """Who starts the same channel twice within a second has two publishers of one epoch."""
    here = Neighbourhood(is_source=True)
    viewer = here.join(HONEST)
    here.publish()
    here.give(viewer, 7)
    assert here.swarm.stats.pieces_strange == 1
    assert not here.channel.window.holds(7)
    assert viewer in here.swarm.ready
