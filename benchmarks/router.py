"""The process behind `benchmarks.star`: every packet between its hosts goes through it.

Each host is a nameless network namespace with a TUN device. On its way a packet meets what a
datagram meets in the simulator with `--links packets`, and the code is the same: the sender's
uplink (`livestream.sim.lines`), the route between the two (`livestream.sim.routes`), with the base
delay that the simulator takes for this pair, and the receiver's downlink. Lines may change while it
runs: it is told on its stdin. The router ends when that does, and nothing of the namespaces remains
then.
"""

from __future__ import annotations

import heapq
import json
import os
import select
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.bottleneck import PACKET_BYTES_MAX, PRIORITY, READS_MAX, new_namespace
from livestream.machine import MILLISECOND, SECOND, Address, Train
from livestream.sim import links
from livestream.sim.lines import Line
from livestream.sim.packets import queue_bytes
from livestream.sim.routes import Route, Weather

__all__ = ["HostSettings", "RouterSettings", "from_json", "to_json", "uplink_command"]

SAMPLE_US: Final = 200 * MILLISECOND
NOWHERE: Final = Address("", 0)
IP_HEADER_BYTES: Final = 20
DESTINATION: Final = slice(16, 20)  # Of an IPv4 header (RFC 791).
COMMAND_BYTES_MAX: Final = 4_096  # What a pipe takes as a whole (POSIX): no line comes in parts.


@dataclass(frozen=True, slots=True)
class HostSettings:
    """A host: its number in the simulation, its address, its line."""

    number: int
    address: str
    uplink_bps: int
    downlink_bps: int | None = None
    "None: never the bottleneck."
    queue_us: int = links.QUEUE_US


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """All hosts, and what is between them."""

    hosts: tuple[HostSettings, ...]
    path: links.Path
    seed: int = 1
    "Of the delays, as the simulator has them, and of chance."


@dataclass(slots=True)
class Host:
    """One host, as the router sees it."""

    number: int
    device: int
    uplink: Line
    downlink: Line | None
    sent_bytes: int = 0
    "IP packets that came from it, those that were dropped then included."
    received_bytes: int = 0
    dropped: int = 0
    "Packets that found one of its queues full."
    lost: int = 0
    "Packets that it sent and chance took."
    received_from: dict[int, int] = field(default_factory=dict)
    "Of `received_bytes`, by the number of the sender."
    routes: dict[bytes, tuple[Route, Host]] = field(default_factory=dict)
    "By destination, of those to whom it has sent."


