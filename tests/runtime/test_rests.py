"""How long drivers rest: as little work as there is, and as slow as the machine."""

from __future__ import annotations

from livestream.machine import MILLISECOND
from livestream.runtime.rests import BUSY_BYTES, Rests

REST_US = 10 * MILLISECOND


def test_a_short_turn_is_followed_by_the_least_rest() -> None:
    rests = Rests(REST_US)
    rests.end_turn(100)
    assert rests.begin_turn(1_000, 500)
    assert rests.until == 1_000 + REST_US


def test_little_work_takes_a_twentieth_of_a_slow_machine() -> None:
    rests = Rests(REST_US)
    rests.begin_turn(0, 0)
    rests.end_turn(800)
    rests.begin_turn(50_000, 0)
    assert rests.until == 50_000 + 20 * 800


def test_no_rest_is_longer_than_eight_times_the_least_however_long_a_turn_took() -> None:
    rests = Rests(REST_US)
    rests.begin_turn(0, 0)
    rests.end_turn(90_000)
    rests.begin_turn(100_000, 0)
    assert rests.until == 100_000 + 8 * REST_US


def test_who_moved_much_since_the_last_turn_goes_on_at_once() -> None:
    rests = Rests(REST_US)
    assert rests.begin_turn(0, BUSY_BYTES - 1)
    assert not rests.begin_turn(REST_US, 2 * BUSY_BYTES - 1)
    assert rests.begin_turn(2 * REST_US, 3 * BUSY_BYTES - 2)


def test_what_is_much_depends_on_how_long_the_rest_was() -> None:
    rests = Rests(REST_US)
    rests.begin_turn(0, 0)
    assert rests.begin_turn(4 * REST_US, 4 * BUSY_BYTES - 1)
    assert not rests.begin_turn(8 * REST_US, 8 * BUSY_BYTES - 1)


def test_who_was_told_of_no_rest_takes_none() -> None:
    rests = Rests(0)
    assert not rests.begin_turn(5, 0)
    assert rests.until == 0
