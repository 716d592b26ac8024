"""Pacing: when media leaves, and when it is said to have been captured."""

from __future__ import annotations

import threading
import time
from fractions import Fraction

import pytest

from livestream.machine import MILLISECOND, SECOND
from publisher.pacing import LEAD_US_MAX, ClosedError, Pace, Pacer, SystemClock
from tests.publisher.clocks import JumpingClock


def test_a_file_leaves_in_real_time_and_is_captured_when_it_is_due() -> None:
    clock = JumpingClock()
    pacer = Pacer(clock, Pace.PACED)
    started = clock.now
    first = pacer.wait(Fraction(5), 0)
    assert clock.now == started
    assert pacer.wait(Fraction(7), 0) == first + 2_000
    assert clock.now == started + 2 * SECOND


def test_what_leaves_a_little_late_was_captured_when_it_was_due() -> None:
    clock = JumpingClock()
    pacer = Pacer(clock, Pace.PACED)
    first = pacer.wait(Fraction(0), 0)
    clock.now += 300 * MILLISECOND
    assert pacer.wait(Fraction(1, 10), 0) == first + 100
    assert pacer.wait(Fraction(1), 0) == first + 1_000  # And it catches up.


def test_after_a_long_sleep_a_file_goes_on_where_it_was_without_a_burst() -> None:
    clock = JumpingClock()
    pacer = Pacer(clock, Pace.PACED)
    first = pacer.wait(Fraction(0), 0)
    clock.now += 3_600 * SECOND
    woke = clock.now
    assert pacer.wait(Fraction(1), 0) == first + 3_600_000
    pacer.wait(Fraction(2), 0)
    assert clock.now == woke + SECOND


def test_a_live_source_is_never_held_back() -> None:
    clock = JumpingClock()
    pacer = Pacer(clock, Pace.LIVE)
    started = clock.now
    first = pacer.wait(Fraction(0), started)
    clock.now += 20 * MILLISECOND
    assert pacer.wait(Fraction(30), started + 10 * MILLISECOND) == first + 10
    assert clock.now == started + 20 * MILLISECOND


def test_a_file_poured_into_a_pipe_is_slowed_down_to_real_time() -> None:
    clock = JumpingClock()
    pacer = Pacer(clock, Pace.THROTTLED)
    started = clock.now
    pacer.wait(Fraction(0), clock.now)
    pacer.wait(Fraction(1, 2), clock.now)
    assert clock.now == started
    pacer.wait(Fraction(10), clock.now)
    assert clock.now == started + 10 * SECOND - LEAD_US_MAX


def test_capture_times_never_fall_even_if_the_wall_clock_does() -> None:
    clock = JumpingClock()
    pacer = Pacer(clock, Pace.PACED)
    first = pacer.wait(Fraction(0), 0)
    clock.unix_offset_ms -= 60_000
    assert pacer.wait(Fraction(1), 0) == first


def test_closing_wakes_whoever_waits() -> None:
    clock = SystemClock()
    woken = threading.Event()

    def wait() -> None:
        try:
            clock.wait_until(clock.now_us() + 3_600 * SECOND)
        except ClosedError:
            woken.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    clock.close()
    assert woken.wait(10)
    thread.join()
    with pytest.raises(ClosedError):
        clock.wait_until(0)


def test_the_system_clock_tells_unix_time() -> None:
    assert abs(SystemClock().unix_ms() - time.time() * 1_000) < 1_000
