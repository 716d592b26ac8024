"""How fast the simulator is, and where the time goes: `python -m benchmarks.simulate`."""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import time
from dataclasses import replace
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Final

from livestream import machine
from livestream.machine import SECOND
from livestream.sim.checks import Checks
from livestream.sim.designs import DESIGNS
from livestream.sim.scenarios import SCENARIOS
from livestream.sim.simulation import Simulation

ROWS: Final = 16  # Modules of the profile that are shown.
JOIN_S: Final = 14.0  # By then everybody has come, and is fed: of 1,000, too.
MEASURED: Final = ((100, 6.0), (300, 4.0), (1_000, 2.0))  # Viewers, and simulated seconds.
ROOMY_UPLINKS: Final = ((1.0, 4.0),)  # Nobody's line is short: what the machinery itself costs.
GC_THRESHOLD: Final = 20_000  # As the command has it.


def build(viewers: int, seconds: float, *, is_roomy: bool) -> Simulation:
    """Return L0 with its checks on; `is_roomy`: with uplinks of four times the rate."""
    scenario = replace(SCENARIOS["L0"], viewers=viewers, seconds=seconds)
    if is_roomy:
        scenario = replace(scenario, uplinks=ROOMY_UPLINKS)
    simulation = Simulation(scenario, DESIGNS["trees"], 1)
    simulation.on_sent = Checks(simulation).on_sent
    return simulation


def measure(viewers: int, seconds: float, *, is_roomy: bool) -> None:
    """Print wall and CPU time of a simulated second, once everybody is fed."""
    simulation = build(viewers, JOIN_S + seconds, is_roomy=is_roomy)
    world = simulation.world
    world.run_until(world.now + int(JOIN_S * SECOND))
    kept_before, occurrences_before = _kept(simulation), world.occurrences
    wall, cpu = time.monotonic(), time.process_time()
    world.run_until(world.now + int(seconds * SECOND))
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    pieces = max(1, _kept(simulation) - kept_before)
    occurrences = world.occurrences - occurrences_before
    memory_mb = getrusage(RUSAGE_SELF).ru_maxrss >> 10
    print(
        f"{viewers:5} viewers: a simulated second takes {wall / seconds:6.2f} s of wall, "
        f"{cpu / seconds:6.2f} s of CPU; a delivered piece {cpu / pieces * 1e6:5.0f} µs of CPU, "
        f"in {occurrences / pieces:.1f} occurrences of {cpu / occurrences * 1e6:.0f} µs; "
        f"{memory_mb} MB until now",
        flush=True,
    )


def profile(viewers: int, seconds: float, *, is_roomy: bool) -> None:
    """Print which modules the time goes to, once everybody is fed."""
    simulation = build(viewers, JOIN_S + seconds, is_roomy=is_roomy)
    world = simulation.world
    world.run_until(world.now + int(JOIN_S * SECOND))
    profiler = cProfile.Profile(builtins=False)  # What a module calls in C counts as its own.
    profiler.runcall(world.run_until, world.now + int(seconds * SECOND))
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


def made_of() -> str:
    """Say whether the hot modules are compiled (`make compiled`)."""
    is_compiled = (machine.__file__ or "").endswith(".so")
    return "hot modules compiled" if is_compiled else "pure Python"


def main() -> None:
    """Measure 100, 300 and 1,000 viewers, then say where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 viewers only")
    parser.add_argument("--roomy", action="store_true", help="all uplinks 4 x the rate")
    options = parser.parse_args()
    gc.set_threshold(GC_THRESHOLD)
    print("L0" + (", uplinks of 4 x the rate" if options.roomy else "") + f", {made_of()}:")
    for viewers, seconds in MEASURED[:1] if options.quick else MEASURED:
        measure(viewers, seconds, is_roomy=options.roomy)
    profile(100, 4.0, is_roomy=options.roomy)


if __name__ == "__main__":
    main()
