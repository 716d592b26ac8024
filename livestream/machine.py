"""The shape of all that decides: bytes and time in; bytes, a deadline and events out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, NamedTuple

from mypy_extensions import mypyc_attr

__all__ = ["MILLISECOND", "SECOND", "Address", "Event", "Machine", "Train", "earliest"]

MILLISECOND: Final = 1_000  # All machine time is in microseconds.
SECOND: Final = 1_000_000


class Address(NamedTuple):
    """Where datagrams go: a literal IPv4 or IPv6 host and a UDP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class Train:
    """Datagrams of one size for (or from) one address, in one buffer.

    Every datagram has `datagram_size` bytes but the last, which may be shorter. A single
    datagram is a train of one.
    """

    address: Address
    data: bytes | bytearray | memoryview
    "Good until the machine that was given it returns."
    datagram_size: int
    dont_fragment: bool = False
    "Routers are to drop it rather than to cut it up: QUIC, and probes of what the path carries."
    waited_us: int = 0
    "How long it has been here before it was read: no part of what the path took."

    def datagrams(self) -> list[bytes]:
        """Cut the train into its datagrams."""
        size = self.datagram_size
        if len(self.data) <= size:
            return [bytes(self.data)]
        return [bytes(self.data[at : at + size]) for at in range(0, len(self.data), size)]


class Event:
    """Something that a machine reports to whoever drives it. Names are past participles."""

    __slots__ = ()


@mypyc_attr(allow_interpreted_subclasses=True)
class Machine(ABC):
    """A state machine without I/O, clock or entropy of its own.

    The caller owns the socket, the clock (`now`, microseconds, never backwards) and the random
    numbers. After the trains of one turn, and after any other call that changes state, it drains
    `trains_to_send`, `next_event` and `get_timer`.
    """

    @abstractmethod
    def receive_train(self, train: Train, now: int) -> None:
        """Take datagrams in. Never raises for what they contain."""

    @abstractmethod
    def trains_to_send(self, now: int) -> list[Train]:
        """Return what must go out now."""

    @abstractmethod
    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called, or None."""

    @abstractmethod
    def handle_timer(self, now: int) -> None:
        """Do what is due at `now`. Calling it early does no harm."""

    @abstractmethod
    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""


def earliest(*timers: int | None) -> int | None:
    """Return the first of several deadlines; None stands for never."""
    first: int | None = None
    for timer in timers:  # Asked after each event: a loop takes a third of what `min` does.
        if timer is not None and (first is None or timer < first):
            first = timer
    return first
