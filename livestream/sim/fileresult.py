"""What came of a file swarm: when everybody had the file, beside the bound (`FileResult`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from livestream.machine import SECOND
from livestream.sim.bounds import file_bound_s
from livestream.sim.filescenario import FileScenario
from livestream.sim.filesimulation import FileSimulation
from livestream.sim.internets import Links
from livestream.sim.result import share_at

__all__ = ["FileResult", "simulate_file"]


@dataclass(slots=True)
class FileResult:
    """The figures of one run. Times are from the start of the run, unless they say otherwise."""

    scenario: str
    seed: int
    viewers: int
    done_last_s: float | None
    "When the last had it; of those that give, where there are free riders."
    took_p50_s: float | None
    "From coming to having it, of those that give."
    took_p95_s: float | None
    free_riders_took_p50_s: float | None
    finished_share: float
    "Of those that give."
    seed_copies: float
    "What the seed sent, in files."
    duplicate_share: float
    overhead_share: float
    bounds: dict[str, float]
    trace_hash: str
    wall_s: float = 0.0
    done_s: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """Return what `--json` writes."""
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "viewers": self.viewers,
            "done_last_s": self.done_last_s,
            "took_p50_s": self.took_p50_s,
            "took_p95_s": self.took_p95_s,
            "free_riders_took_p50_s": self.free_riders_took_p50_s,
            "finished_share": self.finished_share,
            "seed_copies": self.seed_copies,
            "duplicate_share": self.duplicate_share,
            "overhead_share": self.overhead_share,
            "bounds": self.bounds,
            "wall_s": self.wall_s,
            "trace_hash": self.trace_hash,
        }


def simulate_file(
    scenario: FileScenario,
    seed: int,
    *,
    links: Links = Links.MESSAGES,
    on_progress: Callable[[float, float], None] | None = None,
) -> FileResult:
    """Run a file swarm until all have the file, or its time is over.

    Args:
        scenario: What is simulated.
        seed: The same one gives the same run, event by event.
        links: Byte streams of a model (messages), or datagrams of µTP.
        on_progress: Told (downloaders that are done, of how many), ten times a simulated second.
    """
    simulation = FileSimulation(scenario, seed, links)

    def step(now: int) -> None:
        if on_progress is not None:
            done = len(simulation.downloaders) - len(simulation.unfinished)
            on_progress(done, scenario.viewers)

    simulation.run(step)
    return _result_of(simulation)


def _result_of(simulation: FileSimulation) -> FileResult:
    scenario, came = simulation.scenario, simulation.downloaders
    size = simulation.contents.size
    givers = [each for each in came if not each.is_free_rider]
    done = [
        (each.finished_at - simulation.began_at) / SECOND
        for each in givers
        if each.finished_at is not None
    ]
    took = _took_s(simulation, is_free_rider=False)
    riders = _took_s(simulation, is_free_rider=True)
    everybody = [simulation.origin, *came]
    wire = sum(each.host.uplink.bytes_out for each in everybody)
    received = sum(each.swarm.stats.payload_bytes for each in came)
    kept = sum(each.store.held.held for each in came) * simulation.contents.piece_bytes
    bound = file_bound_s(
        size, scenario.seed_uplink_bps, simulation.giving_bps, scenario.downlink_bps
    )
    last_came_s = max((each.joined_at - simulation.began_at for each in givers), default=0) / SECOND
    bound = max(bound, last_came_s + size * 8 / scenario.downlink_bps)
    return FileResult(
        scenario=scenario.name,
        seed=simulation.seed,
        viewers=scenario.viewers,
        done_last_s=_at(done, 1.0),
        took_p50_s=_at(took, 0.5),
        took_p95_s=_at(took, 0.95),
        free_riders_took_p50_s=_at(riders, 0.5),
        finished_share=round(len(done) / max(1, len(givers)), 4),
        seed_copies=round(simulation.seed_bytes / size, 3),
        duplicate_share=round(max(0, received - kept) / max(1, received), 5),
        overhead_share=round(wire / max(1, kept) - 1, 5),
        bounds={"done_last_s": round(bound, 3), "seed_copies": 1.0, "duplicate_share": 0.0},
        trace_hash=simulation.world.trace_hash(),
        done_s=sorted(done),
    )


def _took_s(simulation: FileSimulation, *, is_free_rider: bool) -> list[float]:
    return [
        (each.finished_at - each.joined_at) / SECOND
        for each in simulation.downloaders
        if each.finished_at is not None and each.is_free_rider is is_free_rider
    ]


def _at(values: Sequence[float], share: float) -> float | None:
    value = share_at(values, share)
    return None if value is None else round(value, 3)
