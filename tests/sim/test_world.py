"""The virtual clock: order, time and trace."""

from __future__ import annotations

from random import Random

from livestream.sim.world import START_US, Occurrence, World


class _Noting(Occurrence):
    def __init__(self, world: World, name: int, seen: list[tuple[int, int]]) -> None:
        self._world = world
        self._name = name
        self._seen = seen

    def happen(self, now: int) -> None:
        self._seen.append((now, self._name))
        self._world.note(self._name)


def test_things_happen_in_the_order_of_their_times_then_of_their_planning() -> None:
    world = World(1)
    seen: list[tuple[int, int]] = []
    for name, at in ((1, 300), (2, 100), (3, 300), (4, 200)):
        world.plan(START_US + at, _Noting(world, name, seen))
    world.run_until(START_US + 299)
    assert seen == [(START_US + 100, 2), (START_US + 200, 4)]
    world.run_until(START_US + 300)
    assert [name for _, name in seen] == [2, 4, 1, 3]


def test_nothing_happens_before_now() -> None:
    world = World(1)
    seen: list[tuple[int, int]] = []
    world.run_until(START_US + 500)
    world.plan(START_US, _Noting(world, 1, seen))
    world.run_until(START_US + 500)
    assert seen == [(START_US + 500, 1)]


def test_the_trace_tells_runs_apart_by_what_happened_and_when() -> None:
    def trace(*times: int) -> str:
        world = World(1)
        for name, at in enumerate(times):
            world.plan(START_US + at, _Noting(world, name, []))
        world.run_until(START_US + 1_000)
        return world.trace_hash()

    assert trace(1, 2) == trace(1, 2)
    assert trace(1, 2) != trace(1, 3)
    assert trace(1, 2) != trace(1)


def test_the_order_holds_over_far_and_near_times_and_across_looks() -> None:
    world = World(1)
    seen: list[tuple[int, int]] = []
    rng = Random(1)
    expected: list[tuple[int, int]] = []
    for name in range(2_000):
        at = world.now + rng.choice((0, 1, 700, 1_024, 5_000, 3_000_000)) + rng.randrange(50)
        world.plan(at, _Noting(world, name, seen))
        expected.append((at, name))
        if not name % 20:
            world.run_until(world.now + rng.randrange(2_500))
    world.run_until(world.now + 4_000_000)
    assert seen == sorted(expected)
    assert world.occurrences == len(expected)
