"""Whom we feed, and what we tell them: subscriptions, pushes, and who has to go (`Children`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from livestream.live.choker import LiveChoker
from livestream.live.feeders import Feeders
from livestream.live.neighbours import Neighbours
from livestream.live.places import Places
from livestream.live.window import LiveWindow
from livestream.machine import MILLISECOND, SECOND, Address
from livestream.swarm.peer import Peer
from livestream.swarm.whole import WholePieceSwarm
from livestream.wire.live import (
    LAG_UNKNOWN_MS,
    Feed,
    Goodbye,
    LiveMessage,
    Refuse,
    Subscribe,
    Unsubscribe,
)

__all__ = ["Children"]

PUSH_LIFETIME_US: Final = 2 * SECOND  # A pushed piece older than this has missed every deadline.
OVERLOAD_INTERVAL_US: Final = 500 * MILLISECOND
CATCH_UP_MAX: Final = 16  # A new child is sent what it needs of the newest; it asks for the rest.
NEXT_REACH: Final = 256  # Pieces: whoever lacks a substream for so long knows nothing of it.
# A hiccup of a child's line is common, and it has all of its feeders at once; of those who feed
# many, all below wait.
UNANSWERED_US: Final = SECOND
HEAD_UNANSWERED_US: Final = 300 * MILLISECOND
WAITING_MAX: Final = 1  # Children that may be slow by themselves, at a time.
GUIDES: Final = 3
NOTICE_US: Final = 1_500 * MILLISECOND  # Time to call somebody, to be refused, and to call again.
HEAD_NOTICE_US: Final = 4 * SECOND  # Its whole tree would wait with it.


class Children:
    """Takes, feeds and lets go children of one channel.

    Invariant: only who is subscribed in the choker is pushed to. A child is kept while we look for
    a feeder ourselves: it gets what we fetch meanwhile.
    """

    def __init__(
        self,
        swarm: WholePieceSwarm,
        choker: LiveChoker,
        feeders: Feeders,
        neighbours: Neighbours,
        *,
        window: LiveWindow,
        send: Callable[[Peer, LiveMessage], None],
        is_source: bool,
    ) -> None:
        self._swarm = swarm
        self._choker = choker
        self._feeders = feeders
        self._neighbours = neighbours
        self._window = window
        self._send = send
        self._is_source = is_source
        self._substreams = 0
        self._rate_bps = 0
        self._overload_at = 0
        self._overloads = 0
        "How many go next, if our uplink is overloaded yet."
        self.places = Places(choker, neighbours, is_source=is_source)

    def start(self, substreams: int, rate_bps: int) -> None:
        """Begin an epoch."""
        self._substreams = substreams
        self._rate_bps = rate_bps
        self.places.start(substreams)

    # What children ask for

    def on_subscribe(self, peer: Peer, message: Subscribe, now: int) -> None:
        """Feed a peer, or tell it who may."""
        number = message.substream
        path = self.path(number)
        is_able = bool(path) and peer.node_id not in path and not self._is_gone(peer, now)
        if is_able:
            self._make_room(peer, number, now, is_fed=message.is_fed)
        first = message.from_index
        if message.is_fed and is_able:
            first = max(first, self._next_index(number))
        if is_able and self._choker.subscribe(peer, number, first, now):
            self._send(peer, self._feed(peer, number, path))
            self.reserve(peer)
            self._push_since(peer, number, first, now)
        else:
            self._send(peer, Refuse(number, self._guides(peer, number)))

    def on_unsubscribe(self, peer: Peer, message: Unsubscribe, now: int) -> None:
        """Stop feeding a peer, once it has got what whoever feeds it now does not bring."""
        number = message.substream
        if number < self._substreams and message.end > self._next_index(number):
            self._choker.give_notice(peer, number, now + NOTICE_US, message.end)
        else:
            self._choker.unsubscribe(peer, number)
        self._withdraw(peer, number, message.end)

    def on_gone(self, peer: Peer) -> None:
        """A peer left."""
        self._choker.drop(peer)
        self.places.drop(peer)

    # What we do

    def push(self, index: int, besides: Peer | None, now: int) -> None:
        """Pass a piece on: first to whom most others wait for."""
        number = index % self._substreams
        self._choker.expire(now)
        children = self._choker.children_of_index(index)
        children.sort(key=lambda child: self._neighbours.merit(child, number), reverse=True)
        until = now + PUSH_LIFETIME_US
        late = [
            child
            for child in children
            if child is not besides and not self._swarm.push(child, index, until, now)
        ]
        for child in late:
            if child in self._choker.children_of_index(index):
                self._on_overload(child, number, now)

    def tell_path(self, number: int) -> None:
        """Tell our children the way that pieces come now, or that none come at present.

        Who is on it itself must go.
        """
        path = self.path(number)
        for child in self._choker.children(number):
            if not path:
                first = self._choker.fed_from(child, number)
                me = self._swarm.node_id
                self._send(child, Feed(number, LAG_UNKNOWN_MS, (me,), None, first))
            elif child.node_id in path:
                self._let_go(child, number)
            else:
                self._send(child, self._feed(child, number, path))

    def let_unresponsive_go(self, now: int) -> bool:
        """Feed those no more who acknowledge nothing any more; whether there were any."""
        children = self._choker.substreams_by_child()
        gone = [child for child in children if self._is_gone(child, now)]
        for child in gone:
            for number in range(self._substreams):
                if self._choker.is_child(child, number):
                    self._let_go(child, number)
        return bool(gone)

    def say_goodbye(self) -> None:
        """Tell those whom we feed that we leave, and who may feed them."""
        for number in range(self._substreams):
            feeder = self._feeders.feeder(number)
            sponsor = feeder.address if feeder is not None and feeder.is_reachable else None
            for child in self._choker.children(number):
                self._send(child, Goodbye(sponsor))

    def reserve(self, peer: Peer) -> None:
        """Let a connection carry what is promised to its peer."""
        if self._substreams:
            fed = self._choker.substreams_of(peer)
            peer.connection.reserve(self._rate_bps * fed // self._substreams)

    def reserve_all(self) -> None:
        """Let each connection carry what is promised to its peer, and no more."""
        if self._substreams:
            fed = self._choker.substreams_by_child()
            for peer in self._swarm.ready:
                share = fed.get(peer, 0)
                peer.connection.reserve(self._rate_bps * share // self._substreams)

    # Queries

    def path(self, number: int) -> tuple[bytes, ...]:
        """Return the ids from the publisher to us; empty when we cannot feed this substream."""
        if number >= self._substreams:
            return ()
        return (self._swarm.node_id,) if self._is_source else self._feeders.path(number)

    def name_heirs(self, publisher: Peer) -> list[tuple[int, Peer]]:
        """Name an heir for each place that we have as a head, and tell the other children."""
        heirs = []
        for number in range(self._substreams):
            if self._feeders.feeder(number) is publisher:
                named, heir = self.places.heir(number), self.places.name_heir(number)
                if heir is not named:
                    self.tell_path(number)
                if heir is not None:
                    heirs.append((number, heir))
        return heirs

    # Helpers

    def _is_gone(self, peer: Peer, now: int) -> bool:
        """Whether it acknowledged nothing for long when others were heard last."""
        patience_us = HEAD_UNANSWERED_US if self._is_source else UNANSWERED_US
        if not peer.is_unresponsive(now, patience_us):
            return False  # Nearly always; the rest looks at all neighbours.
        return peer.is_unresponsive(self._neighbours.heard_at(peer), patience_us)

    def _next_index(self, number: int) -> int:
        """Return the first piece of a substream that we have not had yet, nor any after it."""
        window = self._window
        for index in range(window.newest, max(window.first, window.newest - NEXT_REACH) - 1, -1):
            if index % self._substreams == number and window.holds(index):
                return index + 1
        return window.first

    def _feed(self, child: Peer, number: int, path: tuple[bytes, ...]) -> Feed:
        """Return what a child is told; where the publisher is, heads keep to themselves."""
        feeder = self._feeders.feeder(number)
        if feeder is not None and self._neighbours.is_source(feeder):
            heir = self.places.heir(number)
            feeder = heir if heir is not child else None
        above: Address | None = None
        if feeder is not None and feeder.is_reachable:
            above = feeder.address
        first = self._choker.fed_from(child, number)
        return Feed(number, self._lag_ms(number), path, above, first)

    def _lag_ms(self, number: int) -> int:
        return 0 if self._is_source else self._feeders.lags_ms()[number]

    def _make_room(self, peer: Peer, number: int, now: int, *, is_fed: bool) -> None:
        """Let somebody go who has less of a claim to the place."""
        gone = self.places.displaced_by(peer, number, now, is_fed=is_fed)
        if gone is None:
            return
        if gone.is_stranger:
            self._let_go(gone.child, gone.number, now, besides=peer)
        else:
            self._let_go(gone.child, gone.number, now if gone.has_notice else None, first=peer)

    def _push_since(self, peer: Peer, number: int, from_index: int, now: int) -> None:
        """Send what arrived while the subscription travelled."""
        start = max(from_index, self._window.newest - CATCH_UP_MAX, self._window.first)
        for index in range(start, self._window.newest + 1):
            if index % self._substreams == number and self._window.holds(index):
                self._swarm.push(peer, index, now + PUSH_LIFETIME_US, now)

    def _on_overload(self, child: Peer, number: int, now: int) -> None:
        """A push has waited for too long: somebody must find another feeder.

        If only this child is slow, or gone, it is the one. If many wait, it is our uplink: whoever
        feeds fewest goes, as the others may do with what that frees; if they do not, two, then
        four: a line that is down to a tenth carries hardly anybody. The publisher goes slowly, for
        without heads there is no channel.
        """
        if self._swarm.uploads.count_waiting(now) <= WAITING_MAX:
            self._let_go(child, number)
            return
        if now < self._overload_at:
            return
        is_again = now - self._overload_at < OVERLOAD_INTERVAL_US and not self._is_source
        self._overloads = 2 * self._overloads if is_again else 1
        self._overload_at = now + OVERLOAD_INTERVAL_US
        fed = [
            (self._neighbours.merit(each, home), home, each)
            for home in range(self._substreams)
            for each in self._choker.children(home)
        ]
        fed.sort(key=lambda each: each[:2])
        for _, home, least in fed[: self._overloads]:
            self._choker.note_overload(now)
            self._let_go(least, home)

    def _let_go(
        self,
        child: Peer,
        number: int,
        now: int | None = None,
        *,
        first: Peer | None = None,
        besides: Peer | None = None,
    ) -> None:
        """Stop feeding a child: at once, or if told the time, once it has found another feeder."""
        # Not for any number of heads that take each other's place: each is fed all the while.
        is_head = self._is_source and self._choker.count_noticed() < self._substreams
        notice_us = HEAD_NOTICE_US if is_head else NOTICE_US
        if now is None:
            self._choker.unsubscribe(child, number)
            self._withdraw(child, number)
        else:
            self._choker.give_notice(child, number, now + notice_us)
        notice_ms = 0 if now is None else notice_us // MILLISECOND
        guides = self._guides(child, number, first, besides)
        self._send(child, Refuse(number, guides, notice_ms))

    def _withdraw(self, child: Peer, number: int, end: int = 0) -> None:
        """Send it nothing more of a substream from a piece on, not even what is queued."""
        self._swarm.uploads.withdraw(
            child, lambda index: index >= end and index % self._substreams == number
        )

    def _guides(
        self, peer: Peer, number: int, first: Peer | None = None, besides: Peer | None = None
    ) -> tuple[Address, ...]:
        """Return who may feed a peer in our place: the newcomer, our children, or others."""
        among = self._choker.children(number)
        found = self._neighbours.guides(number, among, peer, GUIDES)
        if len(found) < GUIDES:
            others = [each for each in self._swarm.ready if each not in among]
            found += self._neighbours.guides(number, others, peer, GUIDES - len(found))
        if first is not None and first.is_reachable:
            found = [first, *[each for each in found if each is not first]]
        return tuple(each.address for each in found if each is not besides)[:GUIDES]
