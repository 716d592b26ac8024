"""How one substream reaches this viewer (`Substream`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from livestream.errors import StateError
from livestream.live.estimate import Estimate
from livestream.machine import MILLISECOND, SECOND, Address
from livestream.swarm.peer import Peer

__all__ = ["FeedState", "Substream"]

STARVED_US: Final = SECOND  # Without a feeder for so long: anybody will do.
CUT_US_MAX: Final = 1_500 * MILLISECOND  # So long it is waited for whoever is above the feeder.
SILENCE_US_MAX: Final = CUT_US_MAX + SECOND  # Of a feeder, whatever it says of itself.
SILENT_US: Final = 600 * MILLISECOND  # Nothing for so long, from anybody: perhaps the heads died.


class FeedState(Enum):
    """How a substream reaches us."""

    ORPHAN = "orphan"
    ASKED = "asked"
    FED = "fed"


MOVES: Final = {
    (FeedState.ORPHAN, FeedState.ASKED),
    (FeedState.ASKED, FeedState.FED),
    (FeedState.ASKED, FeedState.ORPHAN),
    (FeedState.FED, FeedState.ORPHAN),
}


@dataclass(slots=True)
class Substream:
    """One substream of ours. `feeder` is set unless it is an orphan."""

    number: int
    state: FeedState = FeedState.ORPHAN
    feeder: Peer | None = None
    since: int = 0
    "When it came to this state."
    orphan_at: int = 0
    "When it was fed last."
    pushed_at: int = 0
    pushed_index: int = -1
    "The newest piece that its feeder pushed, or that somebody else brought before it began."
    cut_at: int | None = None
    "When it turned out that nothing gets to its feeder, or nothing comes from there."
    is_suspect: bool = False
    "It was we who saw that nothing comes: the next piece shows that it was nothing."
    came_at: int = 0
    "When its last piece came, whoever brought it."
    gaps: Estimate = field(default_factory=Estimate)
    "From one of its pieces to the next."
    probes_at: int = 0
    "When its feeder may be asked for a sign of life, again."
    leaves_at: int | None = None
    "Its feeder has given notice: until then it goes on."
    retry_at: int = 0
    seeks_at: int = 0
    "When a stranger may be called for it, again."
    fed_from: int = 0
    "The first piece that its feeder was asked for; what came before has to be asked for."
    path: tuple[bytes, ...] = ()
    lag_us: float = 0.0
    rival: Peer | None = None
    "Asked to feed us in place of the feeder, which goes on until the rival does."
    rival_since: int = 0
    looks: int = 0
    "So many times in a row, a better feeder was seen."
    climbs_at: int = 0
    "When we may ask further up again, room or not."
    above: Address | None = None
    "Who feeds our feeder."
    avoided: dict[Peer, int] = field(default_factory=dict)

    def move(self, to: FeedState, now: int) -> None:
        """Change the state. Raises StateError for a move that is not in the table."""
        if (self.state, to) not in MOVES:
            raise StateError(f"feed: {self.state.value} -> {to.value}")
        self.state = to
        self.since = now

    def free(self, now: int) -> None:
        """Be without a feeder."""
        if self.state is FeedState.FED and self.leaves_at is None:
            self.orphan_at = now
        self.leaves_at = None
        self.feeder = None
        self.path = ()
        self.above = None
        self.retry_at = 0
        self.cut_at, self.is_suspect = None, False
        self.move(FeedState.ORPHAN, now)

    @property
    def is_served(self) -> bool:
        """Whether it is fed, and so is its feeder."""
        return self.state is FeedState.FED and self.cut_at is None

    def missed(self, newest: int, substreams: int) -> int:
        """Return how many of its pieces up to `newest` are newer than what the feeder pushed."""
        last = newest - (newest - self.number) % substreams
        return max(0, (last - self.pushed_index + substreams - 1) // substreams)

    def is_waiting(self, now: int) -> bool:
        """Whether its feeder, which says that it is not fed itself, is given time to be.

        Whoever says now that it is fed, and now that it is not, has no more of it.
        """
        if self.cut_at is None or self.is_suspect:
            return False
        return now - self.cut_at < CUT_US_MAX and now - self.pushed_at < SILENCE_US_MAX

    def is_silent(self, now: int) -> bool:
        """Whether it is fed, and nothing comes."""
        return self.state is FeedState.FED and now - self.pushed_at > SILENT_US

    def is_starved(self, now: int) -> bool:
        """Whether no feeder was found in good time."""
        return self.state is not FeedState.FED and now - self.orphan_at > STARVED_US
