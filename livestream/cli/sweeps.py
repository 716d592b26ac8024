"""What `livestream simulate` runs many of: jobs that can go to other processes and machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Protocol, TypeVar

from livestream.cli.progress import progress
from livestream.errors import UsageError
from livestream.runtime.jobs import run_all
from livestream.sim.checks import CheckError
from livestream.sim.fileresult import FileResult, simulate_file
from livestream.sim.filescenario import FileScenario
from livestream.sim.internets import Links
from livestream.sim.result import Result
from livestream.sim.run import simulate
from livestream.sim.scenario import Scenario
from livestream.sim.scenarios import design_named

__all__ = ["Failed", "FileJob", "LiveJob", "Tell", "run_file", "run_jobs", "run_live", "variants"]

VARIANTS_MAX: Final = 10_000

Tell = Callable[[float, float], None]
"What is told of progress: done, of how many."

JobT_contra = TypeVar("JobT_contra", "LiveJob", "FileJob", contravariant=True)
ResultT_co = TypeVar("ResultT_co", "Result | Failed", FileResult, covariant=True)


class Runner(Protocol[JobT_contra, ResultT_co]):
    """Runs one job."""

    def __call__(self, job: JobT_contra, on_progress: Tell | None = None) -> ResultT_co:
        """Run it."""


@dataclass(frozen=True, slots=True)
class LiveJob:
    """One run of a live scenario."""

    scenario: Scenario
    design: str
    seed: int
    links: Links
    replay: str = ""
    "The command that runs it alone."


@dataclass(frozen=True, slots=True)
class Failed:
    """A run that broke a rule: the others go on."""

    what: str
    replay: str


@dataclass(frozen=True, slots=True)
class FileJob:
    """One run of a file swarm."""

    scenario: FileScenario
    seed: int
    links: Links


def run_live(job: LiveJob, on_progress: Tell | None = None) -> Result | Failed:
    """Run it, and note how long that took."""
    began = time.monotonic()
    try:
        result = simulate(
            job.scenario,
            design_named(job.design),
            job.seed,
            links=job.links,
            on_progress=on_progress,
        )
    except CheckError as error:
        return Failed(str(error), job.replay)
    result.wall_s = round(time.monotonic() - began, 2)
    return result


def run_file(job: FileJob, on_progress: Tell | None = None) -> FileResult:
    """Run it, and note how long that took."""
    began = time.monotonic()
    result = simulate_file(job.scenario, job.seed, links=job.links, on_progress=on_progress)
    result.wall_s = round(time.monotonic() - began, 2)
    return result


def run_jobs(
    runner: Runner[JobT_contra, ResultT_co],
    jobs: Sequence[JobT_contra],
    *,
    scheduler: str | None,
    is_quiet: bool,
) -> list[ResultT_co]:
    """Run one job here, with its progress; or many, on all cores or on a cluster."""
    if len(jobs) == 1 and scheduler is None:
        name = f"{jobs[0].scenario.name}, seed {jobs[0].seed}"
        with progress(name, is_quiet=is_quiet) as show:
            return [runner(jobs[0], lambda done, of: show(int(done * 10), int(of * 10)))]
    with progress(f"{len(jobs)} runs", is_quiet=is_quiet) as show:
        show(0, len(jobs))
        return run_all(
            runner, jobs, scheduler=scheduler, on_done=lambda done: show(done, len(jobs))
        )


def variants(sweeps: Iterable[str]) -> list[Mapping[str, object]]:
    """Return all combinations of `key=value,value…`: changes of a scenario. Raises UsageError."""
    axes: list[list[tuple[str, object]]] = []
    count = 1
    for sweep in sweeps:
        key, equals, values = sweep.partition("=")
        if not equals or not key or not values:
            raise UsageError(f"--sweep {sweep!r}: give KEY=VALUE,VALUE…, such as loss=0.01,0.03.")
        axis = [(key.strip(), _value(key, each)) for each in values.split(",")]
        if key.strip() in (name for other in axes for name, _ in other[:1]):
            raise UsageError(f"--sweep {sweep!r}: {key.strip()} is swept already.")
        axes.append(axis)
        count *= len(axis)
        if count > VARIANTS_MAX:
            raise UsageError(f"--sweep: these are more than {VARIANTS_MAX} combinations.")
    return [dict(chosen) for chosen in product(*axes)]


def _value(key: str, text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise UsageError(f"--sweep {key}: {text[:40]!r} is not a number.")
