"""What is simulated, as data (`Scenario`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from livestream.config import LiveConfig
from livestream.machine import MILLISECOND, SECOND

__all__ = ["Happening", "Kind", "Scenario"]


LIVE: Final = LiveConfig()


class Kind(Enum):
    """What can befall a swarm."""

    FLASH_CROWD = "flash-crowd"
    "That share of the viewers comes only now, within `for_s`."
    HEADS_DIE = "heads-die"
    "All whom the publisher feeds vanish without a word."
    MASS_LEAVE = "mass-leave"
    "That share leaves, within `for_s`."
    OTHER_TRAFFIC = "other-traffic"
    "That share of the publisher's uplink is somebody else's, for `for_s`."
    RESTART = "restart"
    "The publisher crashes, and is back after `for_s`."
    SPLIT = "split"
    "That share of the viewers is cut off from all others, for `for_s`."


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that befalls the swarm once."""

    kind: Kind
    at_s: float
    share: float = 0.0
    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A channel, its viewers, their lines, and what befalls them. Shares are between 0 and 1."""

    name: str
    summary: str
    viewers: int = 1_000
    seconds: float = 60.0
    "Simulated, from the publisher's start to the end of its source."
    rate_bps: int = 3_000_000
    frames_per_second: int = 30
    gop_s: float = 0.5
    latency_s: float = 1.0
    "How far behind the capture viewers play at first."
    latency_fixed_s: float | None = None
    "How far behind the capture they play at least; None: as near as pieces come in time."
    uplinks: tuple[tuple[float, float], ...] = ((0.2, 0.0), (0.5, 1.0), (0.2, 3.0), (0.1, 6.0))
    "(share of viewers, upload as a multiple of the rate)."
    downlink_x: float | None = 8.0
    "Of the rate; None: never the bottleneck."
    publisher_uplink_x: float = 4.0
    delay_ms_min: float = 5.0
    delay_ms_max: float = 90.0
    jitter_ms: float = 2.0
    loss: float = 0.01
    loss_burst: float = 1.0
    "Datagrams that are lost in a row, on average; of packets only."
    reordered_share: float = 0.0
    "Of datagrams, overtaken by others; of packets only."
    queue_ms: float = 300.0
    "How much waits at most at each line, drop-tail; of packets only."
    join_s: float = 5.0
    "The viewers of the beginning come, evenly, within so long."
    warm_up_s: float = 15.0
    "What happens before counts in no figure; never more than half of the time."
    churn_per_minute: float = 0.05
    "Of the viewers: so many leave, and as many others come."
    crash_share: float = 0.5
    "Of those that leave, without a word."
    free_rider_share: float = 0.0
    "Have an upload, and give none of it."
    polluter_share: float = 0.0
    "Hand out forged pieces."
    liar_share: float = 0.0
    "Claim pieces that they do not have, and give none."
    slow_viewer_share: float = 0.0
    "Have a downlink below the rate."
    skew_s: float = 0.0
    "Clocks are wrong by up to so much, either way."
    substreams: int = 0
    "0: as many as the design has."
    piece_bytes: int = 0
    "Of payload, at most; 0: what a publisher takes for this rate."
    heads_per_substream: int = LIVE.heads_per_substream
    upload_share: float = LIVE.upload_share
    reserve_share: float = LIVE.reserve_share
    repair_share: float = LIVE.repair_share
    "These four as in `LiveConfig`."
    happenings: tuple[Happening, ...] = ()

    @property
    def duration_us(self) -> int:
        """The whole of it, µs."""
        return int(self.seconds * SECOND)

    @property
    def warm_up_us(self) -> int:
        """From the beginning to that of the figures, µs."""
        return int(min(self.warm_up_s, self.seconds / 2) * SECOND)

    @property
    def latency_us(self) -> int:
        """How far behind the capture viewers play at first, µs."""
        fixed_us = self.latency_fixed_us
        return int(self.latency_s * SECOND) if fixed_us is None else fixed_us

    @property
    def latency_fixed_us(self) -> int | None:
        """How far behind the capture they play at least, µs, if that is given."""
        return None if self.latency_fixed_s is None else int(self.latency_fixed_s * SECOND)

    @property
    def delays_us(self) -> tuple[int, int]:
        """The least and the greatest one-way delay, µs."""
        return int(self.delay_ms_min * MILLISECOND), int(self.delay_ms_max * MILLISECOND)
