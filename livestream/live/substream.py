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
HEARS_AGAIN_US: Final = 500 * MILLISECOND
WAIT_AGAIN_US: Final = 10 * SECOND
GAP_US_MAX: Final = 2 * SECOND  # Whatever a pause of the publisher's took.
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
    hears_at: int = 0
    "When its feeder may say again that it is not fed: all below us are told, too."
    waits_at: int = 0
    "When its feeder may be given time again..."
    waits_until: int = 0
    "...and how long it was given it last."
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
        # One that brought nothing was none: its promise would hide that the substream starves.
        has_fed = self.state is FeedState.FED and self.pushed_at > self.since
        if has_fed and self.leaves_at is None:
            self.orphan_at = now
        self.leaves_at = None
        self.feeder = None
        self.path = ()
        self.above = None
        self.retry_at = 0
        self.cut_at, self.is_suspect = None, False
        self.hears_at = self.waits_at = self.waits_until = 0
        self.move(FeedState.ORPHAN, now)

    @property
    def is_served(self) -> bool:
        """Whether it is fed, and so is its feeder."""
        return self.state is FeedState.FED and self.cut_at is None

    def missed(self, newest: int, substreams: int) -> int:
        """Return how many of its pieces up to `newest` are newer than what the feeder pushed."""
        last = newest - (newest - self.number) % substreams
        return max(0, (last - self.pushed_index + substreams - 1) // substreams)

    def begin(self, newest: int, now: int) -> None:
        """Begin an epoch after piece `newest`: its feeder has all the time again."""
        self.pushed_index, self.pushed_at, self.came_at = newest, now, 0
        self.waits_at = self.hears_at = now
        if self.cut_at is not None:
            self.cut(now, is_suspect=False)

    def note_piece(self, now: int) -> None:
        """A piece of it came, whoever brought it."""
        if self.came_at:
            self.gaps.add(min(now - self.came_at, GAP_US_MAX))
        self.came_at = now

    def cut(self, now: int, *, is_suspect: bool) -> bool:
        """Nothing gets to its feeder, by what that says, or by what we see. Whether it is news.

        The feeder is given time for it now and then, whatever it says how often.
        """
        if not is_suspect:
            if now < self.hears_at:
                return False
            self.hears_at = now + HEARS_AGAIN_US
            if now >= self.waits_at:
                self.waits_at, self.waits_until = now + WAIT_AGAIN_US, now + CUT_US_MAX
        self.is_suspect = is_suspect
        if self.cut_at is not None:
            return False
        self.cut_at = now
        return True

    def take_time(self, now: int) -> None:
        """Whoever pushes all the same is a feeder, whatever it said of itself."""
        is_old = self.cut_at is not None and now - self.cut_at > CUT_US_MAX
        if is_old:
            self.is_suspect = True

    @property
    def is_told(self) -> bool:
        """Whether its feeder says that it is not fed itself."""
        return self.cut_at is not None and not self.is_suspect

    def is_waiting(self, now: int) -> bool:
        """Whether its feeder, which says that it is not fed itself, is given time to be."""
        return self.is_told and now < self.waits_until

    def is_silent(self, now: int) -> bool:
        """Whether it is fed, and nothing comes."""
        return self.state is FeedState.FED and now - self.pushed_at > SILENT_US

    def is_starved(self, now: int) -> bool:
        """Whether no feeder was found in good time."""
        return self.state is not FeedState.FED and now - self.orphan_at > STARVED_US
