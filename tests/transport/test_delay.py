"""What delay samples tell of the path and of the queue on it."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND
from livestream.transport.delay import DelayHistory

BASE_US = 50 * MILLISECOND
STEP_US = 5 * MILLISECOND


def fed(*delays_us: int) -> DelayHistory:
    """Return the history of samples that came one by one."""
    history = DelayHistory()
    for step, delay_us in enumerate(delays_us):
        history.add(delay_us, step * STEP_US)
    return history


def test_the_least_delay_is_the_path_and_what_is_above_is_the_queue() -> None:
    history = fed(BASE_US + 7_000, BASE_US, *[BASE_US + 20_000] * 5)
    assert (history.base_us, history.queuing_us) == (BASE_US, 20_000)


def test_a_single_late_sample_is_no_queue() -> None:
    assert fed(*[BASE_US] * 5, BASE_US + 80_000).queuing_us == 0


def test_samples_that_a_pause_held_up_together_count_as_one() -> None:
    """Ten acknowledgements wait for 100 ms, and come within a millisecond."""
    history = fed(*[BASE_US] * 5)
    for number in range(10):
        late_us = 100 * MILLISECOND - number * MILLISECOND
        history.add(BASE_US + late_us, 125 * MILLISECOND + number * 100)
        assert history.queuing_us == 0


def test_a_path_that_became_longer_is_believed_after_ten_minutes() -> None:
    history = fed(BASE_US)
    for second in range(1, 9 * 60):
        history.add(2 * BASE_US, second * SECOND)
    assert history.queuing_us == BASE_US
    for second in range(9 * 60, 11 * 60):
        history.add(2 * BASE_US, second * SECOND)
    assert history.queuing_us == 0


def test_a_sample_that_is_seconds_off_starts_anew() -> None:
    for jump_us in (3 * SECOND, -3 * SECOND):
        history = fed(*[BASE_US] * 5, BASE_US + jump_us)
        assert (history.base_us, history.queuing_us) == (BASE_US + jump_us, 0)


def test_a_clock_that_was_wrong_for_a_moment_leaves_no_trace() -> None:
    history = fed(*[BASE_US] * 5, BASE_US - 3 * SECOND, *[BASE_US + 10_000] * 5)
    assert (history.base_us, history.queuing_us) == (BASE_US + 10_000, 0)


def test_forgetting_the_queue_keeps_the_path() -> None:
    history = fed(BASE_US, *[BASE_US + 20_000] * 5)
    history.forget_current()
    assert (history.base_us, history.queuing_us) == (BASE_US, 0)
    history.add(BASE_US + 5_000, SECOND)
    assert history.queuing_us == 5_000
