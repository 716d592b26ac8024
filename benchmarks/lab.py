"""A bottleneck link between two network namespaces, for benchmarks and tests (Linux, root).

    with Lab(rate_bps=20_000_000, delay_us=25_000, queue_us=300_000) as lab:
        server = lab.spawn(Side.RIGHT, ["python", "-m", ...])
        ...
        rows = lab.samples()

`benchmarks.bottleneck` is the process that plays the link; 200 Mbit/s of full packets and their
answers take 0.6 of a core. Everything inside runs in real-time priority.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.bottleneck import LEFT, RIGHT, LinkSettings, to_json
from benchmarks.processes import close, whole_lines

__all__ = ["Lab", "Sample", "Side", "jain", "mean_queue_us", "rate_bps"]

PRIORITY: Final = "10"  # Of real time: what else the machine does is not to be measured.


class Side(Enum):
    """An end of the link; the value is its address there."""

    LEFT = LEFT
    RIGHT = RIGHT


@dataclass(frozen=True, slots=True)
class Sample:
    """The way from left to right at one moment; the counters only grow."""

    at_us: int
    "Since the link began."
    queue_us: int
    delivered: int
    dropped: int
    by_port: dict[int, int]
    "IP bytes delivered, by destination port."
    late_us: int
    "How late the link itself was at worst since the last sample: the machine was busy."


class Lab:
    """Two namespaces and the link between them, as long as the `with` block lasts.

    Invariant: whatever was started inside is gone when the block is left.
    """

    def __init__(
        self,
        *,
        rate_bps: int,
        delay_us: int,
        queue_us: int,
        loss: float = 0.0,
        jitter_us: int = 0,
        reordering: float = 0.0,
        seed: int = 1,
    ) -> None:
        """Take the link's settings: see `LinkSettings`."""
        self.settings = LinkSettings(
            rate_bps, delay_us, queue_us, loss, jitter_us, reordering, seed
        )
        self._folder = tempfile.TemporaryDirectory(prefix="livestream-lab-")
        self._file = Path(self._folder.name) / "samples"
        self._link: subprocess.Popen[bytes] | None = None
        self._namespaces: dict[Side, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._began = 0.0

    def __enter__(self) -> Self:
        """Start the link. Raises RuntimeError where that is not possible (no root, no TUN)."""
        self._link = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bottleneck", to_json(self.settings), self._file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self._link.stdout is None:
            raise RuntimeError("no pipe")
        line = self._link.stdout.readline()
        if not line:
            self._leave()
            raise RuntimeError("The link did not start: it needs root, iproute2 and /dev/net/tun.")
        self._began = time.monotonic()
        for side, descriptor in zip(Side, json.loads(line), strict=True):
            self._namespaces[side] = f"/proc/{self._link.pid}/fd/{descriptor}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def spawn(self, side: Side, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process at one end, with pipes for stdin and stdout. It ends with the lab."""
        process = subprocess.Popen(
            ["nsenter", f"--net={self._namespaces[side]}", "chrt", "--rr", PRIORITY, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._processes.append(process)
        return process

    def elapsed_us(self) -> int:
        """Return the time by which `Sample.at_us` goes."""
        return int((time.monotonic() - self._began) * 1e6)

    def samples(self) -> list[Sample]:
        """Return what was sampled so far, each 100 ms."""
        return [_parse(line) for line in whole_lines(self._file)]

    def _leave(self) -> None:
        for process in self._processes:
            process.terminate()
        if self._link is not None:
            self._processes.append(self._link)  # Last: it ends as its stdin does.
        for process in self._processes:
            close(process)
        self._processes.clear()
        self._folder.cleanup()


def rate_bps(rows: Sequence[Sample], begin_us: int, end_us: int, port: int | None = None) -> float:
    """Return the mean rate between two moments, of one destination port or of all."""
    inside = [row for row in rows if begin_us <= row.at_us <= end_us]
    if len(inside) < 2:
        return 0.0
    first, last = inside[0], inside[-1]
    if port is None:
        count = last.delivered - first.delivered
    else:
        count = last.by_port.get(port, 0) - first.by_port.get(port, 0)
    return count * 8e6 / (last.at_us - first.at_us)


def mean_queue_us(rows: Sequence[Sample], begin_us: int, end_us: int) -> float:
    """Return the mean queuing delay of the samples between two moments."""
    inside = [row.queue_us for row in rows if begin_us <= row.at_us <= end_us]
    return sum(inside) / len(inside) if inside else 0.0


def jain(rates: Sequence[float]) -> float:
    """Return Jain's fairness index: 1 if all are equal, 1/n if one has everything."""
    squares = sum(rate * rate for rate in rates)
    return sum(rates) ** 2 / (len(rates) * squares) if squares else 0.0


def _parse(line: str) -> Sample:
    row = json.loads(line)
    there = row["there"]
    by_port = {int(port): count for port, count in there["by_port"].items()}
    return Sample(
        row["at_us"],
        there["queue_us"],
        there["delivered"],
        there["dropped"],
        by_port,
        max(there["late_us"], row["back"]["late_us"]),
    )
