"""What viewers of a channel went through, second by second, and what that amounts to.

Processes and the simulation are recorded alike, so that one way of reckoning serves both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import mean, median
from typing import Final

from livestream.live.piece import PIECE_OVERHEAD
from livestream.sim.result import share_at

__all__ = ["Figures", "Recording", "Row", "reckon"]

RUNNING_S: Final = 10.0  # Who was there for less says little of its own median.


@dataclass(frozen=True, slots=True)
class Row:
    """A viewer at one moment. Counters grow from its coming on."""

    at_s: float
    "Since the publisher began."
    lag_s: float
    "Release to the decoder minus capture, of the last release; 0: no picture yet."
    delivery_lag_s: float
    "Arrival minus capture, the median of the last second's pieces."
    start_s: float
    "From its coming to the first picture; 0: no picture yet."
    pieces_received: int
    pieces_duplicate: int
    pieces_late: int
    payload_bytes: int
    "Of pieces, duplicates and signatures included."


@dataclass(slots=True)
class Recording:
    """A run. Invariant: the rows of each viewer are in the order of time."""

    begins_s: float
    "When the figures begin."
    rows: dict[int, list[Row]] = field(default_factory=dict)
    "By the number of the viewer's host."
    publisher_bps: float = 0.0
    "Wire bytes, from `begins_s` on."
    viewer_bps: float = 0.0
    "The same of a viewer, on average."


@dataclass(frozen=True, slots=True)
class Figures:
    """What is compared. Lags are of each viewer the median over its stay; s."""

    lag_p50_s: float
    lag_p99_s: float
    delivery_p50_s: float
    delivery_p99_s: float
    start_p50_s: float
    start_p95_s: float
    late_share: float
    "Of pieces that were due."
    dark_share: float
    "Of the time after a viewer's first five seconds: no picture has come yet."
    duplicate_share: float
    publisher_x: float
    "Wire bytes of the publisher / payload."
    viewer_x: float
    "The same of a viewer, on average."
    pieces_per_s: float
    rate_bps: float
    "Of the payload."


def reckon(run: Recording) -> Figures:
    """Sum up a run."""
    stays = [_Stay(rows, run.begins_s) for rows in run.rows.values()]
    stays = [stay for stay in stays if stay.rows]
    watched = [stay for stay in stays if stay.lit]
    rate_bps = median([stay.rate_bps for stay in stays if stay.seconds >= RUNNING_S] or [0.0])
    kept, late = sum(stay.kept for stay in stays), sum(stay.late for stay in stays)
    duplicates = sum(stay.duplicates for stay in stays)
    lags = [median(row.lag_s for row in stay.lit) for stay in watched]
    deliveries = [median(row.delivery_lag_s for row in stay.lit) for stay in watched]
    starts = [stay.rows[-1].start_s for stay in watched]
    waited = [row.start_s > 0 for stay in stays for row in stay.settled]
    return Figures(
        lag_p50_s=share_at(lags, 0.5) or 0.0,
        lag_p99_s=share_at(lags, 0.99) or 0.0,
        delivery_p50_s=share_at(deliveries, 0.5) or 0.0,
        delivery_p99_s=share_at(deliveries, 0.99) or 0.0,
        start_p50_s=share_at(starts, 0.5) or 0.0,
        start_p95_s=share_at(starts, 0.95) or 0.0,
        late_share=late / max(1, late + kept),
        dark_share=1.0 - mean(waited or [True]),
        duplicate_share=duplicates / max(1, duplicates + kept),
        publisher_x=run.publisher_bps / max(1.0, rate_bps),
        viewer_x=run.viewer_bps / max(1.0, rate_bps),
        pieces_per_s=kept / max(1.0, sum(stay.seconds for stay in stays)),
        rate_bps=rate_bps,
    )


class _Stay:
    """A viewer from the beginning of the figures, or its coming, to its end."""

    def __init__(self, rows: list[Row], begins_s: float) -> None:
        self.rows = [row for row in rows if row.at_s >= begins_s]
        self.lit = [row for row in self.rows if row.lag_s > 0]
        came_s = rows[0].at_s if rows else 0.0
        self.settled = [row for row in self.rows if row.at_s >= came_s + 5]
        first, last = (self.rows[0], self.rows[-1]) if self.rows else (None, None)
        if first is None or last is None:
            return
        self.seconds = last.at_s - first.at_s
        self.kept = last.pieces_received - first.pieces_received
        self.late = last.pieces_late - first.pieces_late
        self.duplicates = last.pieces_duplicate - first.pieces_duplicate
        pieces = self.kept + self.duplicates
        payload_bytes = last.payload_bytes - first.payload_bytes - pieces * PIECE_OVERHEAD
        self.rate_bps = 0.0
        "Of the payload that was kept; duplicates are as large as other pieces."
        if self.seconds and pieces:
            self.rate_bps = 8 * payload_bytes * self.kept / pieces / self.seconds
