"""Tit for tat: who gives gets, newcomers get a chance, and a seed takes turns."""

from __future__ import annotations

from random import Random

from livestream.machine import SECOND
from livestream.swarm.blockpeer import BlockPeer
from livestream.torrent.choker import ROUND_US, TitForTat
from tests.swarm.memory import make_peer


def wanting(count: int) -> list[BlockPeer]:
    peers = [make_peer(number, 4) for number in range(1, count + 1)]
    for peer in peers:
        peer.wants_us = True
    return peers


def test_free_slots_are_given_at_once_and_no_more_than_there_are() -> None:
    choker = TitForTat(Random(1), slots=2)
    first, second, third = wanting(3)
    assert choker.on_interested(first, 0)
    assert choker.on_interested(second, 0)
    assert not choker.on_interested(third, 0)
    choker.on_left(first)
    assert choker.on_interested(third, 0)


def test_who_gave_most_is_unchoked_and_one_more_by_chance() -> None:
    choker = TitForTat(Random(1), slots=2)
    peers = wanting(6)
    for number, peer in enumerate(peers):
        peer.bytes_in_round = 1_000 * number
    chosen = choker.rank(peers, ROUND_US, is_seed=False, has_spare_upload=False)
    assert chosen[:2] == [peers[5], peers[4]]
    assert len(chosen) == 3
    assert all(peer.bytes_in_round == 0 for peer in peers)
    assert choker.serves(chosen[2], 0, 0)


def test_the_optimistic_slot_is_drawn_anew_every_third_round() -> None:
    choker = TitForTat(Random(4), slots=1)
    peers = wanting(8)
    drawn = []
    for number in range(30):
        peers[0].bytes_in_round = 1_000
        chosen = choker.rank(peers, number * ROUND_US, is_seed=False, has_spare_upload=False)
        drawn.append(chosen[1])
    assert all(drawn[n] is drawn[n + 1] is drawn[n + 2] for n in range(0, 30, 3))
    assert len(set(map(id, drawn))) > 3


def test_a_snubber_loses_its_slot() -> None:
    choker = TitForTat(Random(1), slots=1)
    snubber, other = wanting(2)
    snubber.bytes_in_round = 1_000
    snubber.is_snubbed = True
    assert choker.rank([snubber, other], 0, is_seed=False, has_spare_upload=False)[0] is other


def test_a_seed_lets_everybody_have_a_turn() -> None:
    choker = TitForTat(Random(1), slots=1)
    peers = wanting(4)
    served: dict[int, None] = {}
    now = 0
    for _ in range(60):
        now += ROUND_US
        best = choker.rank(peers, now, is_seed=True, has_spare_upload=False)[0]
        served[id(best)] = None
        for peer in peers:
            if peer is best and peer.is_choked:
                peer.is_choked, peer.bytes_out_turn = False, 0
            elif peer is not best and not peer.is_choked:
                peer.is_choked, peer.choked_at = True, now
        best.count_out(10 << 20)
    assert len(served) == 4


def test_slots_grow_while_upload_is_left_over_and_shrink_when_starved() -> None:
    choker = TitForTat(Random(1), slots=4)
    peers = wanting(10)
    for number in range(3):
        for peer in peers:
            peer.bytes_out_round = 10 << 20
        choker.rank(peers, number * ROUND_US, is_seed=False, has_spare_upload=True)
    assert choker.slots == 6
    choker = TitForTat(Random(1), slots=8)
    for number in range(3):
        choker.rank(peers, number * 10 * SECOND, is_seed=False, has_spare_upload=False)
    assert choker.slots < 8


def test_a_slot_stays_empty_rather_than_go_to_a_free_rider() -> None:
    choker = TitForTat(Random(3))
    giver, rider = make_peer(1, 8), make_peer(2, 8)
    for peer in (giver, rider):
        peer.wants_us = peer.is_wanted = True
        assert choker.on_interested(peer, 0)
        peer.bytes_out = 100 << 20
        peer.measure(60 * SECOND)
    giver.bytes_in = 50 << 20
    assert choker.gives_up(rider)
    assert not choker.gives_up(giver)
    peers = [giver, rider]
    rounds = [
        choker.rank(peers, now * 10 * SECOND, is_seed=False, has_spare_upload=True)
        for now in range(100)
    ]
    assert all(giver in chosen for chosen in rounds)
    tries = sum(rider in chosen for chosen in rounds)
    assert 0 < tries < 40, "another try now and then, and no more"
    assert not choker.on_interested(rider, 0) or rider in choker.unchoked


def test_a_seed_makes_no_difference_between_those_who_gave_and_those_who_did_not() -> None:
    choker = TitForTat(Random(3))
    rider = make_peer(2, 8)
    rider.wants_us = rider.is_wanted = True
    rider.bytes_out = 100 << 20
    rider.measure(60 * SECOND)
    assert choker.rank([rider], 0, is_seed=True, has_spare_upload=True) == [rider]
