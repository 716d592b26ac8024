"""Draws what `benchmarks.lab` sampled: throughput and queue over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from benchmarks.lab import Sample

__all__ = ["plot"]

SPAN: Final = 5  # Throughput is over so many samples: half a second.


def plot(traces: Mapping[str, Sequence[Sample]], file: Path, ports: Mapping[str, int]) -> None:
    """Draw one row for each trace, and in it each named port's throughput, and the queue."""
    figure = Figure(figsize=(12, 3 * len(traces)), layout="constrained")
    grid = figure.subplots(len(traces), 2, squeeze=False, sharex=True, sharey="col")
    for (title, rows), (rates, queue) in zip(traces.items(), grid, strict=True):
        for name, port in ports.items():
            label = title if name == "flow" else name
            rates.plot(*_rates(rows, port), label=label, linewidth=1)
        rates.set(title=f"{title}: throughput", xlabel="time, s", ylabel="rate, Mbit/s")
        rates.legend(loc="lower right")
        times = [row.at_us / 1e6 for row in rows]
        queue.plot(times, [row.queue_us / 1000 for row in rows], color="tab:red", linewidth=1)
        queue.set(title=f"{title}: queue", xlabel="time, s", ylabel="queuing delay, ms")
        for axes in (rates, queue):
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)


def _rates(rows: Sequence[Sample], port: int) -> tuple[list[float], list[float]]:
    times, rates = [], []
    for before, after in zip(rows, rows[SPAN:], strict=False):
        count = after.by_port.get(port, 0) - before.by_port.get(port, 0)
        times.append(after.at_us / 1e6)
        rates.append(count * 8 / (after.at_us - before.at_us))
    return times, rates
