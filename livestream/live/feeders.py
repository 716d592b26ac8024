"""Who feeds this viewer: one feeder a substream, found among the peers that it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final

from livestream.errors import StateError
from livestream.live.neighbours import ANY_HOME, Neighbours
from livestream.machine import MILLISECOND, SECOND
from livestream.swarm.peer import Peer
from livestream.wire.live import (
    LAG_UNKNOWN_MS,
    PATH_MAX,
    Feed,
    LiveMessage,
    Refuse,
    Subscribe,
    Unsubscribe,
)

__all__ = ["FeedState", "Feeders"]

ANSWER_TIMEOUT_US: Final = 500 * MILLISECOND  # Two round trips of a long path, and its queues.
AVOID_REFUSED_US: Final = 2 * SECOND  # Whoever had no room may have some then.
AVOID_FAILED_US: Final = 10 * SECOND
AVOID_SOURCE_US: Final = 500 * MILLISECOND
RETRY_US: Final = 100 * MILLISECOND
OVERDUE_MAX: Final = 2  # So many overdue pieces of one substream, and its feeder has failed...
FEED_PATIENCE_US: Final = 350 * MILLISECOND  # ...unless it pushed something since...
HOP_PATIENCE_US: Final = 50 * MILLISECOND  # ...or somebody above it looks for a feeder itself.
FOREIGN_US: Final = 300 * MILLISECOND  # A feeder outside of its home counts as so much later.
FOREIGN_AFTER_US: Final = 400 * MILLISECOND  # So long an orphan looks for one at home.
STARVED_US: Final = SECOND
LATE_US: Final = 700 * MILLISECOND  # Pieces this old are hardly worth passing on.
SPREAD_US: Final = 100 * MILLISECOND
LOOK_US: Final = 250 * MILLISECOND  # How often it is looked at whether pieces come.
SILENT_US: Final = 600 * MILLISECOND  # Nothing for so long, from anybody: perhaps the heads died.
SILENT_MIN: Final = 2  # Substreams: one may have an unlucky feeder.
BETTER_EVERY: Final = 4  # Looks from one for a better feeder to the next...
BETTER_LOOKS: Final = 5  # ...which must be better so many times in a row...
BETTER_SHARE: Final = 0.8  # ...by so much...
BETTER_US: Final = 50 * MILLISECOND  # ...and by this.
DISTRUST_US: Final = 10 * SECOND
DISTRUST_US_MAX: Final = 300 * SECOND
CROWD: Final = 10  # With so many neighbours, only who is at home there asks the publisher.
CLIMB_US: Final = 10 * SECOND  # How often those who feed many ask further up, room or none.
CLIMB_WEIGHT: Final = 4


class FeedState(Enum):
    """How a substream reaches us."""

    ORPHAN = "orphan"
    ASKED = "asked"
    FED = "fed"


_ORPHAN: Final = FeedState.ORPHAN  # Asked for each message, and an enum's members are slow.
_FED: Final = FeedState.FED
MOVES: Final = {
    (FeedState.ORPHAN, FeedState.ASKED),
    (FeedState.ASKED, FeedState.FED),
    (FeedState.ASKED, FeedState.ORPHAN),
    (FeedState.FED, FeedState.ORPHAN),
}


@dataclass(slots=True)
class _Substream:
    """One substream of ours. `feeder` is set unless it is an orphan."""

    number: int
    state: FeedState = FeedState.ORPHAN
    feeder: Peer | None = None
    since: int = 0
    "When it came to this state."
    orphan_at: int = 0
    "When it was fed last."
    pushed_at: int = 0
    retry_at: int = 0
    path: tuple[bytes, ...] = ()
    lag_us: float = 0.0
    rival: Peer | None = None
    "Asked to feed us in place of the feeder, which goes on until the rival does."
    rival_since: int = 0
    looks: int = 0
    "So many times in a row, a better feeder was seen."
    climbs_at: int = 0
    avoided: dict[Peer, int] = field(default_factory=dict)


class Feeders:
    """Keeps every substream fed: asks the peer with the least lag, leaves those that fail.

    Invariant: no substream is fed along a path that contains this node, so feeding has no loops.
    """

    def __init__(
        self,
        node_id: bytes,
        rng: Random,
        neighbours: Neighbours,
        send: Callable[[Peer, LiveMessage], None],
    ) -> None:
        self.failovers = 0
        self.home = ANY_HOME
        "The substream in which we feed others."
        self.weight = 0
        "How many we may feed there."
        self._node_id = node_id
        self._rng = rng
        self._neighbours = neighbours
        self._send = send
        self._substreams: list[_Substream] = []
        self._timer: int | None = None
        self._looks_at = 0
        self._looks = 0
        self._lies: dict[Peer, tuple[int, int]] = {}
        "Who promised to feed us and did not: how often, and until when it is not believed."

    # Commands

    def start(self, substreams: int, now: int) -> None:
        """Begin an epoch. Feeders are kept: they follow the publisher's restart with us."""
        if len(self._substreams) != substreams:
            self._substreams = [_Substream(number, orphan_at=now) for number in range(substreams)]
        self._timer = now
        self._looks_at = now + LOOK_US

    def note_status(self, peer: Peer, now: int) -> None:
        """A peer told how it is."""
        for substream in self._substreams:
            if substream.state is _ORPHAN:
                self._wake(now)
                return

    def note_pushed(self, index: int, peer: Peer, lag_us: int, now: int) -> None:
        """A piece of a substream came from `peer`, `lag_us` after its capture."""
        substream = self._substreams[index % len(self._substreams)]
        if substream.feeder is peer:
            substream.pushed_at = now
            substream.lag_us += (lag_us - substream.lag_us) / 8

    def on_feed(self, peer: Peer, feed: Feed, now: int) -> bool:
        """A peer feeds us; whether what we tell our own children changes by it."""
        substream = self._get(feed.substream)
        if substream is None or (substream.feeder is not peer and substream.rival is not peer):
            self._send(peer, Unsubscribe(feed.substream))
            return False
        is_loop = self._node_id in feed.path or len(feed.path) >= PATH_MAX
        if substream.feeder is not peer:
            substream.rival = None
            if is_loop:
                self._send(peer, Unsubscribe(feed.substream))
                substream.avoided[peer] = now + AVOID_FAILED_US
                return False
            if substream.state is not FeedState.ORPHAN:
                self._leave(substream, now, avoid_us=0)
            substream.feeder = peer
            self._move(substream, FeedState.ASKED, now)
        if is_loop:
            self._leave(substream, now, avoid_us=AVOID_REFUSED_US)
            return False
        if substream.state is FeedState.ASKED:
            self._move(substream, FeedState.FED, now)
            substream.pushed_at = now
            substream.lag_us = feed.lag_ms * MILLISECOND + peer.connection.rtt_us / 2
            substream.looks = 0
        changed = substream.path != feed.path
        substream.path = feed.path
        return changed

    def on_refuse(self, peer: Peer, refuse: Refuse, now: int) -> None:
        """A peer does not, or no longer, feed us."""
        substream = self._get(refuse.substream)
        if substream is None:
            return
        self._neighbours.note_full(peer)
        if substream.rival is peer:
            substream.rival = None
            self._avoid(substream, peer, now + AVOID_FAILED_US, now)
        elif substream.feeder is peer:
            self._orphan(substream, now, avoid_us=AVOID_REFUSED_US)

    def on_gone(self, peer: Peer, now: int) -> None:
        """A peer left: its substreams need another feeder at once."""
        self._lies.pop(peer, None)
        for substream in self._substreams:
            substream.avoided.pop(peer, None)
            if substream.rival is peer:
                substream.rival = None
            if substream.feeder is peer:
                self._orphan(substream, now, avoid_us=0)

    def on_overdue(self, counts: dict[int, int], now: int) -> None:
        """Leave feeders whose pieces had to be fetched elsewhere."""
        for number, count in counts.items():
            substream = self._substreams[number]
            patience_us = FEED_PATIENCE_US + HOP_PATIENCE_US * len(substream.path)
            is_failing = count >= OVERDUE_MAX and now - substream.pushed_at > patience_us
            if is_failing and substream.state is FeedState.FED and substream.feeder is not None:
                self.failovers += 1
                if substream.pushed_at == substream.since:
                    self._note_liar(substream.feeder, now)
                self._leave(substream, now, avoid_us=AVOID_FAILED_US)

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return self._timer

    def handle_timer(self, peers: Sequence[Peer], from_index: int, now: int) -> None:
        """Ask for what is not fed. `from_index` is the first piece not known to exist."""
        self._timer = None
        # What we are to feed others goes first: then they need not wait for us.
        for substream in sorted(self._substreams, key=lambda each: each.number != self.home):
            if substream.state is FeedState.ASKED:
                if now - substream.since >= ANSWER_TIMEOUT_US:
                    self._orphan(substream, now, avoid_us=AVOID_REFUSED_US)
                else:
                    self._wake(substream.since + ANSWER_TIMEOUT_US)
            if substream.state is FeedState.ORPHAN:
                self._ask(substream, peers, from_index, now)
        if now >= self._looks_at:
            self._looks_at = now + LOOK_US
            self._looks += 1
            for substream in self._substreams:
                if self._is_silent(substream, now):
                    self._ask_source(substream, peers, from_index, now)
                elif self._looks % BETTER_EVERY == 0:
                    self._look_for_better(substream, peers, from_index, now)
        self._wake(self._looks_at)

    # Queries

    def is_fed(self, number: int) -> bool:
        """Whether pieces of this substream are pushed to us."""
        substreams = self._substreams
        return number < len(substreams) and substreams[number].state is _FED

    def feeder(self, number: int) -> Peer | None:
        """Return who feeds a substream."""
        substream = self._get(number)
        return substream.feeder if substream and substream.state is FeedState.FED else None

    def asked(self, peer: Peer, number: int) -> bool:
        """Whether a peer feeds us a substream, or has been asked to."""
        substream = self._get(number)
        return substream is not None and peer in (substream.feeder, substream.rival)

    def feeds_us(self, peer: Peer) -> bool:
        """Whether a peer feeds us anything, or has been asked to."""
        return any(peer is each.feeder or peer is each.rival for each in self._substreams)

    def path(self, number: int) -> tuple[bytes, ...]:
        """Return the ids from the publisher to us, ours included; empty when not fed."""
        substream = self._get(number)
        if substream is None or substream.state is not FeedState.FED:
            return ()
        return (*substream.path, self._node_id)

    def is_silent(self, now: int) -> bool:
        """Whether nothing is pushed to us any more in several substreams that are fed."""
        return sum(self._is_silent(each, now) for each in self._substreams) >= SILENT_MIN

    def starved(self, now: int) -> list[int]:
        """Return the substreams for which no feeder was found in good time."""
        return [
            substream.number
            for substream in self._substreams
            if substream.state is not FeedState.FED and now - substream.orphan_at > STARVED_US
        ]

    def lags_ms(self) -> tuple[int, ...]:
        """Return our lag per substream, as it goes into a status."""
        return tuple(
            min(max(int(substream.lag_us), 0) // MILLISECOND, LAG_UNKNOWN_MS - 1)
            if substream.state is FeedState.FED
            else LAG_UNKNOWN_MS
            for substream in self._substreams
        )

    # Asking

    def _ask(self, substream: _Substream, peers: Sequence[Peer], from_index: int, now: int) -> None:
        if now < substream.retry_at:
            self._wake(substream.retry_at)
            return
        feeder = self._best(substream, peers, now)
        if feeder is None:
            # Spread the retries, so that two nodes that wait for each other do not move in step.
            substream.retry_at = now + RETRY_US + int(RETRY_US * self._rng.random())
            self._wake(substream.retry_at)
            return
        substream.feeder = feeder
        self._move(substream, FeedState.ASKED, now)
        self._send(feeder, Subscribe(substream.number, from_index))
        self._wake(now + ANSWER_TIMEOUT_US)

    def _best(self, substream: _Substream, peers: Sequence[Peer], now: int) -> Peer | None:
        """Return whom an orphan asks: somebody with room, else somebody who may know of room."""
        number = substream.number
        takes_foreign = now - substream.orphan_at >= FOREIGN_AFTER_US
        best: tuple[bool, float] | None = None
        chosen: Peer | None = None
        for peer in peers:
            lag_us = self._expected_lag_us(peer, number)
            if lag_us is None or not self._may_ask(substream, peer, now):
                continue
            has_room = self._neighbours.has_room(peer)
            is_home = self._neighbours.is_home(peer, number)
            is_source = self._neighbours.is_source(peer)
            is_desperate = now - substream.orphan_at > STARVED_US
            if is_source and not (has_room and (is_desperate or self._may_be_head(number))):
                continue
            if not (is_home or (has_room and (takes_foreign or is_source))):
                continue
            # Much chance, so that orphans do not all knock at the same door: one that is fed has
            # time to look for a better feeder.
            is_of_use = has_room and (lag_us < LATE_US or is_desperate)
            rank = not is_of_use, lag_us + SPREAD_US * self._rng.random()
            if best is None or rank < best:
                best, chosen = rank, peer
        return chosen

    def _may_be_head(self, number: int) -> bool:
        """Whether the publisher would have us: all others it would only have to refuse."""
        return number == self.home or len(self._neighbours) < CROWD

    def _is_silent(self, substream: _Substream, now: int) -> bool:
        return substream.state is FeedState.FED and now - substream.pushed_at > SILENT_US

    def _ask_source(
        self, substream: _Substream, peers: Sequence[Peer], from_index: int, now: int
    ) -> None:
        """Be a head ourselves, if the publisher wants one: whoever feeds us may get nothing."""
        if substream.rival is not None and now - substream.rival_since <= ANSWER_TIMEOUT_US:
            return
        for peer in peers:
            is_able = self._neighbours.is_source(peer) and self._neighbours.has_room(peer)
            if is_able and peer is not substream.feeder and self._may_ask(substream, peer, now):
                substream.rival, substream.rival_since = peer, now
                self._send(peer, Subscribe(substream.number, from_index))
                return

    def _look_for_better(
        self, substream: _Substream, peers: Sequence[Peer], from_index: int, now: int
    ) -> None:
        """Ask a rival once it has promised much less lag for some time."""
        if substream.rival is not None and now - substream.rival_since > ANSWER_TIMEOUT_US:
            self._avoid(substream, substream.rival, now + AVOID_FAILED_US, now)
            substream.rival = None
        feeder = substream.feeder
        if substream.state is not FeedState.FED or feeder is None or substream.rival is not None:
            return
        may_climb = (
            self.home == substream.number
            and self.weight >= CLIMB_WEIGHT
            and now >= substream.climbs_at
        )
        rival: Peer | None = None
        least_us = self._bar_us(substream, feeder)
        for peer in peers:
            # What most fail by goes first: here their lag, were the way from them none.
            lag_ms = self._neighbours.lag_ms(peer, substream.number)
            if lag_ms is None or lag_ms * MILLISECOND >= least_us:
                continue
            if not (may_climb or self._neighbours.has_room(peer)):
                continue
            lag_us = self._expected_lag_us(peer, substream.number)
            if lag_us is None or lag_us >= least_us or peer is feeder:
                continue
            if self._neighbours.is_source(peer) and not self._may_be_head(substream.number):
                continue
            if self._may_ask(substream, peer, now):
                least_us, rival = lag_us, peer
        substream.looks = substream.looks + 1 if rival is not None else 0
        is_head = rival is not None and self._neighbours.is_source(rival)
        if rival is None or (substream.looks < BETTER_LOOKS and not is_head):
            return
        substream.looks = 0
        substream.climbs_at = now + CLIMB_US
        substream.rival, substream.rival_since = rival, now
        self._send(rival, Subscribe(substream.number, from_index))

    def _bar_us(self, substream: _Substream, feeder: Peer) -> float:
        """Return the lag that a rival has to promise, or less."""
        lag_us = substream.lag_us
        is_foreign = not self._neighbours.is_home(feeder, substream.number)
        if is_foreign and not self._neighbours.is_source(feeder):
            lag_us += FOREIGN_US
        return min(lag_us * BETTER_SHARE, lag_us - BETTER_US)

    def _expected_lag_us(self, peer: Peer, number: int) -> float | None:
        """Return how old pieces would come from a peer; None: it does not get them itself."""
        lag_ms = self._neighbours.lag_ms(peer, number)
        if lag_ms is None:
            return None
        lag_us = lag_ms * MILLISECOND + peer.connection.rtt_us / 2
        if not (self._neighbours.is_home(peer, number) or self._neighbours.is_source(peer)):
            lag_us += FOREIGN_US
        return lag_us

    # Helpers

    def _note_liar(self, peer: Peer, now: int) -> None:
        """It said that it feeds us, and never did: do not believe it for a while, then longer.

        The publisher may be slow when many ask at once; to whom else should one turn.
        """
        if self._neighbours.is_source(peer):
            return
        times = self._lies.get(peer, (0, 0))[0] + 1
        self._lies[peer] = times, now + min(DISTRUST_US << times, DISTRUST_US_MAX)

    def _may_ask(self, substream: _Substream, peer: Peer, now: int) -> bool:
        distrusted_until = self._lies.get(peer, (0, 0))[1]
        return max(distrusted_until, substream.avoided.get(peer, 0)) <= now

    def _avoid(self, substream: _Substream, peer: Peer, until: int, now: int) -> None:
        """Ask somebody else for a while; the publisher only if it is a short one."""
        if self._neighbours.is_source(peer):
            until = min(until, now + AVOID_SOURCE_US)
        substream.avoided[peer] = until

    def _leave(self, substream: _Substream, now: int, *, avoid_us: int) -> None:
        if substream.feeder is not None:
            self._send(substream.feeder, Unsubscribe(substream.number))
        self._orphan(substream, now, avoid_us=avoid_us)

    def _orphan(self, substream: _Substream, now: int, *, avoid_us: int) -> None:
        if substream.feeder is not None and avoid_us:
            self._avoid(substream, substream.feeder, now + avoid_us, now)
        if substream.state is FeedState.FED:
            substream.orphan_at = now
        substream.feeder = None
        substream.path = ()
        substream.retry_at = 0
        self._move(substream, FeedState.ORPHAN, now)
        self._wake(now)

    def _move(self, substream: _Substream, to: FeedState, now: int) -> None:
        if (substream.state, to) not in MOVES:
            raise StateError(f"feed: {substream.state.value} -> {to.value}")
        substream.state = to
        substream.since = now

    def _get(self, number: int) -> _Substream | None:
        return self._substreams[number] if number < len(self._substreams) else None

    def _wake(self, at: int) -> None:
        self._timer = at if self._timer is None else min(self._timer, at)
