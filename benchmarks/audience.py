"""A publisher and viewers as processes, each at a host of a star, who come and go (Linux, root)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean
from typing import Final

from benchmarks.processes import Cost, publisher, stats_of, viewer
from benchmarks.recording import Recording, Row
from benchmarks.router import HostSettings, RouterSettings
from benchmarks.star import Sample, Star
from livestream.config import Transport
from livestream.machine import MILLISECOND, SECOND
from livestream.sim.designs import DESIGNS
from livestream.sim.links import Path as LinkPath
from livestream.sim.scenario import Scenario
from livestream.sim.simulation import PUBLISHER, Simulation

__all__ = ["Audience", "Costs"]

TIMEOUT: Final = "1h"  # Nobody gives up, as nobody does in the simulation.


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU while the figures were taken, in cores."""

    viewer_cores: float
    "Of one that was there all the time, on average."
    publisher_cores: float
    router_cores: float
    router_late_ms: float
    "How late the router was at worst."
    machine_busy: float
    "The share of all cores that was in use, by whomever."


class Audience:
    """One run of processes through a scenario, each at the host that the simulation gives it.

    Invariant: `_present` are the viewers that watch now, by the number of their host.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        source: Sequence[str],
        folder: Path,
        transport: Transport,
    ) -> None:
        """Take the scenario, what to publish, where files go, and what carries the channel.

        `source` is what `livestream publish` is told.
        """
        self._scenario = scenario
        self._transport = ["--transport", transport.value]
        self._source = source
        self._folder = folder
        self._rng = Random(seed)
        self._stack = ExitStack()
        self._began = 0.0
        self._link = ""
        self._came = 0
        self._present: dict[int, subprocess.Popen[bytes]] = {}
        self._churns_s = _churns_s(scenario, self._rng)
        numbers = range(1 + scenario.viewers + len(self._churns_s))
        self._settings = _settings(Simulation(scenario, DESIGNS["trees"], seed), numbers)
        self._star = Star(self._settings)

    def run(self) -> tuple[Recording, Costs]:
        """Let it all happen; returns what was seen, and what it cost."""
        scenario = self._scenario
        with self._star, self._stack:
            cap = ["--max-up", str(self._settings.hosts[PUBLISHER].uplink_bps)]
            process, self._link = self._stack.enter_context(
                publisher(
                    self._folder,
                    *self._source,
                    *self._transport,
                    *cap,
                    listen=self._listen(PUBLISHER),
                    inside=self._star.inside(PUBLISHER),
                )
            )
            self._began, unix_began = time.monotonic(), time.time()
            self._go_on_until(scenario.warm_up_s)
            meter = _Meter(self._star, process.pid, self._present)
            self._go_on_until(scenario.seconds)
            self._check()
            costs, sent_bps = meter.read(self._present)
        recording = Recording(
            begins_s=scenario.warm_up_s,
            publisher_bps=sent_bps.pop(PUBLISHER),
            viewer_bps=sum(sent_bps.values()) / scenario.viewers,
        )
        for number in range(1, self._came + 1):
            rows = stats_of(self._stats_file(number))
            recording.rows[number] = [_row(row, unix_began) for row in rows]
        return recording, costs

    # What happens

    def _go_on_until(self, until_s: float) -> None:
        scenario = self._scenario
        while True:
            joins_s = scenario.join_s * self._came / scenario.viewers
            churns_s = self._churns_s[0] if self._churns_s else scenario.seconds
            is_joining = self._came < scenario.viewers and joins_s <= churns_s
            next_s = joins_s if is_joining else churns_s
            self._wait_until(min(next_s, until_s))
            if next_s >= until_s:
                return
            if is_joining:
                self._join()
            else:
                self._churns_s.pop(0)
                self._churn()

    def _wait_until(self, at_s: float) -> None:
        time.sleep(max(0.0, self._began + at_s - time.monotonic()))

    def _join(self) -> None:
        self._came += 1
        number = self._came
        words = ["-o", "/dev/null", "--timeout", TIMEOUT, "--stats", str(self._stats_file(number))]
        words += ["--max-up", str(self._settings.hosts[number].uplink_bps)]
        self._present[number] = self._stack.enter_context(
            viewer(
                self._folder,
                self._link,
                *self._transport,
                *words,
                listen=self._listen(number),
                inside=self._star.inside(number),
            )
        )

    def _churn(self) -> None:
        """One goes, with a word or without; another comes."""
        number = self._rng.choice(list(self._present))
        is_crash = self._rng.random() < self._scenario.crash_share
        self._present.pop(number).send_signal(signal.SIGKILL if is_crash else signal.SIGTERM)
        self._join()

    # Helpers

    def _check(self) -> None:
        """Raise RuntimeError if a viewer is gone that nobody sent away."""
        gone = [number for number, each in self._present.items() if each.poll() is not None]
        if gone:
            raise RuntimeError(f"viewers ended by themselves: {gone}")

    def _listen(self, number: int) -> str:
        return f"{self._settings.hosts[number].address}:0"

    def _stats_file(self, number: int) -> Path:
        return self._folder / f"viewer-{number}.json"


class _Meter:
    """CPU and bytes between two moments."""

    def __init__(
        self, star: Star, publisher_pid: int, viewers: dict[int, subprocess.Popen[bytes]]
    ) -> None:
        self._star = star
        self._before = star.samples()[-1]
        self._publisher = Cost(publisher_pid)
        self._router = Cost(star.pid)
        self._machine = Cost(None)
        self._viewers = {number: Cost(each.pid) for number, each in viewers.items()}

    def read(self, present: dict[int, subprocess.Popen[bytes]]) -> tuple[Costs, dict[int, float]]:
        """Return the costs until now, and what each host has sent, bit/s."""
        # Those that are gone have nothing to read.
        stayed = [self._viewers[number].cores() for number in present if number in self._viewers]
        samples = self._star.samples()
        late_us = max(each.late_us for each in samples if each.at_us > self._before.at_us)
        costs = Costs(
            viewer_cores=mean(stayed or [0.0]),
            publisher_cores=self._publisher.cores(),
            router_cores=self._router.cores(),
            router_late_ms=late_us / MILLISECOND,
            machine_busy=self._machine.cores() / (os.cpu_count() or 1),
        )
        return costs, _sent_bps(self._before, samples[-1])


def _sent_bps(before: Sample, after: Sample) -> dict[int, float]:
    seconds = (after.at_us - before.at_us) / SECOND
    return {
        number: 8 * (host.sent_bytes - before.hosts[number].sent_bytes) / seconds
        for number, host in after.hosts.items()
    }


def _churns_s(scenario: Scenario, rng: Random) -> list[float]:
    """Return when somebody goes and another comes, as the simulator has it: at random."""
    per_second = scenario.churn_per_minute * scenario.viewers / 60
    times_s: list[float] = []
    at_s = rng.expovariate(per_second) if per_second else scenario.seconds
    while at_s < scenario.seconds:
        times_s.append(at_s)
        at_s += rng.expovariate(per_second)
    return times_s


def _settings(simulation: Simulation, numbers: Sequence[int]) -> RouterSettings:
    """Return the network that a simulation has, as far as these hosts go."""
    internet = simulation.internet
    hosts = []
    for number in numbers:
        access = simulation.access_of(number)
        hosts.append(
            HostSettings(
                number,
                internet.address_of(number).host,
                access.uplink_bps,
                access.downlink_bps,
                access.queue_us,
            )
        )
    path: LinkPath = internet.paths.path
    return RouterSettings(tuple(hosts), path, simulation.seed)


def _row(stats: dict[str, float], unix_began: float) -> Row:
    return Row(
        at_s=stats["time"] - unix_began,
        lag_s=stats["lag_s"],
        delivery_lag_s=stats["delivery_lag_s"],
        start_s=stats["start_s"],
        pieces_received=int(stats["pieces_received"]),
        pieces_duplicate=int(stats["pieces_duplicate"]),
        pieces_late=int(stats["pieces_late"]),
        payload_bytes=int(stats["payload_bytes"]),
    )
