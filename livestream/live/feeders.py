"""Who feeds this viewer: one feeder a substream, found among the peers that it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final

from livestream.errors import StateError
from livestream.machine import MILLISECOND, SECOND
from livestream.swarm.peer import Peer
from livestream.wire.live import (
    LAG_UNKNOWN_MS,
    PATH_MAX,
    Feed,
    LiveMessage,
    Refuse,
    Status,
    Subscribe,
    Unsubscribe,
)

__all__ = ["FeedState", "Feeders"]

ANSWER_TIMEOUT_US: Final = SECOND
AVOID_REFUSED_US: Final = 2 * SECOND  # Whoever had no room may have some then.
AVOID_FAILED_US: Final = 10 * SECOND
RETRY_US: Final = 100 * MILLISECOND
OVERDUE_MAX: Final = 3  # So many overdue pieces of one substream, and its feeder has failed.
FEED_PATIENCE_US: Final = 500 * MILLISECOND  # A feeder that pushed something since is kept.


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
class _Substream:
    """One substream of ours. `feeder` is set unless it is an orphan."""

    state: FeedState = FeedState.ORPHAN
    feeder: Peer | None = None
    since: int = 0
    pushed_at: int = 0
    retry_at: int = 0
    path: tuple[bytes, ...] = ()
    lag_us: float = 0.0
    avoided: dict[Peer, int] = field(default_factory=dict)


class Feeders:
    """Keeps every substream fed: asks the peer with the least lag, leaves those that fail.

    Invariant: no substream is fed along a path that contains this node, so feeding has no loops.
    """

    def __init__(
        self, node_id: bytes, rng: Random, send: Callable[[Peer, LiveMessage], None]
    ) -> None:
        self.failovers = 0
        self._node_id = node_id
        self._rng = rng
        self._send = send
        self._substreams: list[_Substream] = []
        self._statuses: dict[Peer, Status] = {}
        self._timer: int | None = None

    # Commands

    def start(self, substreams: int, now: int) -> None:
        """Begin an epoch. Feeders are kept: they follow the publisher's restart with us."""
        if len(self._substreams) != substreams:
            self._substreams = [_Substream() for _ in range(substreams)]
        self._timer = now

    def note_status(self, peer: Peer, status: Status, now: int) -> None:
        """A peer told how it is."""
        self._statuses[peer] = status
        if any(substream.state is FeedState.ORPHAN for substream in self._substreams):
            self._wake(now)

    def note_pushed(self, index: int, peer: Peer, lag_us: int, now: int) -> None:
        """A piece of a substream came from `peer`, `lag_us` after its capture."""
        substream = self._substreams[index % len(self._substreams)]
        if substream.feeder is peer:
            substream.pushed_at = now
            substream.lag_us += (lag_us - substream.lag_us) / 8

    def on_feed(self, peer: Peer, feed: Feed, now: int) -> bool:
        """A peer feeds us; whether what we tell our own children changes by it."""
        substream = self._get(feed.substream)
        if substream is None or substream.feeder is not peer:
            self._send(peer, Unsubscribe(feed.substream))
            return False
        if self._node_id in feed.path or len(feed.path) >= PATH_MAX:
            self._leave(substream, feed.substream, now, avoid_us=AVOID_REFUSED_US)
            return True
        if substream.state is FeedState.ASKED:
            self._move(substream, FeedState.FED, now)
            substream.pushed_at = now
            substream.lag_us = feed.lag_ms * MILLISECOND + peer.connection.rtt_us / 2
        changed = substream.path != feed.path
        substream.path = feed.path
        return changed

    def on_refuse(self, peer: Peer, refuse: Refuse, now: int) -> None:
        """A peer does not, or no longer, feed us."""
        substream = self._get(refuse.substream)
        if substream is not None and substream.feeder is peer:
            self._orphan(substream, now, avoid_us=AVOID_REFUSED_US)

    def on_gone(self, peer: Peer, now: int) -> None:
        """A peer left: its substreams need another feeder at once."""
        self._statuses.pop(peer, None)
        for substream in self._substreams:
            substream.avoided.pop(peer, None)
            if substream.feeder is peer:
                self._orphan(substream, now, avoid_us=0)

    def on_overdue(self, counts: dict[int, int], now: int) -> None:
        """Leave feeders whose pieces had to be fetched elsewhere."""
        for number, count in counts.items():
            substream = self._substreams[number]
            silent_us = now - substream.pushed_at
            is_failing = count >= OVERDUE_MAX and silent_us > FEED_PATIENCE_US
            if is_failing and substream.state is FeedState.FED:
                self.failovers += 1
                self._leave(substream, number, now, avoid_us=AVOID_FAILED_US)

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return self._timer

    def handle_timer(self, peers: Sequence[Peer], from_index: int, now: int) -> None:
        """Ask for what is not fed. `from_index` is the first piece not known to exist."""
        self._timer = None
        for number, substream in enumerate(self._substreams):
            if substream.state is FeedState.ASKED:
                if now - substream.since >= ANSWER_TIMEOUT_US:
                    self._orphan(substream, now, avoid_us=AVOID_REFUSED_US)
                else:
                    self._wake(substream.since + ANSWER_TIMEOUT_US)
            if substream.state is FeedState.ORPHAN:
                self._ask(number, substream, peers, from_index, now)

    # Queries

    def is_fed(self, number: int) -> bool:
        """Whether pieces of this substream are pushed to us."""
        substream = self._get(number)
        return substream is not None and substream.state is FeedState.FED

    def feeder(self, number: int) -> Peer | None:
        """Return who feeds a substream."""
        substream = self._get(number)
        return substream.feeder if substream and substream.state is FeedState.FED else None

    def path(self, number: int) -> tuple[bytes, ...]:
        """Return the ids from the publisher to us, ours included; empty when not fed."""
        substream = self._get(number)
        if substream is None or substream.state is not FeedState.FED:
            return ()
        return (*substream.path, self._node_id)

    def lags_ms(self) -> tuple[int, ...]:
        """Return our lag per substream, as it goes into a status."""
        return tuple(
            min(max(int(substream.lag_us), 0) // MILLISECOND, LAG_UNKNOWN_MS - 1)
            if substream.state is FeedState.FED
            else LAG_UNKNOWN_MS
            for substream in self._substreams
        )

    def children_of(self, peer: Peer) -> int:
        """Return how many children a peer says that it has."""
        status = self._statuses.get(peer)
        return status.children if status is not None else 0

    def best_alternatives(self, number: int, besides: Peer, count: int) -> list[Peer]:
        """Return peers that say that they have room, for one that we cannot feed."""
        able = [
            peer
            for peer, status in self._statuses.items()
            if peer is not besides and status.spare_slots and _lag_ms(status, number) is not None
        ]
        return able[:count]

    # Helpers

    def _ask(
        self,
        number: int,
        substream: _Substream,
        peers: Sequence[Peer],
        from_index: int,
        now: int,
    ) -> None:
        if now < substream.retry_at:
            self._wake(substream.retry_at)
            return
        feeder = self._best(number, substream, peers, now)
        if feeder is None:
            # Spread the retries, so that two nodes that wait for each other do not move in step.
            substream.retry_at = now + RETRY_US + int(RETRY_US * self._rng.random())
            self._wake(substream.retry_at)
            return
        substream.feeder = feeder
        self._move(substream, FeedState.ASKED, now)
        self._send(feeder, Subscribe(number, from_index))
        self._wake(now + ANSWER_TIMEOUT_US)

    def _best(
        self, number: int, substream: _Substream, peers: Sequence[Peer], now: int
    ) -> Peer | None:
        best: tuple[float, Peer] | None = None
        for peer in peers:
            status = self._statuses.get(peer)
            if status is None or substream.avoided.get(peer, 0) > now or not status.spare_slots:
                continue
            lag_ms = _lag_ms(status, number)
            if lag_ms is None:
                continue
            # A little chance, so that newcomers do not all knock at the same door.
            score = lag_ms + peer.connection.rtt_us / 2_000 + 5 * self._rng.random()
            if best is None or score < best[0]:
                best = score, peer
        return None if best is None else best[1]

    def _leave(self, substream: _Substream, number: int, now: int, *, avoid_us: int) -> None:
        if substream.feeder is not None:
            self._send(substream.feeder, Unsubscribe(number))
        self._orphan(substream, now, avoid_us=avoid_us)

    def _orphan(self, substream: _Substream, now: int, *, avoid_us: int) -> None:
        if substream.feeder is not None and avoid_us:
            substream.avoided[substream.feeder] = now + avoid_us
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


def _lag_ms(status: Status, number: int) -> int | None:
    if status.is_source:
        return 0
    if number >= len(status.lags_ms) or status.lags_ms[number] == LAG_UNKNOWN_MS:
        return None
    return status.lags_ms[number]
