"""How far behind the capture a viewer plays: as near as pieces come in time."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND
from viewer.latency import (
    LATENCY_MAX_US,
    LATENCY_MIN_US,
    LATENCY_START_US,
    LOWER_US,
    MEMORY_S,
    RAISE_US,
    SETTLING_US,
    SPARE_US,
    STARTING_WAITS_US,
    WAIT_US,
    WAITS_US_A_SECOND,
    WAITS_US_MAX,
    Latency,
)

PIECES_PER_SECOND = 50
EARLY_US = 100 * MILLISECOND
SETTLED_S = SETTLING_US // SECOND


class Watching:
    """Pieces that come to a viewer, 50 a second."""

    def __init__(self, latency: Latency | None = None) -> None:
        self.latency = latency or Latency()
        self.now = 0
        self.late = 0

    def go_on(self, seconds: int, *, close_each: int = 0, late: int = 0) -> None:
        """Let pieces come early; one of so many just in time, and so many a second too late."""
        for piece in range(seconds * PIECES_PER_SECOND):
            self.now += SECOND // PIECES_PER_SECOND
            is_close = close_each and piece % close_each == 0
            lag_us = self.latency.target_us - SPARE_US // 2 if is_close else EARLY_US
            if piece % PIECES_PER_SECOND == 0:
                self.late += late
            self.latency.note_piece(lag_us, self.late, self.now)


def test_what_comes_in_good_time_lets_us_play_nearer_slowly() -> None:
    watching = Watching()
    watching.go_on(SETTLED_S + MEMORY_S)
    before_us = watching.latency.target_us
    assert before_us < LATENCY_START_US
    watching.go_on(2)
    assert watching.latency.target_us == before_us - 2 * LOWER_US
    watching.go_on(60)
    assert watching.latency.target_us == LATENCY_MIN_US


def test_a_few_that_are_repaired_just_in_time_do_not_keep_it_up() -> None:
    few, many = Watching(), Watching()
    few.go_on(60, close_each=400)
    many.go_on(60, close_each=100)
    assert few.latency.target_us == LATENCY_MIN_US
    assert many.latency.target_us == LATENCY_START_US


def test_we_play_just_so_near_that_what_comes_last_comes_in_good_time() -> None:
    watching = Watching()
    for piece in range(60 * PIECES_PER_SECOND):
        watching.now += SECOND // PIECES_PER_SECOND
        lag_us = (EARLY_US, 613_007)[piece % 50 == 0]
        watching.latency.note_piece(lag_us, 0, watching.now)
    assert watching.latency.target_us == 613_007 + SPARE_US


def test_late_pieces_raise_it_as_long_as_they_are_late() -> None:
    watching = Watching()
    watching.go_on(SETTLED_S + 1)
    watching.go_on(4, late=1)
    assert watching.latency.target_us == LATENCY_START_US + 4 * RAISE_US
    watching.go_on(MEMORY_S - 2)
    assert watching.latency.target_us == LATENCY_START_US + 4 * RAISE_US, "not forgotten yet"
    watching.go_on(90, late=5)
    assert watching.latency.target_us == LATENCY_MAX_US


def test_what_was_late_at_first_says_nothing() -> None:
    """Pieces of the first picture come as they were asked for, in any order."""
    watching = Watching()
    watching.go_on(SETTLED_S, late=20)
    assert watching.latency.target_us == LATENCY_START_US
    watching.latency.restart()
    watching.late = 0
    watching.go_on(SETTLED_S, late=20)
    assert watching.latency.target_us == LATENCY_START_US, "another run begins in the same way"


def test_never_nearer_than_the_viewer_asked_for() -> None:
    watching = Watching(Latency(2 * SECOND))
    watching.go_on(30)
    assert watching.latency.target_us == 2 * SECOND
    watching.go_on(3, late=1)
    assert watching.latency.target_us == 2 * SECOND + 3 * RAISE_US
    watching.go_on(60)
    assert watching.latency.target_us == 2 * SECOND


def test_whoever_asks_for_more_than_the_most_gets_it() -> None:
    watching = Watching(Latency(2 * LATENCY_MAX_US))
    watching.go_on(SETTLED_S + 1)
    watching.go_on(5, late=1)
    assert watching.latency.target_us == 2 * LATENCY_MAX_US


def wait_as_long_as_it_goes(latency: Latency, still_us: int | None = None) -> int:
    """Return by how much the target rose, in steps."""
    before_us = latency.target_us
    while (target_us := latency.target_us) < latency.wait(still_us):
        assert latency.target_us - target_us == WAIT_US
    return latency.target_us - before_us


LONG_S = WAITS_US_MAX // WAITS_US_A_SECOND + SETTLED_S


def test_what_is_not_there_when_it_is_due_is_waited_for_so_long_and_less_soon_afterwards() -> None:
    watching = Watching()
    watching.go_on(LONG_S)
    assert wait_as_long_as_it_goes(watching.latency) == WAITS_US_MAX
    assert wait_as_long_as_it_goes(watching.latency) == 0
    watching.go_on(MEMORY_S)
    assert wait_as_long_as_it_goes(watching.latency) == MEMORY_S * WAITS_US_A_SECOND
    watching.go_on(LONG_S)
    assert wait_as_long_as_it_goes(watching.latency) == WAITS_US_MAX


def test_who_waits_whenever_it_may_comes_nearer_all_the_same() -> None:
    watching = Watching()
    watching.go_on(SETTLED_S + MEMORY_S)
    wait_as_long_as_it_goes(watching.latency)
    before_us = watching.latency.target_us
    for _ in range(40):
        watching.go_on(1)
        wait_as_long_as_it_goes(watching.latency)
    assert watching.latency.target_us < before_us


def test_nothing_is_waited_for_longer_than_the_picture_would_stand_still_without_it() -> None:
    watching = Watching()
    watching.go_on(LONG_S)
    assert wait_as_long_as_it_goes(watching.latency, still_us=0) == 0
    assert wait_as_long_as_it_goes(watching.latency, still_us=4 * WAIT_US) == 4 * WAIT_US
    assert wait_as_long_as_it_goes(watching.latency, still_us=4 * WAIT_US) == 0
    rest_us = WAITS_US_MAX - 4 * WAIT_US
    assert wait_as_long_as_it_goes(watching.latency, still_us=2 * WAITS_US_MAX) == rest_us


def test_less_is_waited_for_at_first() -> None:
    watching = Watching()
    assert wait_as_long_as_it_goes(watching.latency) == STARTING_WAITS_US
    watching.go_on(SETTLED_S - 1)
    assert wait_as_long_as_it_goes(watching.latency) == 0
    watching.go_on(2)
    assert wait_as_long_as_it_goes(watching.latency) == WAITS_US_A_SECOND


def test_to_wait_does_not_lead_beyond_the_most() -> None:
    watching = Watching(Latency(start_us=LATENCY_MAX_US - WAIT_US))
    watching.go_on(SETTLED_S + 1)
    assert wait_as_long_as_it_goes(watching.latency) == WAIT_US


def test_a_second_that_was_waited_in_raises_it_by_no_more_than_that() -> None:
    watching = Watching()
    watching.go_on(SETTLED_S + 1)
    assert watching.latency.wait(None) == LATENCY_START_US + WAIT_US
    watching.go_on(1, late=1)
    assert watching.latency.target_us == LATENCY_START_US + RAISE_US
