"""A channel in a star whose viewers' pictures are read as a player would (Linux, root).

Beside `benchmarks.audience`, which does what a scenario of the simulator says, this is for what no
simulation has: somebody stops, kills or crowds a viewer, and it is seen what became of all of them.
Everything runs in real-time priority, as in `benchmarks.lab`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypedDict

from benchmarks.clip import write_clip
from benchmarks.lab import PRIORITY
from benchmarks.processes import Cost, publisher, stats_of, viewer
from benchmarks.router import RouterSettings
from benchmarks.star import Sample, Star
from livestream.machine import SECOND

__all__ = [
    "GOP_S",
    "PUBLISHER",
    "STILL_S_MAX",
    "Broadcast",
    "Watched",
    "counted",
    "gap_s",
    "moved_bps",
]

PUBLISHER: Final = 0
GOP_S: Final = 1.0
FRAMES_PER_SECOND: Final = 30
# One group of pictures that is not whole, the frames around it, and a target that rises by 0.1 s.
STILL_S_MAX: Final = GOP_S + 0.2
TIMEOUT: Final = "1h"  # Nobody gives up.
URGENT: Final = ("chrt", "--rr", PRIORITY)
READ_BYTES_MAX: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Watched:
    """What a viewer went through. Times are seconds since the star began."""

    rows: Sequence[dict[str, float]]
    "Its `--stats`, one a second, with `at_s` added."
    released_s: Sequence[float]
    "When its picture moved, in order: a frame came out of it."

    def since(self, at_s: float) -> Watched:
        """Return the same, counted from then."""
        rows = [{**row, "at_s": row["at_s"] - at_s} for row in self.rows]
        return Watched(rows, [each - at_s for each in self.released_s])


class _Place(TypedDict):
    listen: str
    inside: Sequence[str]


class Broadcast:
    """A publisher and viewers as processes, as long as the `with` block lasts.

    Invariant: `viewers` are those that were started, by the number of their host.
    """

    def __init__(self, settings: RouterSettings, rate_bps: int) -> None:
        """Take the hosts, of which the publisher's is number 0, and the channel's rate."""
        self.star = Star(settings)
        self.viewers: dict[int, subprocess.Popen[bytes]] = {}
        self._hosts = {host.number: host for host in settings.hosts}
        self._rate_bps = rate_bps
        self._stack = ExitStack()
        self._folder = Path()
        self._link = ""
        self._unix_began = 0.0
        self._pictures: dict[int, _Picture] = {}
        self._costs: dict[int, Cost] = {}
        self._machine = Cost(None)

    def __enter__(self) -> Self:
        """Start the star; nothing else yet. Raises RuntimeError where that is not possible."""
        name = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="livestream-cast-"))
        self._folder = Path(name)
        self._stack.enter_context(self.star)
        self._unix_began = time.time() - self.now_s()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    # What happens

    def publish(self) -> None:
        """Begin the channel."""
        clip = self._folder / "clip.mp4"
        write_clip(clip, rate_bps=self._rate_bps, gop_s=GOP_S, frames_per_second=FRAMES_PER_SECOND)
        words = [str(clip), "--copy", "--loop", *self._cap(PUBLISHER)]
        _, self._link = self._stack.enter_context(
            publisher(self._folder, *words, **self._place(PUBLISHER))
        )

    def join(self, number: int) -> None:
        """Let a viewer watch."""
        pipe = self._folder / f"picture-{number}.mp4"  # MP4 has a fragment a frame, at once.
        os.mkfifo(pipe)
        self._pictures[number] = _Picture(pipe, self.star)
        words = ["-o", str(pipe), "--timeout", TIMEOUT, "--stats", str(self._stats_file(number))]
        self.viewers[number] = self._stack.enter_context(
            viewer(self._folder, self._link, *words, *self._cap(number), **self._place(number))
        )

    def wait_until(self, at_s: float) -> None:
        """Wait until so long after the star began."""
        time.sleep(max(0.0, at_s - self.now_s()))

    def begin_costs(self) -> None:
        """Count what viewers and the whole machine use from now on."""
        self._machine = Cost(None)
        self._costs = {number: Cost(each.pid) for number, each in self.viewers.items()}

    # Queries

    def now_s(self) -> float:
        """Return how long ago the star began."""
        return self.star.elapsed_us() / SECOND

    def inside(self, number: int) -> list[str]:
        """Return what makes a command run at a host, as urgently as the channel does."""
        return [*self.star.inside(number), *URGENT]

    def latest(self, number: int) -> dict[str, float]:
        """Return the newest row of a viewer's `--stats`. Raises RuntimeError if there is none."""
        rows = stats_of(self._stats_file(number))
        if not rows:
            raise RuntimeError(f"viewer {number} says nothing")
        return rows[-1]

    def watched(self) -> dict[int, Watched]:
        """Return what each viewer went through so far."""
        return {number: self._watched(number) for number in self.viewers}

    def costs(self) -> dict[str, float]:
        """Return cores used since `begin_costs`, and how late the router was at worst."""
        alive = [number for number, each in self.viewers.items() if each.poll() is None]
        cores = [self._costs[number].cores() for number in alive if number in self._costs]
        late_us = max(sample.late_us for sample in self.star.samples())
        return {
            "viewer_cores": sum(cores) / max(1, len(cores)),
            "machine_busy": self._machine.cores() / (os.cpu_count() or 1),
            "router_late_ms": late_us / 1000,
        }

    # Helpers

    def _watched(self, number: int) -> Watched:
        rows = [
            {**row, "at_s": row["time"] - self._unix_began}
            for row in stats_of(self._stats_file(number))
        ]
        return Watched(rows, list(self._pictures[number].released_s))

    def _cap(self, number: int) -> list[str]:
        return ["--max-up", str(self._hosts[number].uplink_bps)]

    def _place(self, number: int) -> _Place:
        return {"listen": f"{self._hosts[number].address}:0", "inside": self.inside(number)}

    def _stats_file(self, number: int) -> Path:
        return self._folder / f"viewer-{number}.json"


