"""The table of scenarios and designs in docs/simulation.md: `python -m benchmarks.designs`."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from livestream.sim.checks import CheckError
from livestream.sim.designs import DESIGNS, Design
from livestream.sim.result import Result
from livestream.sim.run import simulate
from livestream.sim.scenario import Scenario
from livestream.sim.scenarios import SCENARIOS

BEGIN: Final = "<!-- table: begin -->"
END: Final = "<!-- table: end -->"
HEAD: Final = (
    "| scenario | design | lag p50 / p99, s | continuity | publisher / rate | duplicates "
    "| beyond payload | start p95, s |\n|---|---|---|---|---|---|---|---|\n"
)


def scenario_of(name: str, viewers: int, seconds: float) -> Scenario:
    """Return a scenario, with so many viewers at most."""
    scenario = SCENARIOS[name]
    return replace(scenario, viewers=min(scenario.viewers, viewers), seconds=seconds)


def row(scenario: Scenario, design: Design, seed: int) -> str:
    """Run one scenario with one design; returns its line of the table."""
    try:
        result = simulate(scenario, design, seed)
    except CheckError as error:
        return f"| {scenario.name} | {design.name} | a check failed: {error} | | | | | |\n"
    return _line(result)


def _line(result: Result) -> str:
    cells = (
        result.scenario,
        result.design,
        f"{_seconds(result.lag_p50_s)} / {_seconds(result.lag_p99_s)}",
        f"{100 * result.continuity:.1f} %",
        f"{result.publisher_upload_x:.2f}",
        f"{100 * result.duplicate_share:.1f} %",
        f"{100 * result.overhead_share:.0f} %",
        _seconds(result.start_p95_s),
    )
    return f"| {' | '.join(cells)} |\n"


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def main() -> None:
    """Run every scenario with every design, and put the table where it belongs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS))
    parser.add_argument("--design", action="append", choices=list(DESIGNS))
    parser.add_argument("--write", type=Path, help="put it between the marks of this file")
    options = parser.parse_args()
    runs = [
        (scenario_of(name, options.viewers, options.seconds), DESIGNS[design], options.seed)
        for name in options.scenario or list(SCENARIOS)
        for design in options.design or list(DESIGNS)
    ]
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for (scenario, design, _), line in zip(
            runs, processes.map(row, *zip(*runs, strict=True)), strict=True
        ):
            sys.stdout.write(line)
            sys.stdout.flush()
            if options.write is not None:
                put(options.write, scenario.name, design.name, line)


def put(path: Path, scenario: str, design: str, line: str) -> None:
    """Put a line into the table of a file, in place of that of the same scenario and design."""
    text = path.read_text()
    before, rest = text.split(BEGIN)
    table, after = rest.split(END)
    lines = {_name_of(known): known for known in table.splitlines(True) if known.startswith("| ")}
    lines.pop(("scenario", "design"), None)
    lines[scenario, design] = line
    order = [(one, other) for one in SCENARIOS for other in DESIGNS]
    rows = "".join(lines[name] for name in order if name in lines)
    path.write_text(f"{before}{BEGIN}\n\n{HEAD}{rows}\n{END}{after}")


def _name_of(line: str) -> tuple[str, str]:
    cells = [cell.strip() for cell in line.split("|")]
    return cells[1], cells[2]


if __name__ == "__main__":
    main()
