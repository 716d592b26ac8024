"""Carries out `livestream simulate`: reads the scenario, runs it, shows and writes the figures."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from livestream.cli.filetable import file_table
from livestream.cli.sweeps import Failed, FileJob, LiveJob, run_file, run_jobs, run_live, variants
from livestream.errors import DiskError, UsageError
from livestream.sim.checks import CheckError
from livestream.sim.filescenario import (
    file_scenario_named,
    is_file_scenario,
    with_file_overrides,
)
from livestream.sim.internets import Links
from livestream.sim.plot import check_plot, draw
from livestream.sim.result import Result
from livestream.sim.scenario import Scenario
from livestream.sim.scenarios import (
    L0,
    SCENARIOS,
    design_named,
    links_named,
    read_scenario,
    scenario_named,
    with_overrides,
)
from livestream.sim.sweepplot import draw_runs

__all__ = ["SimulateOptions", "run"]

FAILED_FILE: Final = "failed-seeds.txt"  # In the current folder, as reports of test runs are.
PACKETS_ONLY: Final = ("loss_burst", "reordered_share", "queue_ms")

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

_MORE_IS_BETTER: Final = ("continuity", "rate_share")


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What `livestream simulate` was asked for."""

    scenario: str
    viewers: int | None
    seconds: float | None
    seeds: tuple[int, ...]
    links: str
    design: str
    sweeps: tuple[str, ...]
    scheduler: str | None
    json_file: str | None
    plot_file: str | None
    is_quiet: bool


def run(options: SimulateOptions) -> int:
    """Simulate. Returns the exit code.

    Raises:
        UsageError: no such scenario or design, or parameters that contradict each other.
        DiskError: a file cannot be written.
    """
    _check(options)
    links = links_named(options.links)
    changes = variants(options.sweeps)
    if is_file_scenario(options.scenario):
        return _run_files(options, links, changes)
    design = design_named(options.design)
    scenario = _scenario(options)
    scenarios = [(each, with_overrides(scenario, each, "--sweep")) for each in changes]
    for _, each in scenarios:
        _refuse_packets_only(each, links)
    jobs = [
        LiveJob(each, design.name, seed, links, _replay(options, swept, seed))
        for swept, each in scenarios
        for seed in options.seeds
    ]
    outcomes = run_jobs(run_live, jobs, scheduler=options.scheduler, is_quiet=options.is_quiet)
    results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    if not options.is_quiet and options.json_file != "-":
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Result):
                sys.stdout.write(_table(outcome, job.scenario))
        if len(results) > 1 and len(scenarios) == 1:
            sys.stdout.write(_worst(results))
    if options.plot_file is not None:
        swept = [changes for changes, _ in scenarios for _ in options.seeds]
        _draw(list(zip(swept, outcomes, strict=True)), jobs[0].scenario, options.plot_file)
    if options.json_file is not None and results:
        _write_json([result.to_json() for result in results], options.json_file)
    _keep([outcome for outcome in outcomes if isinstance(outcome, Failed)])
    return 0


def _draw(
    ran: Sequence[tuple[Mapping[str, object], Result | Failed]], scenario: Scenario, where: str
) -> None:
    """Draw a run of this scenario, or all of several over what makes them differ."""
    runs = [(changes, outcome) for changes, outcome in ran if isinstance(outcome, Result)]
    if len(ran) == 1 and runs:
        draw(runs[0][1], scenario, where)
    elif runs:
        draw_runs(runs, where)


def _run_files(
    options: SimulateOptions, links: Links, changes: Sequence[Mapping[str, object]]
) -> int:
    if options.plot_file is not None:
        raise UsageError("--plot draws live scenarios only; --json has the figures of files.")
    if options.design != "trees":
        raise UsageError("--design is of live scenarios; files spread in one way, rarest first.")
    base = file_scenario_named(options.scenario)
    given = _given(options)
    scenarios = [with_file_overrides(base, {**given, **each}, "--sweep") for each in changes]
    jobs = [FileJob(each, seed, links) for each in scenarios for seed in options.seeds]
    results = run_jobs(run_file, jobs, scheduler=options.scheduler, is_quiet=options.is_quiet)
    if not options.is_quiet and options.json_file != "-":
        for result in results:
            sys.stdout.write(file_table(result))
    if options.json_file is not None:
        _write_json([result.to_json() for result in results], options.json_file)
    return 0


def _check(options: SimulateOptions) -> None:
    """Refuse before a long run what would fail after it."""
    for file in (options.json_file, options.plot_file):
        if file is not None and not Path(file).absolute().parent.is_dir():
            raise UsageError(f"{file}: its folder is not there. Make it first.")
    if options.plot_file is not None:
        check_plot(options.plot_file)


def _refuse_packets_only(scenario: Scenario, links: Links) -> None:
    """What the model leaves out is not to be left out without a word. Raises UsageError."""
    for key in PACKETS_ONLY:
        if links is Links.MESSAGES and getattr(scenario, key) != getattr(L0, key):
            raise UsageError(f"{key} is of packets only, not of their model: give --links packets.")


def _replay(options: SimulateOptions, swept: Mapping[str, object], seed: int) -> str:
    """Return the command that runs one of them again."""
    words = ["livestream", "simulate", options.scenario, "--design", options.design]
    words += [] if options.viewers is None else ["--viewers", str(options.viewers)]
    words += [] if options.seconds is None else ["--seconds", f"{options.seconds:g}"]
    words += [] if options.links == "messages" else ["--links", options.links]
    for key, value in swept.items():
        words += ["--sweep", f"{key}={value}"]
    return shlex.join([*words, "--seed", str(seed)])


def _keep(failures: Sequence[Failed]) -> None:
    """Say how to see them again, and keep that where it is found again. Raises CheckError."""
    if not failures:
        return
    kept = Path(FAILED_FILE)
    try:
        with kept.open("a", encoding="utf-8") as file:
            file.writelines(f"{each.replay}  # {each.what}\n" for each in failures)
        where = f"It is kept in {kept}."
    except OSError as failure:
        where = f"It could not be kept in {kept}: {failure.strerror}."
    first, others = failures[0], len(failures) - 1
    more = f" {others} more runs failed." if others else ""
    raise CheckError(f"{first.what} To see it again: {first.replay}. {where}{more}")


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
    return with_overrides(scenario, _given(options), "the command line")


def _given(options: SimulateOptions) -> dict[str, object]:
    given: dict[str, object] = {"viewers": options.viewers, "seconds": options.seconds}
    return {key: value for key, value in given.items() if value is not None}


def _write_json(written: Sequence[object], where: str) -> None:
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


def _worst(results: Sequence[Result]) -> str:
    """Return the worst figure of all seeds, each for itself."""
    lines = [f"Worst of {len(results)} seeds\n"]
    for key, words, unit in _ROWS:
        values = [result.to_json()[key] for result in results]
        known = [value for value in values if isinstance(value, (int, float))]
        worst = (
            None if len(known) < len(values) else (min if key in _MORE_IS_BETTER else max)(known)
        )
        lines.append(f"  {words:26}{_shown(worst, unit):>10}\n")
    return "".join(lines)


def _shown(value: object, unit: str) -> str:
    if not isinstance(value, (int, float)):
        return "none"
    if unit == "%":
        return f"{value * 100:.2f} %"
    return f"{value:.0f}" if not unit else f"{value:.2f} {unit}"