class Router:
    """Serves all hosts until it is told to end.

    Invariant: a packet leaves `_flying` at its time or later, by as much as the machine is busy and
    a millisecond, which is how exactly the kernel lets us wait.
    """

    def __init__(self, settings: RouterSettings, devices: list[int]) -> None:
        """Take the hosts and their devices, in the same order."""
        path = settings.path
        self._rng = Random(settings.seed)
        self._paths = links.Paths(path, settings.seed, self._rng)
        self._weather = Weather(path.jitter_us, path.loss, path.loss_burst, path.reordered)
        self._by_device: dict[int, Host] = {}
        self._by_number: dict[int, Host] = {}
        self._by_address: dict[bytes, Host] = {}
        for each, device in zip(settings.hosts, devices, strict=True):
            host = Host(each.number, device, *_lines(each))
            self._by_device[device] = self._by_number[host.number] = host
            self._by_address[bytes(int(part) for part in each.address.split("."))] = host
        self._flying: list[tuple[int, int, Host, Host, bytes, bool]] = []
        "When, in which order, from whom, to whom, what, and whether the downlink is behind it."
        self._order = 0
        self._late_us = 0

    def run(self, samples: Path) -> None:
        """Serve until stdin ends; a row of counters goes to the file each 0.2 s."""
        began = next_sample = _now()
        poll = select.epoll()
        for descriptor in (*self._by_device, sys.stdin.fileno()):
            poll.register(descriptor, select.EPOLLIN)
        with samples.open("w", buffering=1) as out:
            while True:
                now = _now()
                if now >= next_sample:
                    out.write(json.dumps(self._sample(now - began)) + "\n")
                    next_sample += SAMPLE_US
                due = self._deliver(now)
                wait_us = min(next_sample, next_sample if due is None else due) - _now()
                for descriptor, _ in poll.poll(max(0, wait_us) / SECOND):
                    host = self._by_device.get(descriptor)
                    if host is not None:
                        self._take(host)
                    elif not self._obey(os.read(descriptor, COMMAND_BYTES_MAX)):
                        return

    def _obey(self, commands: bytes) -> bool:
        """Change uplinks, line by line as `uplink_command` has it; whether there was anything."""
        for line in commands.splitlines():
            number, rate_bps = json.loads(line)
            self._by_number[number].uplink.rate_bps = rate_bps
        return bool(commands)

    def _take(self, host: Host) -> None:
        """Read what a host sends."""
        try:
            for _ in range(READS_MAX):
                self._accept(host, os.read(host.device, PACKET_BYTES_MAX), _now())
        except BlockingIOError:
            return

    def _accept(self, host: Host, packet: bytes, now: int) -> None:
        """Send a packet on its way, or drop it."""
        size = len(packet)
        way = host.routes.get(packet[DESTINATION]) or self._find_way(host, packet)
        if way is None:
            return
        host.sent_bytes += size
        left_at = host.uplink.offer(size, now)
        if left_at is None:
            host.dropped += 1
            return
        route, target = way
        arrivals = route.carry(Train(NOWHERE, packet, size), left_at, self._rng)
        if not arrivals:
            host.lost += 1
            return
        self._order += 1
        is_last = target.downlink is None
        heapq.heappush(self._flying, (arrivals[0][0], self._order, host, target, packet, is_last))

    def _find_way(self, host: Host, packet: bytes) -> tuple[Route, Host] | None:
        """Return the route that a first packet takes; None: it is for nobody here."""
        target = self._by_address.get(packet[DESTINATION])
        if target is None or len(packet) < IP_HEADER_BYTES or packet[0] >> 4 != 4:
            return None
        delay_us = self._paths.base_delay_us(host.number, target.number)
        way = host.routes[packet[DESTINATION]] = Route(delay_us, self._weather), target
        return way

    def _deliver(self, now: int) -> int | None:
        """Hand over what has arrived. Returns when the next will."""
        flying = self._flying
        while flying and flying[0][0] <= now:
            at, order, source, host, packet, is_last = heapq.heappop(flying)
            if not is_last and host.downlink is not None:
                came_at = host.downlink.offer(len(packet), at)
                if came_at is None:
                    host.dropped += 1
                else:
                    heapq.heappush(flying, (came_at, order, source, host, packet, True))
                continue
            self._late_us = max(self._late_us, now - at)
            try:
                os.write(host.device, packet)
            except OSError:  # The device's queue is full or its namespace is gone.
                host.dropped += 1
                continue
            host.received_bytes += len(packet)
            so_far = host.received_from.get(source.number, 0)
            host.received_from[source.number] = so_far + len(packet)
        return flying[0][0] if flying else None

    def _sample(self, elapsed_us: int) -> dict[str, object]:
        """Return all counters; `late_us` begins anew."""
        late_us, self._late_us = self._late_us, 0
        hosts = {
            host.number: (
                host.sent_bytes,
                host.received_bytes,
                host.dropped,
                host.lost,
                host.received_from,
            )
            for host in self._by_device.values()
        }
        return {"at_us": elapsed_us, "late_us": late_us, "hosts": hosts}


def _lines(settings: HostSettings) -> tuple[Line, Line | None]:
    up, down, queue_us = settings.uplink_bps, settings.downlink_bps, settings.queue_us
    downlink = None if down is None else Line(down, queue_bytes(down, queue_us))
    return Line(up, queue_bytes(up, queue_us)), downlink


def _now() -> int:
    return time.monotonic_ns() // (SECOND // MILLISECOND)


def to_json(settings: RouterSettings) -> str:
    """Return what `main` wants to be told."""
    return json.dumps(asdict(settings))


def from_json(text: str) -> RouterSettings:
    """Return what `to_json` was given."""
    given = json.loads(text)
    hosts = tuple(HostSettings(**each) for each in given["hosts"])
    return RouterSettings(hosts, links.Path(**given["path"]), given["seed"])


def uplink_command(number: int, rate_bps: int) -> str:
    """Return the line that gives a host's uplink another rate; its queue keeps its size in bytes.

    What waits in the queue leaves as it would have: a rate holds for what comes after it.
    """
    return json.dumps([number, rate_bps]) + "\n"


def main() -> None:
    """Run the router: settings as JSON on the first line of stdin, and the file for the samples."""
    settings = from_json(sys.stdin.readline())
    made = [new_namespace(host.address) for host in settings.hosts]
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    router = Router(settings, [device for _, device in made])
    sys.stdout.write(json.dumps([namespace for namespace, _ in made]) + "\n")
    sys.stdout.flush()
    router.run(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
