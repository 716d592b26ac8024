"""A bottleneck in virtual time: one drop-tail queue, shared by LEDBAT and CUBIC flows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from livestream.machine import MILLISECOND, SECOND
from livestream.sim.lines import Line
from livestream.transport.ledbat import Ledbat

DATAGRAM = 1_400


@dataclass(frozen=True, slots=True)
class Path:
    """What the link is like."""

    rate_bps: int = 20_000_000
    base_us: int = 50 * MILLISECOND
    "Round trip without queues."
    queue_us: int = 300 * MILLISECOND
    loss: float = 0.0
    ack_every: int = 1
    "Datagrams that one acknowledgement covers."
    noise_us: int = 0
    "Each round trip is longer by up to so much."


class Flow(ABC):
    """A sender that always has something to send, unless `rate_bps` is all that it has."""

    def __init__(self, start: int = 0, end: int | None = None, rate_bps: int | None = None) -> None:
        self.start = start
        self.end = end
        self.rate_bps = rate_bps
        self.in_flight = 0
        self.sent = 0
        self.delivered = 0
        self.lost = 0

    @property
    @abstractmethod
    def window_bytes(self) -> int:
        """What may be in flight."""

    @abstractmethod
    def on_ack(self, acked: int, rtt_us: int, one_way_us: int, now: int) -> None:
        """So many bytes have arrived."""

    @abstractmethod
    def on_loss(self, lost: int, rtt_us: int, now: int) -> None:
        """So many bytes have not."""

    def has_data(self, now: int) -> bool:
        """Whether the application has a datagram to send."""
        if now < self.start or (self.end is not None and now >= self.end):
            return False
        return self.rate_bps is None or self.sent * 8 * SECOND < self.rate_bps * (now - self.start)


class LedbatFlow(Flow):
    """Ours. `clock_us` is what the other side's clock is ahead, if delays are one way."""

    def __init__(
        self,
        ledbat: Ledbat,
        start: int = 0,
        end: int | None = None,
        rate_bps: int | None = None,
        *,
        is_one_way: bool = False,
    ) -> None:
        super().__init__(start, end, rate_bps)
        self.ledbat = ledbat
        self.is_one_way = is_one_way
        self.clock_us = 0
        self.drift_ppm = 0

    @property
    def window_bytes(self) -> int:
        return self.ledbat.window_bytes

    def on_ack(self, acked: int, rtt_us: int, one_way_us: int, now: int) -> None:
        if self.is_one_way:
            skew_us = self.clock_us + now * self.drift_ppm // 1_000_000
            self.ledbat.on_delay(one_way_us + skew_us, now, rtt_us)
        else:
            self.ledbat.on_delay(rtt_us, now)
        is_used = self.in_flight + 4 * DATAGRAM >= self.window_bytes
        self.ledbat.on_ack(acked, is_window_used=is_used, now=now)

    def on_loss(self, lost: int, rtt_us: int, now: int) -> None:
        self.ledbat.on_loss(now, rtt_us, lost)


