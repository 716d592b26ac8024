"""Clocks that disagree: found out by what is signed, and never by queues alone."""

from __future__ import annotations

from random import Random

import pytest

from livestream.live.clock import ChannelClock
from livestream.machine import MILLISECOND, SECOND

OFFSET_US = 1_700_000_000 * SECOND
PATH_US = 40 * MILLISECOND


def watch(clock: ChannelClock, skew_us: int, *, delays_us: list[int], now: int = 0) -> int:
    """Let a piece come each 40 ms, each so long after its capture. Returns when the last came."""
    for delay_us in delays_us:
        now += 40 * MILLISECOND
        captured_ms = (now - delay_us + OFFSET_US - skew_us) // MILLISECOND
        clock.observe(captured_ms, PATH_US, now)
    return now


def jittery(count: int, least_us: int) -> list[int]:
    rng = Random(1)
    return [least_us + rng.randrange(0, 150 * MILLISECOND) for _ in range(count)]


@pytest.mark.parametrize("skew_s", [-20.0, -3.0, -0.5, 0.5, 1.0, 3.9, 9.0, 20.0])
def test_a_wrong_clock_is_found_out_to_within_the_paths_delay(skew_s: float) -> None:
    skew_us = int(skew_s * SECOND)
    clock = ChannelClock(OFFSET_US)
    watch(clock, skew_us, delays_us=jittery(60, PATH_US))
    assert clock.skew_us == pytest.approx(skew_us, abs=50 * MILLISECOND)
    # The lag that a viewer shows is what it is.
    captured_ms = (10 * SECOND + OFFSET_US - skew_us) // MILLISECOND
    lag_us = 11 * SECOND - clock.machine_time(captured_ms)
    assert lag_us == pytest.approx(SECOND, abs=50 * MILLISECOND)


@pytest.mark.parametrize("skew_s", [-20.0, -0.5, 3.9, 20.0])
def test_what_is_obvious_is_found_out_by_the_first_head(skew_s: float) -> None:
    """Before anything is asked for by a deadline; heads are up to a second old."""
    skew_us = int(skew_s * SECOND)
    clock = ChannelClock(OFFSET_US)
    watch(clock, skew_us, delays_us=[400 * MILLISECOND])
    assert clock.skew_us == pytest.approx(skew_us, abs=0.5 * SECOND)


def test_a_right_clock_stays_untouched_behind_a_long_path_and_queues() -> None:
    clock = ChannelClock(OFFSET_US)
    watch(clock, 0, delays_us=jittery(50, 250 * MILLISECOND))
    assert clock.skew_us == 0
    now = watch(clock, 0, delays_us=[*jittery(10, PATH_US)], now=3 * SECOND)
    watch(clock, 0, delays_us=[2 * SECOND] * 500, now=now)  # 20 s of queues.
    assert clock.skew_us == 0


def test_a_clock_that_is_set_right_is_believed_again() -> None:
    clock = ChannelClock(OFFSET_US)
    now = watch(clock, 5 * SECOND, delays_us=jittery(60, PATH_US))
    now = watch(clock, 0, delays_us=jittery(60, PATH_US), now=now)
    assert clock.skew_us == pytest.approx(0, abs=50 * MILLISECOND)
    watch(clock, 5 * SECOND, delays_us=jittery(1_800, PATH_US), now=now)
    assert clock.skew_us == pytest.approx(5 * SECOND, abs=50 * MILLISECOND)


def test_another_machine_may_publish_the_next_epoch() -> None:
    clock = ChannelClock(OFFSET_US)
    now = watch(clock, 0, delays_us=jittery(60, PATH_US))
    clock.start()
    watch(clock, 4 * SECOND, delays_us=jittery(40, PATH_US), now=now)
    assert clock.skew_us == pytest.approx(4 * SECOND, abs=50 * MILLISECOND)


def test_a_peer_that_pretends_to_be_far_away_moves_a_clock_by_little() -> None:
    clock = ChannelClock(OFFSET_US)
    clock.observe((OFFSET_US + SECOND) // MILLISECOND, 3_600 * SECOND, 0)
    assert clock.skew_us >= -1_500 * MILLISECOND