class _Picture:
    """Reads a viewer's picture, from a thread of its own, and notes when something came."""

    def __init__(self, pipe: Path, star: Star) -> None:
        self.released_s: list[float] = []
        self._pipe = pipe
        self._star = star
        # Whoever never writes leaves it waiting, which must not keep the process from ending.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with self._pipe.open("rb", buffering=0) as source:
            while source.read(READ_BYTES_MAX):
                self.released_s.append(self._star.elapsed_us() / SECOND)


# What is reckoned


def gap_s(released_s: Sequence[float], begins_s: float, ends_s: float) -> float:
    """Return the longest that a picture stood still between two moments.

    What began before counts from when it began; what does not end counts until `ends_s`.
    """
    longest, last_s = 0.0, begins_s
    for at_s in released_s:
        if at_s > ends_s:
            break
        if at_s > begins_s:
            longest = max(longest, at_s - last_s)
        last_s = at_s
    return max(longest, ends_s - last_s)


def counted(rows: Sequence[dict[str, float]], key: str, begins_s: float, ends_s: float) -> float:
    """Return by how much a counter of `--stats` grew between two moments."""
    inside = [row[key] for row in rows if row["at_s"] <= ends_s]
    before = [row[key] for row in rows if row["at_s"] <= begins_s]
    return (inside[-1] if inside else 0.0) - (before[-1] if before else 0.0)


def moved_bps(
    samples: Sequence[Sample],
    sources: Sequence[int],
    targets: Sequence[int],
    begins_s: float,
    ends_s: float,
) -> float:
    """Return the rate at which IP bytes came from some hosts to others, between two moments."""
    inside = [each for each in samples if begins_s * SECOND <= each.at_us <= ends_s * SECOND]
    if len(inside) < 2:
        return 0.0
    first, last = inside[0], inside[-1]
    moved = sum(
        last.hosts[target].received_from.get(source, 0)
        - first.hosts[target].received_from.get(source, 0)
        for source in sources
        for target in targets
    )
    return moved * 8 * SECOND / (last.at_us - first.at_us)
