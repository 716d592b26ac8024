"""Runs simulations to their results, and says how to repeat one (`simulate`)."""

from __future__ import annotations

from collections.abc import Callable

from livestream.machine import SECOND
from livestream.sim.checks import Checks
from livestream.sim.designs import Design
from livestream.sim.internets import Links
from livestream.sim.result import Result, Series, result_of
from livestream.sim.scenario import Scenario
from livestream.sim.simulation import Simulation

__all__ = ["simulate"]


def simulate(
    scenario: Scenario,
    design: Design,
    seed: int,
    *,
    links: Links = Links.MESSAGES,
    on_progress: Callable[[float, float], None] | None = None,
) -> Result:
    """Run a scenario from its start to its end.

    Args:
        scenario: What is simulated.
        design: How pieces spread.
        seed: The same one gives the same run, event by event.
        links: What carries messages.
        on_progress: Told (simulated seconds done, of how many), ten times each of them.

    Raises:
        CheckError: something happened that must never happen.
    """
    simulation = Simulation(scenario, design, seed, links)
    checks = Checks(simulation)
    if design.is_checked:
        simulation.on_sent = checks.on_sent
    series = Series()
    seconds = 0

    def step(now: int) -> None:
        nonlocal seconds
        if design.is_checked:
            checks.look(now)
        elapsed = now - simulation.began_at
        if elapsed // SECOND > seconds:
            seconds = elapsed // SECOND
            series.add_second(simulation)
        if on_progress is not None:
            on_progress(elapsed / SECOND, scenario.seconds)

    simulation.run(step)
    if design.is_checked:
        checks.look_at_the_end(simulation.world.now)
    return result_of(simulation, series)