class CubicFlow(Flow):
    """TCP as RFC 9438 says, with HyStart's delay rule (RFC 9406) as Linux has it."""

    BETA = 0.7
    C = 0.4

    def __init__(self, start: int = 0, end: int | None = None) -> None:
        super().__init__(start, end)
        self._window = 10.0  # Datagrams.
        self._threshold = float("inf")
        self._maximum = 0.0
        self._epoch: int | None = None
        self._begin = 0.0
        self._lost_at = -SECOND
        self._rtt_min = 1 << 62
        self._round_end = 0
        self._round: list[int] = []

    @property
    def window_bytes(self) -> int:
        return int(self._window) * DATAGRAM

    def on_ack(self, acked: int, rtt_us: int, one_way_us: int, now: int) -> None:
        count = acked / DATAGRAM
        self._rtt_min = min(self._rtt_min, rtt_us)
        if self._window < self._threshold:
            self._window += count
            self._hystart(rtt_us, now)
            return
        if self._epoch is None:
            self._epoch, self._begin = now, self._window
            self._maximum = max(self._maximum, self._window)
        elapsed = (now + rtt_us - self._epoch) / SECOND
        k = ((self._maximum - self._begin) / self.C) ** (1 / 3)
        target = self.C * (elapsed - k) ** 3 + self._maximum
        reno = self._begin + 0.53 * (now - self._epoch) / rtt_us
        target = max(min(target, 1.5 * self._window), reno)
        if target > self._window:
            self._window += (target - self._window) / self._window * count
        else:
            self._window += count / (100 * self._window)

    def on_loss(self, lost: int, rtt_us: int, now: int) -> None:
        if now - self._lost_at < rtt_us:
            return
        self._lost_at = now
        is_less = self._window < self._maximum
        self._maximum = self._window * (1 + self.BETA) / 2 if is_less else self._window
        self._window = self._threshold = max(2.0, self._window * self.BETA)
        self._epoch = None

    def _hystart(self, rtt_us: int, now: int) -> None:
        if now >= self._round_end:
            self._round_end, self._round = now + rtt_us, []
        self._round.append(rtt_us)
        rise_us = min(16 * MILLISECOND, max(4 * MILLISECOND, self._rtt_min // 8))
        if len(self._round) == 8 and min(self._round) > self._rtt_min + rise_us:
            self._threshold = self._window


class Bottleneck:
    """The link and its flows. Queue and bytes are counted from `forget` on."""

    def __init__(self, flows: Sequence[Flow], path: Path | None = None, seed: int = 1) -> None:
        self.flows = flows
        self.path = path or Path()
        self.now = 0
        self.loss = self.path.loss
        self.foreign_us = 0
        "Delay that something else adds, as the queue of others would."
        self._rng = Random(seed)
        # What is taken fits if what waits before it does: one datagram more than the queue.
        queue_bytes = self.path.rate_bps * self.path.queue_us // (8 * SECOND) + DATAGRAM
        self._line = Line(self.path.rate_bps, queue_bytes)
        self._order = 0
        self._events: list[tuple[int, int, Flow, int, int]] = []
        self._unacked: dict[Flow, int] = dict.fromkeys(flows, 0)
        self._queue_us = 0
        self._sampled = 0
        self._forgot = 0

    def run_until(self, end: int) -> None:
        """Let virtual time pass."""
        while self.now < end:
            for flow in self.flows:
                self._send(flow)
            until = min(end, self.now + MILLISECOND)
            while self._events and self._events[0][0] <= until:
                self.now, _, flow, sent_at, size = heappop(self._events)
                self._take(flow, sent_at, size)
                self._send(flow)
            self.now = until
            self._queue_us += max(0, self._line.free_at - self.now)
            self._sampled += 1

    def forget(self) -> None:
        """Count from now on."""
        self._queue_us = self._sampled = 0
        self._forgot = self.now
        for flow in self.flows:
            flow.delivered = 0

    def share(self, *flows: Flow) -> float:
        """Return the part of the link that these flows, or all, had since `forget`."""
        used = sum(flow.delivered for flow in flows or self.flows)
        return used * 8 * SECOND / (self.now - self._forgot) / self.path.rate_bps

    def mean_queue_us(self) -> float:
        """Return the mean queuing delay since `forget`."""
        return self._queue_us / self._sampled

    def _take(self, flow: Flow, sent_at: int, size: int) -> None:
        rtt_us = self.now - sent_at
        flow.in_flight -= abs(size)
        if size < 0:
            flow.lost -= size
            flow.on_loss(-size, rtt_us, self.now)
        else:
            flow.delivered += size
            self._unacked[flow] += size
        # The last of what is in flight is acknowledged as well, as by a timer.
        waiting = self._unacked[flow]
        if waiting >= self.path.ack_every * DATAGRAM or (waiting and not flow.in_flight):
            acked, self._unacked[flow] = self._unacked[flow], 0
            flow.in_flight += acked  # What the window was before the acknowledgement.
            one_way_us = rtt_us - self.path.base_us // 2
            flow.on_ack(acked, rtt_us, one_way_us, self.now)
            flow.in_flight -= acked

    def _send(self, flow: Flow) -> None:
        waiting = self._unacked[flow]
        while flow.in_flight + waiting + DATAGRAM <= flow.window_bytes and flow.has_data(self.now):
            flow.in_flight += DATAGRAM
            flow.sent += DATAGRAM
            path = self.path
            is_lost = self.loss > 0 and self._rng.random() < self.loss
            left_at = None if is_lost else self._line.offer(DATAGRAM, self.now)
            if left_at is None:
                at, size = max(self._line.free_at, self.now), -DATAGRAM
            else:
                at, size = left_at, DATAGRAM
            noise_us = int(self._rng.random() * path.noise_us) if path.noise_us else 0
            at += path.base_us + self.foreign_us + noise_us
            self._order += 1
            heappush(self._events, (at, self._order, flow, self.now, size))
