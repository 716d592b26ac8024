"""Virtual time: machines joined by links with delay and loss. Nothing here reads a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from livestream.machine import Address, Machine, Train


@dataclass(frozen=True)
class Link:
    """How datagrams travel between any two machines."""

    delay_us: int = 10_000
    jitter_us: int = 0
    loss: float = 0.0


class World:
    """Drives machines in virtual time; every run with the same seed is the same."""

    def __init__(self, seed: int, link: Link) -> None:
        self.now = 1_000_000
        self.link = link
        self.rng = Random(seed)
        self.machines: dict[Address, Machine] = {}
        self._flying: list[tuple[int, int, Address, Train]] = []
        self._order = 0

    def add(self, address: Address, machine: Machine) -> None:
        """Put a machine at an address."""
        self.machines[address] = machine

    def remove(self, address: Address) -> None:
        """Take a machine away, as kill -9 does: what flies to it is lost."""
        del self.machines[address]

    def flush(self) -> None:
        """Let everything that machines want to send depart."""
        for source, machine in list(self.machines.items()):
            for train in machine.trains_to_send(self.now):
                self.depart(source, train)

    def depart(self, source: Address, train: Train) -> None:
        """Let a train go: by this link its datagrams travel one by one."""
        for datagram in train.datagrams():
            if self.link.loss and self.rng.random() < self.link.loss:
                continue
            jitter_us = int(self.link.jitter_us * self.rng.random())
            part = Train(source, datagram, len(datagram))
            self.fly(self.now + self.link.delay_us + jitter_us, train.address, part)

    def fly(self, at: int, to: Address, train: Train) -> None:
        """Let a train arrive at a time; its address is whom it comes from."""
        self._order += 1
        heappush(self._flying, (at, self._order, to, train))

    def run_until(self, end: int, on_step: Callable[[], None] | None = None) -> None:
        """Step from event to event until `end`."""
        self.flush()
        while (at := self._next_at()) is not None and at <= end:
            self.now = max(self.now, at)
            self._deliver()
            for machine in list(self.machines.values()):
                timer = machine.get_timer()
                if timer is not None and timer <= self.now:
                    machine.handle_timer(self.now)
            if on_step is not None:
                on_step()
            self.flush()
        self.now = max(self.now, end)

    def _next_at(self) -> int | None:
        times = [timer for m in self.machines.values() if (timer := m.get_timer()) is not None]
        if self._flying:
            times.append(self._flying[0][0])
        return min(times, default=None)

    def _deliver(self) -> None:
        while self._flying and self._flying[0][0] <= self.now:
            _, _, to, train = heappop(self._flying)
            machine = self.machines.get(to)
            if machine is not None:
                machine.receive_train(train, self.now)
