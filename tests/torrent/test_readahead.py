"""What players come to next."""

from __future__ import annotations

from livestream.pieces.pieceset import PieceSet
from livestream.torrent.readahead import AHEAD_BYTES, URGENT_MAX, ReadAhead, Reader

PIECE = 1 << 20


def held(count: int, *indexes: int) -> PieceSet:
    pieces = PieceSet(count)
    for index in indexes:
        pieces.add(index)
    return pieces


def test_the_missing_pieces_ahead_nearest_first_and_not_past_the_end() -> None:
    ahead = ReadAhead(PIECE)
    ahead.add(Reader(2 * PIECE + 5, 6 * PIECE))
    assert ahead.urgent(held(10, 3)) == [2, 4, 5]


def test_no_further_ahead_than_a_player_needs() -> None:
    ahead = ReadAhead(PIECE)
    ahead.add(Reader(0, 1000 * PIECE))
    assert ahead.urgent(held(1000)) == list(range(AHEAD_BYTES // PIECE))


def test_readers_share_by_how_soon_each_comes_there() -> None:
    ahead = ReadAhead(PIECE)
    first, second = Reader(0, 3 * PIECE), Reader(8 * PIECE, 10 * PIECE)
    ahead.add(first)
    ahead.add(second)
    assert ahead.urgent(held(10)) == [0, 8, 1, 9, 2]
    first.position = 2 * PIECE
    assert ahead.urgent(held(10)) == [2, 8, 9]
    ahead.remove(second)
    assert ahead.urgent(held(10)) == [2]


def test_tiny_pieces_and_many_readers_stay_bounded() -> None:
    ahead = ReadAhead(16 * 1024)
    for number in range(50):
        ahead.add(Reader(number << 24, 1 << 40))
    assert len(ahead.urgent(held(100_000))) == URGENT_MAX
