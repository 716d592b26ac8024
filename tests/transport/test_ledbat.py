"""LEDBAT on a bottleneck in virtual time: fills the link, keeps its queue short, gives way."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from livestream.machine import MILLISECOND, SECOND
from livestream.transport.ledbat import Ledbat

DATAGRAM = 1_400
TARGET_US = 25 * MILLISECOND
BASE_US = 50 * MILLISECOND
LINK_BPS = 20_000_000


@dataclass(eq=False)
class Flow:
    """One sender that always has something to send."""

    start: int = 0
    ledbat: Ledbat = field(default_factory=lambda: Ledbat(DATAGRAM, TARGET_US))
    in_flight: int = 0
    delivered: int = 0
    delivered_lately: int = 0


class Bottleneck:
    """A link with a drop-tail queue, shared by flows; `foreign_us` is queue that others cause."""

    def __init__(self, flows: list[Flow], *, loss: float = 0.0, seed: int = 1) -> None:
        self.flows = flows
        self.foreign_us = 0
        self.queue_us_sum = 0
        self.samples = 0
        self.now = 0
        self.loss = loss
        self._rng = Random(seed)
        self._free_at = 0
        self._acks: list[tuple[int, int, Flow, int]] = []
        self._order = 0

    def run_until(self, end: int) -> None:
        for flow in self.flows:
            if flow.start <= self.now:
                self._send(flow)
        while self._acks and self._acks[0][0] <= end:
            self.now, _, flow, sent_at = heappop(self._acks)
            flow.in_flight -= DATAGRAM
            if self._rng.random() < self.loss:
                flow.ledbat.on_loss(self.now, BASE_US)
            else:
                flow.ledbat.on_delay(self.now - sent_at, self.now)
                flow.ledbat.on_ack(DATAGRAM, is_window_used=True, now=self.now)
                flow.delivered += DATAGRAM
                flow.delivered_lately += DATAGRAM
            for each in self.flows:
                if each.start <= self.now:
                    self._send(each)
        self.now = end

    def share(self, seconds: float) -> float:
        """Return the part of the link used since `forget`."""
        used = sum(flow.delivered_lately for flow in self.flows)
        return used * 8 / seconds / LINK_BPS

    def mean_queue_us(self) -> float:
        return self.queue_us_sum / self.samples

    def forget(self) -> None:
        self.queue_us_sum = self.samples = 0
        for flow in self.flows:
            flow.delivered_lately = 0

    def _send(self, flow: Flow) -> None:
        while flow.in_flight + DATAGRAM <= flow.ledbat.window_bytes:
            queue_us = max(0, self._free_at - self.now)
            self.queue_us_sum += queue_us
            self.samples += 1
            self._free_at = max(self.now, self._free_at) + DATAGRAM * 8 * SECOND // LINK_BPS
            self._order += 1
            at = self._free_at + BASE_US + self.foreign_us
            heappush(self._acks, (at, self._order, flow, self.now))
            flow.in_flight += DATAGRAM


def test_alone_it_fills_the_link_with_a_queue_near_its_target() -> None:
    link = Bottleneck([Flow()])
    link.run_until(10 * SECOND)
    link.forget()
    link.run_until(70 * SECOND)
    assert link.share(60) > 0.97
    assert link.mean_queue_us() < TARGET_US + 10 * MILLISECOND


def test_it_gives_way_to_a_queue_that_others_cause_and_comes_back() -> None:
    link = Bottleneck([Flow()])
    link.run_until(10 * SECOND)
    link.foreign_us = 100 * MILLISECOND
    link.run_until(15 * SECOND)
    link.forget()
    link.run_until(20 * SECOND)
    assert link.share(5) < 0.1
    link.foreign_us = 0
    link.run_until(30 * SECOND)
    link.forget()
    link.run_until(35 * SECOND)
    assert link.share(5) > 0.9


def test_a_latecomer_gets_its_share() -> None:
    first, second = Flow(), Flow(start=30 * SECOND)
    link = Bottleneck([first, second])
    for end in range(1, 91):
        link.run_until(end * SECOND)
    link.forget()
    for end in range(91, 121):
        link.run_until(end * SECOND)
    a, b = first.delivered_lately, second.delivered_lately
    assert (a + b) ** 2 / (2 * (a * a + b * b)) > 0.97, "Jain's index"


def test_random_loss_does_not_starve_it() -> None:
    link = Bottleneck([Flow()], loss=0.001)
    link.run_until(10 * SECOND)
    link.forget()
    link.run_until(30 * SECOND)
    assert link.share(20) > 0.35, "as Reno would: it halves at every loss"


def test_it_recovers_from_a_burst_of_losses() -> None:
    link = Bottleneck([Flow()])
    link.run_until(10 * SECOND)
    link.loss = 1.0
    link.run_until(10 * SECOND + 500 * MILLISECOND)
    link.loss = 0.0
    link.run_until(20 * SECOND)
    link.forget()
    link.run_until(25 * SECOND)
    assert link.share(5) > 0.9


def test_a_shorter_route_is_noticed_at_once_and_a_longer_one_within_the_history() -> None:
    """Until then the longer one looks like a queue of others, to which it must give way."""
    link = Bottleneck([Flow()])
    link.foreign_us = 100 * MILLISECOND
    link.run_until(10 * SECOND)
    link.foreign_us = 0
    link.run_until(20 * SECOND)
    link.forget()
    link.run_until(25 * SECOND)
    assert link.share(5) > 0.9
    assert link.mean_queue_us() < TARGET_US + 10 * MILLISECOND
    link.foreign_us = 100 * MILLISECOND
    link.run_until(60 * SECOND)
    link.forget()
    link.run_until(65 * SECOND)
    assert link.share(5) < 0.1
    link.run_until(12 * 60 * SECOND)
    link.forget()
    link.run_until(12 * 60 * SECOND + 5 * SECOND)
    assert link.share(5) > 0.9


def test_a_pause_of_the_application_does_not_put_off_the_next_slowdown_for_hours() -> None:
    ledbat = Ledbat(DATAGRAM, TARGET_US)
    now = 0

    def drive(end: int, queue_us: int, *, is_used: bool) -> bool:
        """Whether the window fell to its floor before `end`."""
        nonlocal now
        while now < end:
            now += 10 * MILLISECOND
            ledbat.on_delay(BASE_US + queue_us, now)
            before = ledbat.window_bytes
            for _ in range(10):
                ledbat.on_ack(DATAGRAM, is_window_used=is_used, now=now)
            if ledbat.window_bytes < before / 2:
                return True
        return False

    drive(SECOND, 0, is_used=True)
    assert drive(60 * SECOND, 20 * MILLISECOND, is_used=True), "the first slowdown"
    drive(now + 300 * SECOND, 0, is_used=False)
    assert drive(now + 200 * SECOND, 5 * MILLISECOND, is_used=True), "the next"


def test_a_constant_offset_of_clocks_changes_nothing() -> None:
    plain, skewed = Ledbat(DATAGRAM, TARGET_US), Ledbat(DATAGRAM, TARGET_US)
    for step in range(2_000):
        now = step * 10 * MILLISECOND
        delay = BASE_US + (step * 7919) % (40 * MILLISECOND)
        for ledbat, offset in ((plain, 0), (skewed, 123_456_789)):
            ledbat.on_delay(delay + offset, now, 2 * BASE_US)
            ledbat.on_ack(DATAGRAM, is_window_used=True, now=now)
        assert plain.queuing_delay_us == skewed.queuing_delay_us
        assert plain.window_bytes == skewed.window_bytes


def test_what_was_promised_is_its_floor() -> None:
    ledbat = Ledbat(DATAGRAM, TARGET_US)
    ledbat.set_floor_bytes(20_000)
    ledbat.on_timeout()
    ledbat.on_loss(0, BASE_US)
    assert ledbat.window_bytes == 20_000
    ledbat.set_floor_bytes(0)
    ledbat.on_timeout()
    assert ledbat.window_bytes == 2 * DATAGRAM


def test_a_window_that_is_not_used_does_not_grow() -> None:
    ledbat = Ledbat(DATAGRAM, TARGET_US)
    before = ledbat.window_bytes
    for step in range(100):
        ledbat.on_delay(BASE_US, step)
        ledbat.on_ack(DATAGRAM, is_window_used=False, now=step)
    assert ledbat.window_bytes == before
