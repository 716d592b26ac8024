"""Who takes whose place among those whom we feed, now or when we fail (`Places`)."""

from __future__ import annotations

from typing import Final, NamedTuple

from livestream.live.choker import LiveChoker
from livestream.live.neighbours import FEW, Neighbours
from livestream.machine import MILLISECOND, SECOND
from livestream.swarm.peer import Peer

__all__ = ["Displaced", "Places"]

TRIAL_US: Final = 2 * SECOND  # Who promised to feed others has this long to find some.
HEARD_US: Final = 1_850 * MILLISECOND  # Everybody says something each second, or a quarter later.
USELESS_US: Final = 60 * SECOND
STAY_US: Final = 2 * SECOND  # Nobody's place is taken sooner: each change leaves a gap.
OUTWEIGHS: Final = 2  # Whoever can feed so many times as many takes the place of another.


class Displaced(NamedTuple):
    """Who has to go for a newcomer."""

    child: Peer
    number: int
    "In which substream."
    is_stranger: bool = False
    "From another substream than the newcomer's, so it is of no use to tell it of that."
    has_notice: bool = True


class Places:
    """Weighs children against those who come, by what both say of themselves.

    Whoever can feed many goes before whoever can feed few, as trees stay low by that, and whoever
    feeds somebody before whoever feeds nobody. Of a publisher, children are heads.

    Invariant: an heir is a child, or was one when it was named last; one a substream.
    """

    def __init__(self, choker: LiveChoker, neighbours: Neighbours, *, is_source: bool) -> None:
        self._choker = choker
        self._neighbours = neighbours
        self._is_source = is_source
        self._substreams = 0
        self._heirs: dict[int, Peer] = {}
        "By substream, a child that takes our place, as a head, if we fail."
        self._useless: dict[Peer, int] = {}
        "Heads that fed nobody, until when they take nobody's place."

    def start(self, substreams: int) -> None:
        """Begin an epoch."""
        self._substreams = substreams

    def drop(self, peer: Peer) -> None:
        """A peer left."""
        self._useless.pop(peer, None)
        self._heirs = {number: heir for number, heir in self._heirs.items() if heir is not peer}

    # Now

    def displaced_by(self, peer: Peer, number: int, now: int, *, is_fed: bool) -> Displaced | None:
        """Return who goes so that there is room for a newcomer, if there is none without.

        `is_fed`: the newcomer says that somebody else feeds it in this substream.
        """
        if self._choker.has_room(peer, number) or self._useless.get(peer, 0) > now:
            return None
        weight = self._neighbours.weight(peer, number)
        if not weight:
            if self._is_source:
                return self._useless_one(peer, number, now, is_fed=is_fed)
            return self._taker(peer, number, now)
        strangers = [] if self._is_source else self._choker.strangers()
        if strangers and number == self._choker.home:
            return Displaced(*strangers[0], is_stranger=True)
        least = self._lightest(peer, number, weight, now)
        if least is None:
            return None
        if self._is_source and self._is_useless(least, number, now):
            self._useless[least] = now + USELESS_US
        return Displaced(least, number)

    def _lightest(self, peer: Peer, number: int, weight: int, now: int) -> Peer | None:
        """Return which child a newcomer outweighs, and most so."""
        least: Peer | None = None
        least_worth = weight
        for child in self._choker.children(number):
            if now - self._choker.fed_since(child, number) < STAY_US:
                continue
            worth = self._worth(child, number, now)
            if child is not peer and worth * OUTWEIGHS < weight and worth < least_worth:
                least, least_worth = child, worth
        return least

    def _useless_one(self, peer: Peer, number: int, now: int, *, is_fed: bool) -> Displaced | None:
        """Anybody with room, if only for strangers, is better than a head that feeds nobody.

        Of few, whom nobody feeds is even better than a head that feeds others elsewhere.
        """
        if not self._neighbours.has_room(peer):
            return None
        is_needed = not is_fed and len(self._neighbours) < FEW
        for child in self._choker.children(number):
            if self._is_useless(child, number, now):
                self._useless[child] = now + USELESS_US
                return Displaced(child, number, has_notice=False)
            has_stayed = now - self._choker.fed_since(child, number) >= STAY_US
            if is_needed and has_stayed and not self._neighbours.weight(child, number):
                return Displaced(child, number)
        return None

    def _taker(self, peer: Peer, number: int, now: int) -> Displaced | None:
        """Whoever feeds others, elsewhere, takes the place of somebody who feeds nobody."""
        merit = self._neighbours.merit(peer, number)
        for child in self._choker.children(number):
            has_stayed = now - self._choker.fed_since(child, number) >= STAY_US
            if has_stayed and self._neighbours.merit(child, number) < merit:
                return Displaced(child, number)
        return None

    def count_replaceable(self, now: int) -> int:
        """Return how many of the publisher's heads give way to anybody who feeds others."""
        return sum(self._replaceable(number, now) for number in range(self._substreams))

    def crowded(self, now: int) -> list[bool]:
        """Return whether the publisher has the heads that it wants, by substream."""
        return [
            not (self._choker.wants_child(number) or self._replaceable(number, now))
            for number in range(self._substreams)
        ]

    # When we fail

    def heir(self, number: int) -> Peer | None:
        """Return who was named last."""
        return self._heirs.get(number)

    def name_heir(self, number: int) -> Peer | None:
        """Name the child that can feed most in a substream of which we are a head.

        The publisher gets in touch with it, and takes it at once if it is of much more use than
        we are; all other children turn to it if we fail. It stays the same as long as nobody
        outweighs it.
        """
        children = [child for child in self._choker.children(number) if child.is_reachable]
        heir = max(children, key=lambda each: self._neighbours.weight(each, number), default=None)
        most = self._neighbours.weight(heir, number) if heir is not None else 0
        named = self._heirs.get(number)
        if named in children and OUTWEIGHS * self._neighbours.weight(named, number) >= most > 0:
            return named
        self._heirs.pop(number, None)
        if heir is not None and most:
            self._heirs[number] = heir
        return self._heirs.get(number)

    # Helpers

    def _replaceable(self, number: int, now: int) -> int:
        heads = self._choker.children(number) if self._is_source else ()
        return sum(not self._worth(child, number, now) for child in heads)

    def _worth(self, child: Peer, number: int, now: int) -> int:
        """How many children it may have in a substream; nothing if it found none in good time."""
        if self._is_useless(child, number, now):
            return 0
        return self._neighbours.weight(child, number)

    def _is_useless(self, child: Peer, number: int, now: int) -> bool:
        """Whether it had time to find children, and has none: it cannot, or nobody trusts it."""
        if now - child.heard_at > HEARD_US:
            return True
        is_tried = now - self._choker.fed_since(child, number) > TRIAL_US
        return is_tried and not self._neighbours.children_of(child)
