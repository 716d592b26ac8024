"""How fast the simulator is, and where the time goes: `python -m benchmarks.simulate`."""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from livestream.machine import SECOND
from livestream.sim.checks import Checks
from livestream.sim.designs import DESIGNS
from livestream.sim.scenarios import SCENARIOS
from livestream.sim.simulation import Simulation

ROWS: Final = 12  # Modules of the profile that are shown.
GC_THRESHOLD: Final = 20_000  # As the command has it.


def build(viewers: int, seconds: float) -> Simulation:
    """Return L0 with its checks on."""
    scenario = replace(SCENARIOS["L0"], viewers=viewers, seconds=seconds)
    simulation = Simulation(scenario, DESIGNS["trees"], 1)
    simulation.on_sent = Checks(simulation).on_sent
    return simulation


def measure(viewers: int, join_s: float, seconds: float) -> None:
    """Print wall and CPU time of a simulated second, once everybody has come."""
    simulation = build(viewers, join_s + seconds)
    world = simulation.world
    world.run_until(world.now + int(join_s * SECOND))
    kept_before = _kept(simulation)
    wall, cpu = time.monotonic(), time.process_time()
    world.run_until(world.now + int(seconds * SECOND))
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    pieces = max(1, _kept(simulation) - kept_before)
    print(
        f"L0, {viewers:5} viewers: a simulated second takes {wall / seconds:6.2f} s "
        f"({cpu / seconds:.2f} s of CPU), a delivered piece {cpu / pieces * 1e6:.0f} µs of CPU",
        flush=True,
    )


def profile(viewers: int, seconds: float) -> None:
    """Print which modules the time goes to."""
    simulation = build(viewers, seconds)
    profiler = cProfile.Profile()
    profiler.runcall(simulation.run)
    stats = pstats.Stats(profiler)
    by_module: dict[str, float] = {}
    total = 0.0
    entries = stats.stats  # type: ignore[attr-defined]  # typeshed does not know it.
    for (where, _, _), (_, _, own_s, _, _) in entries.items():
        name = _module(where)
        by_module[name] = by_module.get(name, 0.0) + own_s
        total += own_s
    print(f"Where the time goes ({viewers} viewers, {seconds:g} s; own time by module):")
    for name, own_s in sorted(by_module.items(), key=lambda entry: -entry[1])[:ROWS]:
        print(f"  {100 * own_s / total:5.1f} %  {name}")


def _kept(simulation: Simulation) -> int:
    return sum(viewer.channel.swarm.stats.pieces_received for viewer in simulation.viewers)


def _module(where: str) -> str:
    parts = Path(where).parts
    for root in ("livestream", "viewer"):
        if root in parts:
            at = len(parts) - 1 - parts[::-1].index(root)
            return "/".join(parts[at:])
    return "Python itself" if where.startswith(("~", "<")) else parts[-1]


def main() -> None:
    """Measure 100 and 1,000 viewers, then say where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 viewers only")
    options = parser.parse_args()
    gc.set_threshold(GC_THRESHOLD)
    measure(100, 6.0, 10.0)
    if not options.quick:
        measure(1_000, 6.0, 3.0)
    profile(100, 8.0)


if __name__ == "__main__":
    main()
