"""Hosts in network namespaces around one router, for benchmarks and tests (Linux, root).

    with Star(RouterSettings(hosts, path, seed)) as star:
        process = subprocess.Popen([*star.inside(3), "livestream", "watch", ...])
        ...
        rows = star.samples()

Each host has an address, an access line with a rate and a queue each way, and a delay of its own
to every other: those that the simulator has. `benchmarks.router` is the process that plays it all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.processes import close, whole_lines
from benchmarks.router import RouterSettings, to_json, uplink_command
from livestream.machine import SECOND

__all__ = ["HostCounters", "Sample", "Star"]


@dataclass(frozen=True, slots=True)
class HostCounters:
    """What a host has sent and received; they only grow."""

    sent_bytes: int
    "IP packets and all in them, those that were lost then included."
    received_bytes: int
    dropped: int
    "Packets that found its uplink's or its downlink's queue full."
    lost: int
    "Packets that it sent and chance took."
    received_from: dict[int, int]
    "Of `received_bytes`, by the number of the sender."


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters at one moment, by the host's number."""

    at_us: int
    "Since the router began."
    late_us: int
    "How late the router itself was at worst since the last sample."
    hosts: dict[int, HostCounters]


class Star:
    """Namespaces and the router between them, as long as the `with` block lasts.

    What runs in a namespace keeps it alive, cut off from all: end it before the block ends.
    """

    def __init__(self, settings: RouterSettings) -> None:
        """Take hosts, paths and the seed."""
        self.settings = settings
        self._folder = tempfile.TemporaryDirectory(prefix="livestream-star-")
        self._file = Path(self._folder.name) / "samples"
        self._router: subprocess.Popen[str] | None = None
        self._namespaces: dict[int, str] = {}
        self._began = 0.0

    def __enter__(self) -> Self:
        """Start the router. Raises RuntimeError where that is not possible (no root, no TUN)."""
        self._router = router = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.router", self._file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if router.stdin is None or router.stdout is None:
            raise RuntimeError("no pipe")
        router.stdin.write(to_json(self.settings) + "\n")
        router.stdin.flush()
        line = router.stdout.readline()
        if not line:
            self._leave()
            raise RuntimeError(
                "The router did not start: it needs root, iproute2 and /dev/net/tun."
            )
        self._began = time.monotonic()
        for host, descriptor in zip(self.settings.hosts, json.loads(line), strict=True):
            self._namespaces[host.number] = f"/proc/{router.pid}/fd/{descriptor}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    @property
    def pid(self) -> int:
        """The router's process."""
        if self._router is None:
            raise RuntimeError("the router does not run")
        return self._router.pid

    def inside(self, number: int) -> list[str]:
        """Return what makes a command run at this host."""
        return ["nsenter", f"--net={self._namespaces[number]}", "--"]

    def elapsed_us(self) -> int:
        """Return the time by which `Sample.at_us` goes."""
        return int((time.monotonic() - self._began) * SECOND)

    def set_uplink(self, number: int, rate_bps: int) -> None:
        """Give a host's uplink another rate from now on."""
        if self._router is None or self._router.stdin is None:
            raise RuntimeError("the router does not run")
        self._router.stdin.write(uplink_command(number, rate_bps))
        self._router.stdin.flush()

    def samples(self) -> list[Sample]:
        """Return the counters so far, a row each 0.2 s."""
        return [_parse(line) for line in whole_lines(self._file)]

    def _leave(self) -> None:
        router = self._router
        if router is not None:
            close(router)  # It ends as its stdin does.
        self._folder.cleanup()


def _parse(line: str) -> Sample:
    row = json.loads(line)
    hosts = {int(number): _counters(each) for number, each in row["hosts"].items()}
    return Sample(row["at_us"], row["late_us"], hosts)


def _counters(fields: tuple[int, int, int, int, dict[str, int]]) -> HostCounters:
    sent_bytes, received_bytes, dropped, lost, received_from = fields
    by_number = {int(number): count for number, count in received_from.items()}
    return HostCounters(sent_bytes, received_bytes, dropped, lost, by_number)
