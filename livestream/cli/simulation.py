"""Carries out `livestream simulate`: reads the scenario, runs it, shows and writes the figures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from livestream.cli.progress import progress
from livestream.errors import DiskError, UsageError
from livestream.sim.plot import draw
from livestream.sim.result import Result
from livestream.sim.run import simulate
from livestream.sim.scenario import Scenario
from livestream.sim.scenarios import (
    SCENARIOS,
    design_named,
    links_named,
    read_scenario,
    scenario_named,
    with_overrides,
)

__all__ = ["SimulateOptions", "run"]

# Figure, its name in words, its unit, how it is to compare with its bound.
_ROWS: Final = (
    ("lag_p50_s", "lag, median viewer", "s"),
    ("lag_p99_s", "lag, 99 % of viewers", "s"),
    ("continuity", "continuity", "%"),
    ("publisher_upload_x", "publisher upload / rate", "x"),
    ("duplicate_share", "duplicate payload", "%"),
    ("control_share", "control", "%"),
    ("overhead_share", "all beyond payload", "%"),
    ("rate_share", "rate / possible rate", "%"),
    ("start_p50_s", "start, median", "s"),
    ("start_p95_s", "start, 95 %", "s"),
    ("bad_pieces_shown", "bad pieces shown", ""),
)


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What `livestream simulate` was asked for."""

    scenario: str
    viewers: int | None
    seconds: float | None
    seeds: tuple[int, ...]
    links: str
    design: str
    json_file: str | None
    plot_file: str | None
    is_quiet: bool


def run(options: SimulateOptions) -> int:
    """Simulate. Returns the exit code.

    Raises:
        UsageError: no such scenario or design, or parameters that contradict each other.
        DiskError: a file cannot be written.
    """
    links = links_named(options.links)
    design = design_named(options.design)
    scenario = _scenario(options)
    results = []
    for seed in options.seeds:
        began = time.monotonic()
        what = f"{scenario.name}, {scenario.viewers} viewers, seed {seed}"
        with progress(what, is_quiet=options.is_quiet) as show:
            result = simulate(
                scenario,
                design,
                seed,
                links=links,
                on_progress=lambda done, of: show(int(done * 10), int(of * 10)),
            )
        result.wall_s = round(time.monotonic() - began, 2)
        results.append(result)
        if not options.is_quiet and options.json_file != "-":
            sys.stdout.write(_table(result, scenario))
    if options.plot_file is not None:
        draw(results[-1], scenario, options.plot_file)
    if options.json_file is not None:
        _write_json(results, options.json_file)
    return 0


def _scenario(options: SimulateOptions) -> Scenario:
    name = options.scenario
    suffix = Path(name).suffix.lower()
    if name not in SCENARIOS and suffix in (".toml", ".json"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{name}: cannot be read as a scenario: {error}.") from error
        scenario = read_scenario(text, name, is_json=suffix == ".json")
    else:
        scenario = scenario_named(name)
    changes: dict[str, object] = {}
    if options.viewers is not None:
        changes["viewers"] = options.viewers
    if options.seconds is not None:
        changes["seconds"] = options.seconds
    return with_overrides(scenario, changes, "the command line")


def _write_json(results: Sequence[Result], where: str) -> None:
    written = [result.to_json() for result in results]
    text = json.dumps(written[0] if len(written) == 1 else written, indent=2) + "\n"
    if where == "-":
        sys.stdout.write(text)
        return
    try:
        Path(where).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DiskError(f"{where}: cannot be written: {error.strerror}.") from error


def _table(result: Result, scenario: Scenario) -> str:
    speed = scenario.seconds / max(result.wall_s, 0.01)
    lines = [
        f"{result.scenario}, {result.viewers} viewers, design {result.design}, seed {result.seed}: "
        f"{scenario.seconds:.0f} s simulated in {result.wall_s:.1f} s ({speed:.2g} x real time)\n",
        f"  {'':26}{'measured':>10}{'bound':>10}\n",
    ]
    figures = result.to_json()
    for key, words, unit in _ROWS:
        bound = result.bounds.get("start_s" if key.startswith("start") else key)
        shown = "" if bound is None else _shown(bound, unit)
        lines.append(f"  {words:26}{_shown(figures[key], unit):>10}{shown:>10}\n")
    lines.append(f"  trace {result.trace_hash}\n")
    return "".join(lines)


def _shown(value: object, unit: str) -> str:
    if not isinstance(value, (int, float)):
        return "none"
    if unit == "%":
        return f"{value * 100:.2f} %"
    return f"{value:.0f}" if not unit else f"{value:.2f} {unit}"
