"""Who feeds this viewer: one feeder a substream, found among the peers that it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from livestream.live.failures import FEED_PATIENCE_US, UNHEARD_US, judge
from livestream.live.neighbours import Neighbours
from livestream.live.rivals import ANSWER_TIMEOUT_US, AVOID_FAILED_US, Rivals
from livestream.live.selection import LATE_US, FeederSelection
from livestream.live.substream import FeedState, Substream
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

AVOID_REFUSED_US: Final = SECOND  # Whoever had no room may have some then.
NOTICE_US_MAX: Final = 5 * SECOND  # Whatever a feeder says.
RETRY_US: Final = 100 * MILLISECOND
SEEK_US: Final = 300 * MILLISECOND  # From one stranger that an orphan calls to the next.
FIRST_AHEAD_MAX: Final = 256  # Pieces: who was cut off for seconds knows of no newer ones.
LOOK_US: Final = 250 * MILLISECOND  # How often it is looked at whether pieces come.
SILENT_MIN: Final = 2  # Substreams: one may have an unlucky feeder.
BETTER_EVERY: Final = 4  # Looks from one for a better feeder to the next.


_ORPHAN: Final = FeedState.ORPHAN  # Asked for each message, and an enum's members are slow.
_FED: Final = FeedState.FED


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
        seek: Callable[[int, int], None],
        *,
        turned: Callable[[int, int], None],
    ) -> None:
        """Take what to look at, and whom to tell.

        `seek(substream, now)` calls a stranger who may have room; `turned(substream, now)` hears
        that the way changed by which it comes, or that nothing comes.
        """
        self.failovers = 0
        self.selection = FeederSelection(neighbours, rng)
        self._rivals = Rivals(neighbours, self.selection, send, seek)
        self._node_id = node_id
        self._rng = rng
        self._neighbours = neighbours
        self._send = send
        self._seek = seek
        self._turned = turned
        self._substreams: list[Substream] = []
        self._timer: int | None = None
        self._looks_at = 0
        self._looks = 0

    # Commands

    def start(self, substreams: int, newest: int, now: int) -> None:
        """Begin an epoch: what comes after `newest` is to be pushed.

        Feeders are kept: they follow the publisher's restart with us.
        """
        if len(self._substreams) != substreams:
            self._substreams = [Substream(number, orphan_at=now) for number in range(substreams)]
        for substream in self._substreams:
            substream.begin(newest, now)
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
        substream.note_piece(now)
        if substream.feeder is peer:
            substream.pushed_at = now
            substream.pushed_index = max(substream.pushed_index, index)
            if substream.is_suspect:
                substream.cut_at, substream.is_suspect = None, False
                self._turned(substream.number, now)
            substream.lag_us += (lag_us - substream.lag_us) / 8

    def on_feed(self, peer: Peer, feed: Feed, now: int) -> None:
        """A peer feeds us, or tells that it is not fed itself at present."""
        substream = self._get(feed.substream)
        if substream is None or (substream.feeder is not peer and substream.rival is not peer):
            self._send(peer, Unsubscribe(feed.substream))
            return
        if feed.lag_ms == LAG_UNKNOWN_MS:
            if substream.feeder is peer and substream.state is _FED:
                self._cut(substream, now, is_suspect=False)
            return
        is_loop = self._node_id in feed.path or len(feed.path) >= PATH_MAX
        if substream.feeder is not peer:
            substream.rival = None
            if is_loop:
                self._send(peer, Unsubscribe(feed.substream))
                substream.avoided[peer] = now + AVOID_FAILED_US
                return
            if substream.feeder is not None:
                self._send(substream.feeder, Unsubscribe(substream.number, feed.first))
                substream.free(now)
            substream.feeder = peer
            substream.move(FeedState.ASKED, now)
        if is_loop:
            self._leave(substream, now, avoid_us=AVOID_REFUSED_US)
            return
        if substream.state is FeedState.ASKED:
            substream.move(FeedState.FED, now)
            substream.pushed_at = now
            # Whoever promised to begin in a distant future would have missed nothing before.
            newest = max(each.pushed_index for each in self._substreams)
            substream.pushed_index = min(feed.first - 1, newest + FIRST_AHEAD_MAX)
            substream.lag_us = feed.lag_ms * MILLISECOND + peer.connection.rtt_us / 2
            substream.looks = 0
        is_turned = substream.path != feed.path or substream.cut_at is not None
        substream.path, substream.above = feed.path, feed.above
        substream.cut_at, substream.is_suspect = None, False
        if is_turned:
            self._turned(substream.number, now)

    def on_refuse(self, peer: Peer, refuse: Refuse, now: int) -> None:
        """A peer does not, or no longer, feed us."""
        substream = self._get(refuse.substream)
        if substream is None:
            return
        self._neighbours.note_full(peer)
        if substream.rival is peer:
            substream.rival = None
            self.selection.avoid(substream, peer, now + AVOID_FAILED_US, now)
            if substream.leaves_at is not None:
                self._wake(now)
        elif substream.feeder is peer and refuse.notice_ms and substream.state is _FED:
            notice_us = min(refuse.notice_ms * MILLISECOND, NOTICE_US_MAX)
            substream.leaves_at, substream.orphan_at = now + notice_us, now
            self.selection.avoid(substream, peer, now + AVOID_FAILED_US, now)
            self._wake(now)
        elif substream.feeder is peer:
            self._orphan(substream, now, avoid_us=AVOID_REFUSED_US)

    def on_gone(self, peer: Peer, now: int) -> None:
        """A peer left: its substreams need another feeder at once."""
        self.selection.drop(peer)
        for substream in self._substreams:
            substream.avoided.pop(peer, None)
            if substream.rival is peer:
                substream.rival = None
            if substream.feeder is peer:
                self._orphan(substream, now, avoid_us=0)

    def look_for_failures(self, overdue: dict[int, int], due: Sequence[int], now: int) -> None:
        """Leave feeders that push nothing of what there is.

        Args:
            overdue: How many pieces of a substream should have come, and are not here.
            due: By substream, the newest piece that should have come, wherever it is now: in slow
                channels each is fetched elsewhere, or given up, before the next is overdue.
            now: Machine time, µs.
        """
        count = len(self._substreams)
        for substream, newest in zip(self._substreams, due, strict=False):
            feeder = substream.feeder
            substream.take_time(now)
            if substream.state is not _FED or feeder is None:
                continue
            if feeder.heard_at < now - UNHEARD_US:
                self._probe(substream, feeder, now)
            if now - substream.pushed_at <= FEED_PATIENCE_US:
                continue
            late, missed = overdue.get(substream.number, 0), substream.missed(newest, count)
            verdict = judge(substream, late, missed, self._neighbours, now)
            if verdict.is_missed and substream.cut_at is None:
                self._cut(substream, now, is_suspect=True)
            if verdict.has_failed:
                self.failovers += 1
                if substream.pushed_at == substream.since and not substream.is_told:
                    self.selection.note_liar(feeder, now)
                self._leave(substream, now, avoid_us=AVOID_FAILED_US)

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return self._timer

    def handle_timer(self, peers: Sequence[Peer], from_index: int, now: int) -> None:
        """Ask for what is not fed. `from_index` is the first piece not known to exist."""
        self._timer = None
        # What we are to feed others goes first: then they need not wait for us.
        for substream in sorted(
            self._substreams, key=lambda each: each.number != self.selection.home
        ):
            if substream.state is FeedState.ASKED:
                if now - substream.since >= ANSWER_TIMEOUT_US:
                    self._orphan(substream, now, avoid_us=AVOID_REFUSED_US)
                else:
                    self._wake(substream.since + ANSWER_TIMEOUT_US)
            if substream.leaves_at is not None:
                self._replace(substream, substream.leaves_at, peers, from_index, now)
            if substream.state is FeedState.ORPHAN:
                self._ask(substream, peers, from_index, now)
        if now >= self._looks_at:
            self._looks_at = now + LOOK_US
            self._looks += 1
            for substream in self._substreams:
                if substream.is_silent(now):
                    self._rivals.ask_source(substream, peers, from_index, now)
                elif self._looks % BETTER_EVERY == 0 or substream.lag_us > LATE_US:
                    self._rivals.look_for_better(substream, peers, from_index, now)
        self._wake(self._looks_at)

    # Queries

    def fed_from(self, number: int) -> int | None:
        """Return the first piece of a substream that is pushed to us; None: it is not fed."""
        substreams = self._substreams
        if number >= len(substreams) or substreams[number].state is not _FED:
            return None
        return substreams[number].fed_from

    def is_pushed(self, index: int) -> bool:
        """Whether somebody feeds us a piece: its substream, from that piece on or before."""
        substreams = self._substreams
        fed_from = self.fed_from(index % len(substreams)) if substreams else None
        return fed_from is not None and index >= fed_from

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
        if substream is None or not substream.is_served:
            return ()
        return (*substream.path, self._node_id)

    def is_silent(self, now: int) -> bool:
        """Whether nothing is pushed to us any more in several substreams that are fed."""
        return sum(each.is_silent(now) for each in self._substreams) >= SILENT_MIN

    def starved(self, now: int) -> list[int]:
        """Return the substreams for which no feeder was found in good time."""
        return [substream.number for substream in self._substreams if substream.is_starved(now)]

    def lags_ms(self) -> tuple[int, ...]:
        """Return our lag per substream, as it goes into a status."""
        return tuple(
            min(max(int(substream.lag_us), 0) // MILLISECOND, LAG_UNKNOWN_MS - 1)
            if substream.is_served
            else LAG_UNKNOWN_MS
            for substream in self._substreams
        )

    # Asking

    def _replace(
        self,
        substream: Substream,
        leaves_at: int,
        peers: Sequence[Peer],
        from_index: int,
        now: int,
    ) -> None:
        """The feeder has given notice: find another, and be an orphan only if there is none."""
        if now >= leaves_at:
            self._orphan(substream, now, avoid_us=0)
            return
        self._wake(leaves_at)
        if substream.rival is not None:
            if now < substream.rival_since + ANSWER_TIMEOUT_US:
                self._wake(substream.rival_since + ANSWER_TIMEOUT_US)
                return
            self.selection.avoid(substream, substream.rival, now + AVOID_REFUSED_US, now)
            substream.rival = None
        rival = self._find(substream, peers, now)
        if rival is not None:
            self._rivals.ask(substream, rival, from_index, now)
            self._wake(now + ANSWER_TIMEOUT_US)

    def _find(self, substream: Substream, peers: Sequence[Peer], now: int) -> Peer | None:
        """Return whom to ask for a substream; also call a stranger, if nobody there is right."""
        if now < substream.retry_at:
            self._wake(substream.retry_at)
            return None
        feeder = self.selection.best(substream, peers, now)
        if now >= substream.seeks_at and not (feeder and self._has_room_at_home(substream, feeder)):
            substream.seeks_at = now + SEEK_US
            self._seek(substream.number, now)
        if feeder is None:
            # Spread the retries, so that two nodes that wait for each other do not move in step.
            substream.retry_at = now + RETRY_US + int(RETRY_US * self._rng.random())
            self._wake(substream.retry_at)
        return feeder

    def _ask(self, substream: Substream, peers: Sequence[Peer], from_index: int, now: int) -> None:
        feeder = self._find(substream, peers, now)
        if feeder is None:
            return
        substream.feeder = feeder
        substream.move(FeedState.ASKED, now)
        substream.fed_from = from_index
        self._send(feeder, Subscribe(substream.number, from_index))
        self._wake(now + ANSWER_TIMEOUT_US)

    def _has_room_at_home(self, substream: Substream, peer: Peer) -> bool:
        is_home = self._neighbours.is_home(peer, substream.number)
        return is_home and self._neighbours.has_room(peer)

    # Whoever is above our feeder

    def _probe(self, substream: Substream, feeder: Peer, now: int) -> None:
        """Have a feeder that was not heard give a sign of life."""
        if now >= substream.probes_at and feeder.connection.unanswered_at is None:
            substream.probes_at = now + UNHEARD_US
            feeder.connection.keep_alive()

    def _cut(self, substream: Substream, now: int, *, is_suspect: bool) -> None:
        """Nothing comes: those whom we feed are to wait for us."""
        if substream.cut(now, is_suspect=is_suspect):
            self._turned(substream.number, now)

    # Helpers

    def _leave(self, substream: Substream, now: int, *, avoid_us: int) -> None:
        if substream.feeder is not None:
            self._send(substream.feeder, Unsubscribe(substream.number))
        self._orphan(substream, now, avoid_us=avoid_us)

    def _orphan(self, substream: Substream, now: int, *, avoid_us: int) -> None:
        if substream.feeder is not None and avoid_us:
            self.selection.avoid(substream, substream.feeder, now + avoid_us, now)
        if substream.above is not None:  # It has lost a child, or takes that one's place.
            self._neighbours.note_room(substream.number, substream.above, now)
        is_cut = substream.state is FeedState.FED and substream.cut_at is None
        substream.free(now)
        if is_cut:
            self._turned(substream.number, now)
        self._wake(now)

    def _get(self, number: int) -> Substream | None:
        return self._substreams[number] if number < len(self._substreams) else None

    def _wake(self, at: int) -> None:
        self._timer = at if self._timer is None else min(self._timer, at)
