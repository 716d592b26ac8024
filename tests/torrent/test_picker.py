"""Rarest first, and what comes before it."""

from __future__ import annotations

from random import Random

from livestream.pieces.pieceset import PieceSet
from livestream.torrent.picker import RANDOM_FIRST, RarestFirst


def pieces(count: int, *held: int) -> PieceSet:
    found = PieceSet(count)
    for index in held:
        found.add(index)
    return found


def everything(count: int) -> PieceSet:
    found = PieceSet(count)
    found.fill()
    return found


def after_the_random_ones(count: int, *, is_sequential: bool = False) -> RarestFirst:
    picker = RarestFirst(count + RANDOM_FIRST, Random(3), is_sequential=is_sequential)
    last = pieces(count + RANDOM_FIRST, *range(count, count + RANDOM_FIRST))
    for _ in range(RANDOM_FIRST):
        assert picker.choose(last) is not None
    return picker


def test_the_first_pieces_fall_anywhere() -> None:
    firsts = {RarestFirst(50, Random(seed)).choose(everything(50)) for seed in range(30)}
    assert len(firsts) > 10


def test_then_the_rarest_comes_first_and_seeds_change_nothing() -> None:
    picker = after_the_random_ones(4)
    size = 4 + RANDOM_FIRST
    picker.add_peer(pieces(size, 0, 1, 2))
    picker.add_peer(pieces(size, 0, 2))
    picker.add_peer(pieces(size, 0))
    picker.add_peer(everything(size))
    assert [picker.availability(index) for index in range(4)] == [4, 2, 3, 1]
    order = [picker.choose(everything(size)) for _ in range(4)]
    assert order == [3, 1, 2, 0]
    assert picker.choose(everything(size)) is None
    assert not picker.has_open


def test_a_have_and_a_goodbye_change_the_order() -> None:
    picker = after_the_random_ones(2)
    size = 2 + RANDOM_FIRST
    peer = pieces(size, 0)
    picker.add_peer(peer)
    peer.add(1)
    picker.add_piece(peer, 1)
    leaver = pieces(size, 1)
    picker.add_peer(leaver)
    picker.remove_peer(leaver)
    other = pieces(size, 0)
    picker.add_peer(other)
    assert picker.choose(everything(size)) == 1


def test_a_peer_that_becomes_a_seed_is_counted_as_one() -> None:
    picker = RarestFirst(3, Random(1))
    peer = pieces(3, 0, 1)
    picker.add_peer(peer)
    peer.add(2)
    picker.add_piece(peer, 2)
    assert picker.seeds == 1
    assert [picker.availability(index) for index in range(3)] == [1, 1, 1]
    picker.remove_peer(peer)
    assert picker.seeds == 0
    assert picker.availability(2) == 0


def test_in_sequence_around_what_was_begun_otherwise() -> None:
    picker = after_the_random_ones(5, is_sequential=True)
    have = everything(5 + RANDOM_FIRST)
    assert picker.choose(have) == 0
    assert picker.begin(1) == 1
    assert [picker.choose(have) for _ in range(3)] == [2, 3, 4]


def test_a_piece_given_up_is_chosen_again() -> None:
    picker = RarestFirst(1, Random(1))
    assert picker.choose(everything(1)) == 0
    assert picker.choose(everything(1)) is None
    picker.reopen(0)
    assert picker.wants_any(everything(1))
    assert picker.choose(everything(1)) == 0


def test_pieces_closed_together_are_closed_and_counted() -> None:
    picker = RarestFirst(5, Random(3))
    picker.close(0)
    picker.close_all(pieces(5, 0, 1, 4).flags)
    assert [picker.is_open(index) for index in range(5)] == [False, False, True, True, False]
    picker.close(2)
    assert picker.has_open
    picker.close(3)
    assert not picker.has_open


def test_the_same_entropy_breaks_ties_the_same_way() -> None:
    def order(seed: int) -> list[int | None]:
        picker = RarestFirst(40, Random(seed))
        return [picker.choose(everything(40)) for _ in range(40)]

    assert order(5) == order(5)
    assert order(5) != order(6)


def test_what_a_peer_has_lost_is_not_chosen_for_it() -> None:
    picker = after_the_random_ones(4)
    peer = pieces(4 + RANDOM_FIRST, 0, 1, 2)
    picker.add_peer(peer)
    first = picker.choose(peer)
    lost, left = (index for index in (0, 1, 2) if index != first)
    peer.discard(lost)
    picker.remove_piece(peer, lost)
    assert [picker.choose(peer), picker.choose(peer)] == [left, None]
