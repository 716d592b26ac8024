"""Many sleepers: each is woken when it wants, and who sleeps no more is let go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from livestream.transport.timers import SLACK, Timers

CHANGES = st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 100)), max_size=200)


@given(CHANGES, st.integers(0, 100))
def test_everyone_who_is_due_is_woken_and_nobody_else(
    changes: list[tuple[int, int | None]], now: int
) -> None:
    timers: Timers[int] = Timers()
    wanted: dict[int, int] = {}
    for sleeper, at in changes:
        timers.set(sleeper, at)
        if at is None:
            wanted.pop(sleeper, None)
        else:
            wanted[sleeper] = at
        assert timers.first() == min(wanted.values(), default=None)
    woken = set()
    while (due := timers.pop_due(now)) is not None:
        woken.add(due)
    assert woken == {sleeper for sleeper, at in wanted.items() if at <= now}
    rest = [at for at in wanted.values() if at > now]
    assert timers.first() == min(rest, default=None)


def test_who_sleeps_no_more_is_not_kept_until_then() -> None:
    """Else a flood of short connections would stay in memory for half a minute."""
    timers: Timers[int] = Timers()
    for sleeper in range(10_000):
        timers.set(sleeper, 1_000_000 + sleeper)
        timers.set(sleeper, None)
    assert len(timers) <= SLACK


def test_moving_a_time_to_and_fro_takes_no_memory() -> None:
    timers: Timers[str] = Timers()
    for at in range(10_000, 0, -1):
        timers.set("one", at)
    assert len(timers) <= SLACK
    assert timers.first() == 1
