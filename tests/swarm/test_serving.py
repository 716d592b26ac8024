"""Who is served first, and with which piece."""

from __future__ import annotations

from random import Random

from livestream.machine import SECOND
from livestream.pieces.assembly import BLOCK_BYTES
from livestream.swarm.blockpeer import CREDIT_BYTES, JUDGED_AFTER_US, BlockPeer
from livestream.swarm.serving import HOARD_MAX, ServingOrder
from livestream.torrent.picker import RarestFirst
from tests.swarm.memory import make_peer

COUNT = 64


class Counter:
    """A node's waiting peers."""

    def __init__(self, waiting: int) -> None:
        self.picker = RarestFirst(COUNT, Random(1))
        self.order = ServingOrder(self.picker)
        self.peers = [make_peer(number, COUNT, has_all=False) for number in range(1, waiting + 1)]

    def ask(self, peer: BlockPeer, *indexes: int) -> None:
        for index in indexes:
            peer.asked_of_us[index, 0, BLOCK_BYTES] = None

    def sort(self, *, is_seed: bool = True) -> list[BlockPeer]:
        return self.order.sort(self.peers, is_seed=is_seed)


def test_what_was_never_given_goes_before_what_somebody_has() -> None:
    counter = Counter(2)
    first, second = counter.peers
    counter.order.on_begun(first, 7)
    counter.ask(first, 9)
    counter.ask(second, 7, 8)
    counter.order.on_begun(first, 9)
    counter.ask(first, 9)
    assert counter.sort() == [first, second], "a piece that was begun is finished"
    assert [block[0] for block in second.asked_of_us] == [8, 7]
    first.serving = None
    assert counter.sort() == [second, first]


def test_alone_in_the_queue_a_peer_keeps_its_order() -> None:
    counter = Counter(1)
    (only,) = counter.peers
    counter.order.on_begun(only, 3)
    counter.ask(only, 4, 3, 5)
    counter.sort()
    assert [block[0] for block in only.asked_of_us] == [4, 3, 5]


def hoarding(counter: Counter, peer: BlockPeer) -> None:
    for index in range(HOARD_MAX + 1):
        counter.order.on_begun(peer, index)
    peer.serving = None


def test_a_seed_serves_last_who_passes_nothing_on() -> None:
    counter = Counter(2)
    keeper, other = counter.peers
    hoarding(counter, keeper)
    counter.picker.add_piece(keeper.pieces, 51)
    counter.ask(keeper, 50)
    counter.ask(other, 51)
    assert counter.sort() == [other, keeper], "though its piece is not the rarest"
    for index in range(HOARD_MAX + 1):
        counter.order.on_have(other, index)
    assert counter.sort() == [keeper, other], "what it had is elsewhere now"


def test_what_one_keeps_to_itself_is_given_as_if_nobody_had_it() -> None:
    counter = Counter(3)
    keeper, one, two = counter.peers
    hoarding(counter, keeper)
    counter.picker.add_piece(keeper.pieces, 0)
    counter.order.on_begun(one, 60)
    one.serving = None
    for peer in (keeper, one, two):
        counter.ask(peer, 60)
    counter.ask(two, 0)
    counter.sort()
    assert next(iter(two.asked_of_us))[0] == 0


def test_what_left_with_a_peer_is_given_again() -> None:
    counter = Counter(2)
    first, second = counter.peers
    counter.order.on_begun(first, 1)
    counter.order.on_begun(second, 2)
    second.serving = None
    counter.order.on_left(first)
    counter.ask(second, 2, 1)
    counter.ask(first, 2)
    counter.sort()
    assert next(iter(second.asked_of_us))[0] == 1


def test_a_leecher_serves_free_riders_last() -> None:
    counter = Counter(2)
    rider, giver = counter.peers
    for peer in counter.peers:
        peer.bytes_out = CREDIT_BYTES + 1
        peer.is_wanted = True
        peer.measure(JUDGED_AFTER_US + SECOND)
    giver.bytes_in = CREDIT_BYTES
    counter.ask(rider, 1)
    counter.ask(giver, 2)
    counter.order.on_begun(rider, 2)
    rider.serving = None
    assert counter.sort(is_seed=False) == [giver, rider]


def test_who_has_nothing_for_us_yet_is_no_free_rider() -> None:
    newcomer = make_peer(1, COUNT, has_all=False)
    newcomer.bytes_out = 100 * CREDIT_BYTES
    newcomer.measure(10 * JUDGED_AFTER_US)
    assert not newcomer.is_free_rider
