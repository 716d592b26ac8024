"""The process behind `benchmarks.lab`: moves IP packets between two namespaces, as a link would.

It owns a TUN device in each of two nameless network namespaces, and between them a drop-tail queue
per direction with a rate, a delay, random loss, jitter and reordering. It ends when its stdin
does; nothing of the namespaces remains then, whoever was killed and how.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import select
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Final

__all__ = [
    "LEFT",
    "PACKET_BYTES_MAX",
    "PRIORITY",
    "READS_MAX",
    "RIGHT",
    "SAMPLE_US",
    "LinkSettings",
    "new_namespace",
    "to_json",
]

LEFT: Final = "10.99.0.1"
RIGHT: Final = "10.99.0.2"
SAMPLE_US: Final = 100_000
REORDERING_US: Final = 5_000  # How far a packet falls behind that is to come too late.
READS_MAX: Final = 64  # Packets taken from one side before the other has its turn.
PACKET_BYTES_MAX: Final = 65_536
PRIORITY: Final = 20  # Of real time, before the flows (`benchmarks.lab`): the link is never late.
TUNSETIFF: Final = 0x400454CA  # linux/if_tun.h
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
OWN_NAMESPACE: Final = "/proc/self/ns/net"


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What the link is like, the same both ways."""

    rate_bps: int
    delay_us: int
    "One way."
    queue_us: int
    "How long the full queue takes to leave."
    loss: float = 0.0
    "The share of packets lost at random, before the queue."
    jitter_us: int = 0
    "Each packet is delayed by up to so much more; their order stays."
    reordering: float = 0.0
    "The share of packets that come 5 ms late, after those that were sent later."
    seed: int = 1


@dataclass(slots=True)
class Direction:
    """One way through the link: a queue, a rate, a delay."""

    settings: LinkSettings
    out: int
    rng: Random
    free_at: int = 0
    "When the last packet of the queue will have left it, ns."
    last_at: int = 0
    order: int = 0
    flying: list[tuple[int, int, bytes]] = field(default_factory=list)
    delivered: int = 0
    dropped: int = 0
    late_us: int = 0
    by_port: dict[int, int] = field(default_factory=dict)
    "Bytes delivered, by the destination port of TCP or UDP."

    def accept(self, packet: bytes, now: int) -> None:
        """Queue a packet, or drop it."""
        settings = self.settings
        is_full = self.free_at - now > settings.queue_us * 1000
        if is_full or (settings.loss and self.rng.random() < settings.loss):
            self.dropped += 1
            return
        self.free_at = max(self.free_at, now) + len(packet) * 8_000_000_000 // settings.rate_bps
        at = self.free_at + settings.delay_us * 1000
        if settings.jitter_us:
            at = max(self.last_at, at + int(self.rng.random() * settings.jitter_us * 1000))
        self.last_at = at
        if settings.reordering and self.rng.random() < settings.reordering:
            at += REORDERING_US * 1000
        self.order += 1
        heapq.heappush(self.flying, (at, self.order, packet))

    def deliver(self, now: int) -> int | None:
        """Hand over what has arrived. Returns when the next will."""
        flying = self.flying
        while flying and flying[0][0] <= now:
            at, _, packet = heapq.heappop(flying)
            self.late_us = max(self.late_us, (now - at) // 1000)
            try:
                os.write(self.out, packet)
            except OSError:  # The other side's device is full or gone: so are packets.
                self.dropped += 1
                continue
            self.delivered += len(packet)
            port = packet[22] << 8 | packet[23] if len(packet) >= 24 else 0
            self.by_port[port] = self.by_port.get(port, 0) + len(packet)
        return flying[0][0] if flying else None

    def sample(self, now: int) -> dict[str, object]:
        """Return the state and the counters; `late_us` begins anew."""
        late_us, self.late_us = self.late_us, 0
        return {
            "queue_us": max(0, self.free_at - now) // 1000,
            "delivered": self.delivered,
            "dropped": self.dropped,
            "late_us": late_us,
            "by_port": self.by_port,
        }


class Link:
    """Both directions, and the loop that serves them."""

    def __init__(self, settings: LinkSettings, left: int, right: int) -> None:
        rng = Random(settings.seed)
        self._directions = {
            left: Direction(settings, right, rng),
            right: Direction(settings, left, rng),
        }

    def run(self, samples: Path) -> None:
        """Serve until stdin ends."""
        began = next_sample = time.monotonic_ns()
        sources = [*self._directions, sys.stdin.fileno()]
        with samples.open("w", buffering=1) as out:
            while True:
                now = time.monotonic_ns()
                if now >= next_sample:
                    there, back = (each.sample(now) for each in self._directions.values())
                    row = {"at_us": (now - began) // 1000, "there": there, "back": back}
                    out.write(json.dumps(row) + "\n")
                    next_sample += SAMPLE_US * 1000
                due = [next_sample]
                for direction in self._directions.values():
                    at = direction.deliver(now)
                    if at is not None:
                        due.append(at)
                wait_s = max(0, min(due) - time.monotonic_ns()) / 1e9
                # Unlike poll, select waits for parts of a millisecond.
                for ready in select.select(sources, [], [], wait_s)[0]:
                    if ready not in self._directions:
                        return
                    self._take(ready)

    def _take(self, device: int) -> None:
        direction = self._directions[device]
        try:
            for _ in range(READS_MAX):
                direction.accept(os.read(device, PACKET_BYTES_MAX), time.monotonic_ns())
        except BlockingIOError:
            return


def new_namespace(address: str) -> tuple[int, int]:
    """Make a namespace with a TUN device in it, to which everything goes that is not for itself.

    Returns its descriptor and the device's; it is gone with the last process that has either or is
    in it. Raises OSError where that is not possible.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open(OWN_NAMESPACE, os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace needs root")
    namespace = os.open(OWN_NAMESPACE, os.O_RDONLY)
    # Nothing but IPv4, and no memory of earlier connections.
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text("1")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"lab0", IFF_TUN | IFF_NO_PI))
    words = (
        f"address add {address}/32 dev lab0",
        "link set lab0 up mtu 1500 txqueuelen 1000",
        "link set lo up",
        "route add default dev lab0",
    )
    subprocess.run(["ip", "-batch", "-"], input="\n".join(words), text=True, check=True)
    if libc.setns(home, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot return to the first namespace")
    os.close(home)
    return namespace, device


def main() -> None:
    """Run a link: settings as JSON, and the file for the samples."""
    settings = LinkSettings(**json.loads(sys.argv[1]))
    left_namespace, left = new_namespace(LEFT)
    right_namespace, right = new_namespace(RIGHT)
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    link = Link(settings, left, right)
    sys.stdout.write(json.dumps([left_namespace, right_namespace]) + "\n")
    sys.stdout.flush()
    link.run(Path(sys.argv[2]))


def to_json(settings: LinkSettings) -> str:
    """Return what `main` wants to be told."""
    return json.dumps(asdict(settings))


if __name__ == "__main__":
    main()
