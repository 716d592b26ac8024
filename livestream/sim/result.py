"""What came out of a run: lag, continuity and cost together, each beside its bound (`Result`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from livestream.live.piece import PIECE_OVERHEAD
from livestream.machine import SECOND
from livestream.sim.bounds import bounds_of, lag_bounds_s
from livestream.sim.simulation import Simulation
from livestream.sim.totals import totals_of
from livestream.sim.viewer import Viewer

__all__ = ["Result", "Series", "result_of"]

PATIENCE_US: Final = 5 * SECOND  # Who has seen nothing for so long is counted as having missed it.


@dataclass(slots=True)
class Series:
    """Figures of each second, for the picture."""

    viewers: list[int] = field(default_factory=list)
    publisher_x: list[float] = field(default_factory=list)
    continuity: list[float | None] = field(default_factory=list)
    _bytes_before: int = 0

    def add_second(self, simulation: Simulation) -> None:
        """Take the figures of the second that has passed."""
        sent = simulation.publisher_bytes_out - self._bytes_before
        self._bytes_before += sent
        self.viewers.append(len(simulation.present))
        self.publisher_x.append(sent * 8 / simulation.scenario.rate_bps)


@dataclass(slots=True)
class Result:
    """The figures of one run."""

    scenario: str
    design: str
    seed: int
    viewers: int
    lag_p50_s: float | None
    "None: nobody saw anything."
    lag_p99_s: float | None
    continuity: float
    publisher_upload_x: float
    duplicate_share: float
    control_share: float | None
    "None where datagrams travel: nobody looks into them."
    overhead_share: float
    rate_share: float
    start_p50_s: float | None
    start_p95_s: float | None
    bad_pieces_shown: int
    bounds: dict[str, float]
    trace_hash: str
    wall_s: float = 0.0
    lags_s: list[float] = field(default_factory=list)
    "Of each viewer: the median over its stay of release minus capture."
    delivery_lags_s: list[float] = field(default_factory=list)
    "Of each viewer: by when 99 % of its pieces had come, after their capture."
    bound_lags_s: list[float] = field(default_factory=list)
    "The least lag of each viewer, by the postal model."
    series: Series = field(default_factory=Series)

    def to_json(self) -> dict[str, object]:
        """Return what `--json` writes."""
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "viewers": self.viewers,
            "lag_p50_s": self.lag_p50_s,
            "lag_p99_s": self.lag_p99_s,
            "continuity": self.continuity,
            "publisher_upload_x": self.publisher_upload_x,
            "duplicate_share": self.duplicate_share,
            "control_share": self.control_share,
            "overhead_share": self.overhead_share,
            "rate_share": self.rate_share,
            "start_p50_s": self.start_p50_s,
            "start_p95_s": self.start_p95_s,
            "bad_pieces_shown": self.bad_pieces_shown,
            "bounds": self.bounds,
            "wall_s": self.wall_s,
            "trace_hash": self.trace_hash,
        }


def result_of(simulation: Simulation, series: Series) -> Result:
    """Reckon up a run that has ended.

    What attackers see themselves counts in no figure: who is found out is fed by nobody.
    """
    scenario = simulation.scenario
    viewers = [viewer for viewer in simulation.viewers if not viewer.host.role.is_attacker]
    now = simulation.world.now
    bounds = bounds_of(scenario)
    lags = [median(viewer.lags_us) / SECOND for viewer in viewers if viewer.lags_us]
    starts = _starts_s(viewers, simulation.began_at + scenario.warm_up_us)
    continuity = _continuity(simulation, viewers, now)
    now_totals, before = totals_of(simulation), simulation.totals_before
    wire = max(1, now_totals.wire - before.wire)
    received, kept = now_totals.received - before.received, now_totals.kept - before.kept
    useful = kept - PIECE_OVERHEAD * (now_totals.pieces_kept - before.pieces_kept)
    published = max(1, now_totals.published - before.published)
    series.continuity = _continuity_by_second(simulation, viewers, now)
    return Result(
        scenario=scenario.name,
        design=simulation.design.name,
        seed=simulation.seed,
        viewers=scenario.viewers,
        lag_p50_s=share_at(lags, 0.5),
        lag_p99_s=share_at(lags, 0.99),
        continuity=round(continuity, 5),
        publisher_upload_x=round((now_totals.publisher - before.publisher) / published, 3),
        duplicate_share=round((received - kept) / max(1, received), 5),
        control_share=_control_share(simulation, now_totals.control - before.control, wire),
        overhead_share=round(wire / max(1, useful) - 1, 5),
        rate_share=round(scenario.rate_bps * continuity / max(1.0, bounds["rate_bps"]), 4),
        start_p50_s=share_at(starts, 0.5),
        start_p95_s=share_at(starts, 0.95),
        bad_pieces_shown=sum(viewer.bad_pieces_shown for viewer in simulation.viewers),
        bounds=bounds,
        trace_hash=simulation.world.trace_hash(),
        lags_s=lags,
        delivery_lags_s=[
            (share_at(viewer.delivery_lags_us, 0.99) or 0.0) / SECOND
            for viewer in viewers
            if viewer.delivery_lags_us
        ],
        bound_lags_s=lag_bounds_s(scenario),
        series=series,
    )


def share_at(values: Sequence[float], share: float) -> float | None:
    """Return the value that this share of all is at or below; None of none."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4) if ordered else None


def _starts_s(viewers: Sequence[Viewer], warm_at: int) -> list[float]:
    """Return how long viewers waited for the picture: of those that came after the warm-up.

    Where nobody came then, of all.
    """
    started = [
        (viewer.joined_at, viewer.started_at) for viewer in viewers if viewer.started_at is not None
    ]
    late = [each for each in started if each[0] >= warm_at]
    return [(start - joined) / SECOND for joined, start in late or started]


def _continuity(simulation: Simulation, viewers: Sequence[Viewer], now: int) -> float:
    """Return the share of pieces that were there when due, of these viewers together."""
    due = late = 0
    warm_at = simulation.began_at + simulation.scenario.warm_up_us
    for viewer in viewers:
        due += viewer.due_before
        late += viewer.late_before
        if viewer.started_at is None:
            since = max(viewer.joined_at + PATIENCE_US, warm_at)
            missed = simulation.ledger.count_between(since, (viewer.left_at or now) - since)
            due, late = due + missed, late + missed
            continue
        first, end = viewer.due(now)
        due += end - first
        late += min(viewer.late(now), end - first)
    # A target that moves makes some due that were, before the warm-up's end, not yet so.
    return 1.0 - max(0, late) / due if due else 0.0


def _continuity_by_second(
    simulation: Simulation, viewers: Sequence[Viewer], now: int
) -> list[float | None]:
    """Return, of each second of capture, which share of the started viewers' pieces came in time.

    None: nobody watched, or it was not due yet.
    """
    first = simulation.began_at // SECOND
    latency_us = simulation.scenario.latency_us
    shares: list[float | None] = []
    for second in range(first, (now - latency_us) // SECOND):
        due = there = 0
        for viewer in viewers:
            starts, ends = viewer.started_at, viewer.left_at or now
            if starts is None or second * SECOND < starts:
                continue
            if (second + 1) * SECOND + latency_us <= ends:
                due += simulation.ledger.per_second.get(second, 0)
                there += viewer.on_time.get(second, 0)
        shares.append(there / due if due else None)
    return shares


def _control_share(simulation: Simulation, control_bytes: int, wire_bytes: int) -> float | None:
    if not simulation.internet.sees_messages:
        return None
    return round(control_bytes / wire_bytes, 5)
