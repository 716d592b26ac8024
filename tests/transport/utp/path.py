"""A path between two hosts in virtual time, as µTP meets them: narrow, lossy, small, censored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from livestream.machine import SECOND, Address, Train
from livestream.sim.lines import Line
from tests.world import Link, World

Censor = Callable[[Address, bytes], list[bytes]]
"What becomes of a datagram from someone: nothing, itself, several."


@dataclass(frozen=True)
class Narrow(Link):
    """A link with a rate, a drop-tail queue and a largest datagram, the same in each direction."""

    rate_bps: int = 0
    "0: as fast as you like."
    queue_us: int = 300_000
    "What does not fit in it is dropped."
    datagram_bytes_max: int = 65_535
    "Larger ones are cut up on the way, or dropped where that is forbidden."
    is_whole: bool = False
    "Trains arrive as trains, without the rows that were lost."
    rest_us: int = 0
    "Both sides look at their sockets each so long, and know how long what is there has waited."
    has_late_timers: bool = False
    "Timers wait as sockets do: neither side wakes up more often."


@dataclass
class Traffic:
    """What one side has sent, and what became of it."""

    datagrams: int = 0
    bytes: int = 0
    dropped: int = 0
    delivered_bytes: int = 0
    queue_us_sum: int = 0
    burst_bytes: int = 0
    "The most that left at one instant."

    @property
    def queue_us(self) -> float:
        """How long a datagram waited, on average."""
        return self.queue_us_sum / max(1, self.datagrams - self.dropped)


class Path(World):
    """Invariant: what leaves first arrives first, except for jitter."""

    def __init__(self, seed: int, link: Link, censor: Censor | None = None) -> None:
        super().__init__(seed, link)
        self.censor = censor
        self.traffic: dict[Address, Traffic] = {}
        self._lines: dict[Address, Line] = {}
        self._instant: dict[Address, tuple[int, int]] = {}

    def traffic_of(self, source: Address) -> Traffic:
        """Return what a side has sent since `forget`."""
        return self.traffic.setdefault(source, Traffic())

    def forget(self) -> None:
        """Count anew."""
        self.traffic.clear()

    def depart(self, source: Address, train: Train) -> None:
        arrived: list[tuple[int, bytes]] = []
        for datagram in train.datagrams():
            self._count(source, len(datagram))
            copies = [datagram] if self.censor is None else self.censor(source, datagram)
            for copy in copies:
                at = self._arrival(source, copy, dont_fragment=train.dont_fragment)
                if at is None:
                    self.traffic_of(source).dropped += 1
                else:
                    arrived.append((at, copy))
        self._land(source, train.address, arrived)

    def _next_at(self) -> int | None:
        at = super()._next_at()
        is_late = isinstance(self.link, Narrow) and self.link.has_late_timers
        return self._when_awake(max(at, self.now)) if is_late and at is not None else at

    def _when_awake(self, at: int) -> int:
        rest_us = self.link.rest_us if isinstance(self.link, Narrow) else 0
        return -(-at // rest_us) * rest_us if rest_us else at

    def _land(self, source: Address, to: Address, arrived: list[tuple[int, bytes]]) -> None:
        sizes = [len(datagram) for _, datagram in arrived]
        is_train = len(set(sizes[:-1])) == 1 and sizes[-1] <= sizes[0]
        if isinstance(self.link, Narrow) and self.link.is_whole and is_train:
            data = b"".join(datagram for _, datagram in arrived)
            self._wait(max(at for at, _ in arrived), to, Train(source, data, sizes[0]))
            return
        for at, datagram in arrived:
            self._wait(at, to, Train(source, datagram, max(1, len(datagram))))

    def _wait(self, at: int, to: Address, train: Train) -> None:
        """Let a train wait in the socket until somebody looks there."""
        read_at = self._when_awake(at)
        train.waited_us = read_at - at
        self.fly(read_at, to, train)

    def _count(self, source: Address, size: int) -> None:
        traffic = self.traffic_of(source)
        traffic.datagrams += 1
        traffic.bytes += size
        at, burst = self._instant.get(source, (-1, 0))
        burst = burst + size if at == self.now else size
        self._instant[source] = self.now, burst
        traffic.burst_bytes = max(traffic.burst_bytes, burst)

    def _arrival(self, source: Address, datagram: bytes, *, dont_fragment: bool) -> int | None:
        """When it arrives; None: never."""
        link, at = self.link, self.now
        if link.loss and self.rng.random() < link.loss:
            return None
        if isinstance(link, Narrow):
            if dont_fragment and len(datagram) > link.datagram_bytes_max:
                return None
            if link.rate_bps:
                line = self._lines.setdefault(source, Line(link.rate_bps, 0))
                line.rate_bps = link.rate_bps  # The link may have become another.
                # What is taken fits if what waits before it does.
                line.queue_bytes = link.rate_bps * link.queue_us // (8 * SECOND) + len(datagram)
                waits_us = max(0, line.free_at - self.now)
                left_at = line.offer(len(datagram), self.now)
                if left_at is None:
                    return None
                self.traffic_of(source).queue_us_sum += waits_us
                at = left_at
        self.traffic_of(source).delivered_bytes += len(datagram)
        return at + link.delay_us + int(link.jitter_us * self.rng.random())
