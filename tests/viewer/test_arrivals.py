"""The age of pieces on arrival."""

from __future__ import annotations

from viewer.arrivals import PIECES_MAX, Arrivals


def test_the_age_is_the_median_of_the_last_second_alone() -> None:
    arrivals = Arrivals()
    for age_us in (900_000, 900_000, 900_000):
        arrivals.note_piece(age_us)
    arrivals.end_second()
    for age_us in (100_000, 2_000_000, 150_000):
        arrivals.note_piece(age_us)
    assert arrivals.age_us == 900_000
    arrivals.end_second()
    assert arrivals.age_us == 150_000


def test_a_second_without_pieces_leaves_the_age_as_it_was() -> None:
    arrivals = Arrivals()
    arrivals.end_second()
    assert arrivals.age_us == 0
    arrivals.note_piece(100_000)
    arrivals.end_second()
    arrivals.end_second()
    assert arrivals.age_us == 100_000


def test_of_a_flood_only_the_first_pieces_count() -> None:
    arrivals = Arrivals()
    for _ in range(PIECES_MAX):
        arrivals.note_piece(100_000)
    for _ in range(2 * PIECES_MAX):
        arrivals.note_piece(700_000)
    arrivals.end_second()
    assert arrivals.age_us == 100_000
