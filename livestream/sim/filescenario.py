"""File swarms to simulate, as data (`FileScenario`), and those that have names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from livestream.errors import UsageError
from livestream.sim.names import unknown

__all__ = [
    "FILE_SCENARIOS",
    "FileScenario",
    "file_scenario_named",
    "is_file_scenario",
    "with_file_overrides",
]

MBPS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FileScenario:
    """A file, who has it, who wants it, and their lines. Shares are between 0 and 1."""

    name: str
    summary: str
    viewers: int = 1_000
    "Downloaders; named as in live scenarios, so that one option counts both."
    seconds: float = 900.0
    "Simulated at most; it ends as soon as everybody has the file."
    pieces: int = 64
    piece_kib: int = 128
    seed_uplink_bps: int = 20 * MBPS
    uplinks: tuple[tuple[float, int], ...] = ((0.3, 2 * MBPS), (0.5, 5 * MBPS), (0.2, 20 * MBPS))
    "(share of downloaders, upload)."
    downlink_bps: int = 50 * MBPS
    delay_ms_min: float = 5.0
    delay_ms_max: float = 90.0
    jitter_ms: float = 2.0
    loss: float = 0.001
    join_s: float = 2.0
    "All come, evenly, within so long."
    free_rider_share: float = 0.0
    "Give nothing, and have the uplink of the others all the same."
    seed_leaves_copies: float | None = None
    "The seed goes once it has sent so many times the file."
    max_up_share: float | None = None
    "Nodes cap themselves at this part of their uplink (`--max-up`); None: they do not know it."
    stays: bool = True
    "Whether whoever has the whole file goes on giving."
    neighbours: int = 15
    "Peers that a node calls by itself."
    peers_max: int = 25

    @property
    def size_bytes(self) -> int:
        """The bytes of the file."""
        return self.pieces * self.piece_kib * 1024


CROWD: Final = FileScenario("files-crowd", "1,000 come within 2 s to one seed")

FILE_SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        CROWD,
        replace(
            CROWD,
            name="files-seed-leaves",
            summary="the seed goes when it has sent 1.0 copies",
            viewers=20,
            pieces=256,
            seed_leaves_copies=1.0,
        ),
        replace(
            CROWD,
            name="files-free-riders",
            summary="30 % give nothing",
            viewers=100,
            free_rider_share=0.3,
        ),
        replace(
            CROWD,
            name="files-capped",
            summary="100, each of which knows its uplink (--max-up)",
            viewers=100,
            max_up_share=0.95,
        ),
        replace(
            CROWD,
            name="files-selfish",
            summary="whoever has the file goes at once",
            viewers=100,
            stays=False,
        ),
    )
}


def is_file_scenario(name: str) -> bool:
    """Whether a name is meant for a file swarm, whether there is one of that name or not."""
    return name in FILE_SCENARIOS or name.startswith("files")


def file_scenario_named(name: str) -> FileScenario:
    """Return a scenario by its name. Raises UsageError, which names the nearest."""
    found = FILE_SCENARIOS.get(name)
    if found is None:
        raise UsageError(unknown("scenario", name, FILE_SCENARIOS))
    return found


def with_file_overrides(
    base: FileScenario, given: Mapping[str, object], where: str
) -> FileScenario:
    """Return a scenario with some keys changed. Raises UsageError."""
    known = {each.name: getattr(base, each.name) for each in fields(FileScenario)}
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"{where}: {unknown('key of a file scenario', key, known)}")
        like = known[key]
        wanted = int if type(like) is int else (int, float)  # None: a number that is not given.
        if isinstance(like, (str, tuple)) or not isinstance(value, wanted):
            raise UsageError(f"{where}: {key} = {value!r} is not a value such as {like!r}.")
    scenario = replace(base, **given)  # type: ignore[arg-type]
    problems = {
        "pieces must be 1 to 10,000": not 1 <= scenario.pieces <= 10_000,
        "piece_kib must be 16 to 4,096": not 16 <= scenario.piece_kib <= 4_096,
        "free_rider_share must be 0 to 1": not 0 <= scenario.free_rider_share <= 1,
        "max_up_share must be above 0 and at most 1": scenario.max_up_share is not None
        and not 0 < scenario.max_up_share <= 1,
        "loss must be 0 to 0.5": not 0 <= scenario.loss < 0.5,
        "delay_ms_max is below delay_ms_min": scenario.delay_ms_max < scenario.delay_ms_min,
        "a line's rate must be 10,000 and more": scenario.seed_uplink_bps < 10_000
        or scenario.downlink_bps < 10_000,
        "viewers must be 1 to 10,000": not 1 <= scenario.viewers <= 10_000,
        "seconds must be 1 to 86,400": not 1 <= scenario.seconds <= 86_400,
        "join_s is beyond the end": scenario.join_s >= scenario.seconds,
    }
    for problem, is_there in problems.items():
        if is_there:
            raise UsageError(f"{where}: {problem}.")
    return scenario
