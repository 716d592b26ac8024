"""What messages go through: uplinks that connections share, and paths between hosts.

Modelled on QUIC with LEDBAT (RFC 9000, RFC 9002, RFC 6817): whoever sends keeps the queue at its
uplink near the target delay, shares it in turns, and repeats what is lost a round trip later.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final
from zlib import crc32

from livestream.config import LIVE_DELAY_TARGET_US
from livestream.machine import MILLISECOND, SECOND

__all__ = ["Access", "Path", "Paths", "Uplink", "datagrams_of", "reception", "wire_size"]

# What a datagram carries of messages: what paths do (`transport/pathsize.py`), minus QUIC's short
# header, frame header and tag. As counted: a piece of 8 KiB in six datagrams costs 329 bytes, one
# of 11 KiB in eight 440, an ordered message alone 58, the acknowledgement of either 57.
DATAGRAM_BYTES: Final = 1_444 - 27
DATAGRAM_OVERHEAD: Final = 28 + 27  # Beside it, with IPv4 and UDP.
ACK_BYTES: Final = 28 + 29  # One acknowledgement in a datagram of its own.
FRAME_BYTES: Final = 8  # What messages cost that go along with something else, in one frame.
PREFIX_BYTES: Final = 4  # Of each ordered message: its length (BEP 3).
ACK_EVERY_US: Final = 25 * MILLISECOND  # What comes meanwhile shares one (`transport/mutual.py`)...
ACK_BYTES_MAX: Final = 8 * 1024  # ...unless it is more than this.
ROUNDS_MAX: Final = 8  # Of repeating one message; 30 % loss leaves one in 15,000 after so many.
QUEUE_US: Final = 300 * MILLISECOND  # What a home's modem lets wait, by common measurements.
DATAGRAMS_TABLED: Final = 64
RECEPTIONS_MAX: Final = 16_384  # Sizes of messages, times kinds of lines, that are remembered.


@dataclass(frozen=True, slots=True)
class Access:
    """How a host is connected to the internet."""

    uplink_bps: int
    downlink_bps: int | None = None
    "None: never the bottleneck."
    queue_us: int = QUEUE_US
    "How long the line's queue is, at its rate; of packets only."


@dataclass(frozen=True, slots=True)
class Path:
    """What happens to datagrams between hosts."""

    delay_us_min: int = 5 * MILLISECOND
    delay_us_max: int = 90 * MILLISECOND
    "One way; each pair of hosts has its own, the same both ways."
    jitter_us: int = 2 * MILLISECOND
    loss: float = 0.0
    "Of datagrams; with messages, independently of each other."
    loss_burst: float = 1.0
    "How many are lost in a row, on average; of packets only."
    reordered: float = 0.0
    "The share of datagrams that others overtake; of packets only."


def datagrams_of(size: int) -> int:
    """Return in how many datagrams so many bytes of messages travel."""
    return -(-size // DATAGRAM_BYTES)


def wire_size(size: int) -> int:
    """Return what so many bytes of messages are on the wire."""
    return size + datagrams_of(size) * DATAGRAM_OVERHEAD


@lru_cache(RECEPTIONS_MAX)
def reception(size: int, uplink_bps: int, downlink_bps: int | None) -> tuple[int, int, int]:
    """Return what becomes of a message of so many wire bytes that comes by these two lines.

    First, how long after its last bit has come to the downlink it is whole: datagrams go on while
    others of the message still leave the sender's uplink, so it is a datagram's time, unless the
    downlink is the slower of the two. Then how long the downlink takes for all of it, and how many
    acknowledgements answer it: fewer the quicker it comes. Times are in µs.
    """
    first = min(size, DATAGRAM_BYTES + DATAGRAM_OVERHEAD)
    took_us = first_us = 0
    if downlink_bps is not None:
        took_us = size * 8 * SECOND // downlink_bps
        first_us = first * 8 * SECOND // downlink_bps
    behind_us = (size - first) * 8 * SECOND // uplink_bps
    spread_us = max(size * 8 * SECOND // uplink_bps, took_us)
    datagrams = -(-size // (DATAGRAM_BYTES + DATAGRAM_OVERHEAD))
    acknowledgements = max(1 + spread_us // ACK_EVERY_US, size // ACK_BYTES_MAX)
    return max(first_us, took_us - behind_us, 0), took_us, min(datagrams, acknowledgements)


class Paths:
    """Delays, loss and partitions between all hosts of a world.

    Invariant: the base delay between two hosts depends on the seed and their numbers only.
    """

    def __init__(self, path: Path, seed: int, rng: Random) -> None:
        self.path = path
        self._seed = seed
        self.is_split = False
        "Whether there may be hosts that do not reach each other."
        self._sides: dict[int, int] = {}
        "Hosts of different sides do not reach each other; who is not named is on side 0."
        self._random = rng.random
        self._jitter_us = path.jitter_us
        self._loss = path.loss
        self._lucky = [(1.0 - path.loss) ** count for count in range(DATAGRAMS_TABLED)]

    def base_delay_us(self, one: int, other: int) -> int:
        """Return the one-way delay between two hosts, without queues and jitter."""
        low, high = (one, other) if one < other else (other, one)
        share = crc32(b"%d %d %d" % (self._seed, low, high)) / 0xFFFFFFFF
        path = self.path
        return path.delay_us_min + int(share * (path.delay_us_max - path.delay_us_min))

    def jitter_us(self) -> int:
        """Return what chance adds to the delay of one message."""
        return int(self._jitter_us * self._random())

    def happens(self, share: float) -> bool:
        """Whether chance has it that something happens which does in so many of all cases."""
        return self._random() < share

    def repeats(self, count: int) -> list[int]:
        """Return how many of `count` datagrams have to be sent again, round by round."""
        loss = self._loss
        if not loss:
            return []
        luck = self._lucky[count] if count < DATAGRAMS_TABLED else (1.0 - loss) ** count
        if self._random() < luck:
            return []
        rounds: list[int] = []
        lost = max(1, sum(self._random() < loss for _ in range(count)))
        while lost and len(rounds) < ROUNDS_MAX:
            rounds.append(lost)
            lost = sum(self._random() < loss for _ in range(lost))
        return rounds

    def split(self, sides: dict[int, int]) -> None:
        """Cut the net: hosts are on the sides given, all others on side 0."""
        self._sides = dict(sides)
        self.is_split = True

    def heal(self) -> None:
        """Join what was cut."""
        self._sides = {}
        self.is_split = False

    def are_joined(self, one: int, other: int) -> bool:
        """Whether datagrams get from one host to the other."""
        sides = self._sides
        return not sides or sides.get(one, 0) == sides.get(other, 0)


class Uplink:
    """What all connections of a host share on their way out.

    Invariant: `free_at` is when all that was given to it has left, at its rate.
    """

    __slots__ = ("bytes_out", "free_at", "rate_bps", "target_us")

    def __init__(self, rate_bps: int) -> None:
        self.rate_bps = rate_bps
        self.target_us = LIVE_DELAY_TARGET_US
        self.free_at = 0
        self.bytes_out = 0

    def has_room(self, now: int) -> bool:
        """Whether a sender that keeps the queue short would send now (RFC 6817)."""
        return self.free_at - now < self.target_us

    def room_at(self) -> int:
        """Return when `has_room` becomes true."""
        return self.free_at - self.target_us + 1

    def take(self, size: int, now: int) -> int:
        """Send so many bytes; returns when the last of them has left."""
        took = size * 8 * SECOND // self.rate_bps
        if self.free_at < now:
            self.free_at = now + took
        else:
            self.free_at += took
        self.bytes_out += size
        return self.free_at
