"""Our place among the viewers: where we feed, whom we listen to, whom we let go (`Place`)."""

from __future__ import annotations

from random import Random
from typing import Final

from livestream.live.choker import LiveChoker
from livestream.live.feeders import Feeders
from livestream.live.neighbours import Neighbours
from livestream.machine import SECOND
from livestream.swarm.peer import Peer
from livestream.swarm.whole import WholePieceSwarm
from livestream.wire.messages import Interested

__all__ = ["HOME_STAY_US", "PROBATION_US", "Place"]

PROBATION_US: Final = 3 * SECOND // 10  # Who has received for so long may feed others.
FOLLOWED_MAX: Final = 8  # Neighbours whose windows we ask for: each costs some 100 bytes a window.
IDLE_MAX: Final = 8  # Neighbours that are of no use now, but may feed us one day.
STANDBY_MAX: Final = 24  # The publisher keeps some more, to have heads when it needs them.
IDLE_US: Final = 5 * SECOND  # Who came later is still looking around.
IDLE_AT_ONCE: Final = 4
SEEK_SHARE: Final = 0.3  # Of those that nobody feeds, so many call the publisher each second.
MOVE_SHARE: Final = 0.5  # Of those that could, so many take up a substream that nobody feeds.
STRANGERS_MOVE_SHARE: Final = 0.1  # Of those that feed mostly in substreams that are not theirs.
HOME_STAY_US: Final = 10 * SECOND
HOME_LOOK_US: Final = SECOND  # Who feeds nobody looks so often whether it is wanted elsewhere.
HOME_CHANGE: Final = 2  # So many times as many children elsewhere, and that is home.


class Place:
    """Finds out once a second where we are of use.

    A node feeds others in one substream, its home: trees whose inner nodes have many children are
    low, and whoever leaves orphans one substream of others (SplitStream, Castro et al., 2003).
    """

    def __init__(
        self,
        swarm: WholePieceSwarm,
        choker: LiveChoker,
        feeders: Feeders,
        neighbours: Neighbours,
        *,
        rng: Random,
        is_source: bool,
    ) -> None:
        self.first_at: int | None = None
        "When the first piece came."
        self._swarm = swarm
        self._choker = choker
        self._feeders = feeders
        self._neighbours = neighbours
        self._rng = rng
        self._is_source = is_source
        self._home_at = 0
        self._stays_until = 0
        "Until then home stays: those who starve there have to find us."
        self._followed: dict[Peer, None] = {}
        "Who tells us what it holds, as that changes."

    def look(self, substreams: int, now: int) -> None:
        """Look around; once a second."""
        self._choker.note_peers(len(self._swarm.ready))
        has_room = self._neighbours.has_room
        self._choker.recover(now, is_scarce=not any(map(has_room, self._swarm.ready)))
        if not self._is_source:
            self._follow()
            self._find_source(now)
            self._choose_home(substreams, now)
            if self.first_at is not None and now - self.first_at >= PROBATION_US:
                self._choker.open()
            self._feeders.selection.home = self._choker.home
            self._feeders.selection.weight = self._choker.slots
        self._let_idle_go(now)

    def _choose_home(self, substreams: int, now: int) -> None:
        """Feed where there is need of it: where others ask us, else where few feed."""
        choker = self._choker
        if not choker.slots_promised:
            return
        # Without heads nobody is fed in a substream. Whoever has children is of use where it is.
        starved = [] if choker.used_slots else self._unheaded(substreams)
        starved = starved or self._feeders.starved(now)
        is_idle = choker.spare_slots * 2 >= choker.slots_promised
        is_elsewhere = choker.home not in starved
        is_able = is_idle or (is_elsewhere and self._is_for_strangers())
        if choker.home < substreams and starved and is_able:
            # Nobody feeds these, or too few: whoever has room takes one upon itself, in time.
            share = MOVE_SHARE if is_idle else STRANGERS_MOVE_SHARE
            if is_elsewhere and self._rng.random() < share:
                choker.home = self._rng.choice(starved)
                self._stays_until = now if is_idle else now + HOME_STAY_US
            return
        if not choker.used_slots and now >= self._home_at:
            self._home_at = now + HOME_LOOK_US
            choker.home = self._neighbours.neediest(substreams, self._rng)
            return
        if choker.home in starved or now < self._stays_until:
            return  # Or what few are fed in, all would leave for where they find children.
        busiest = choker.busiest()
        at_home = len(choker.children(choker.home))
        if len(choker.children(busiest)) >= HOME_CHANGE * max(1, at_home):
            choker.home = busiest

    def _is_for_strangers(self) -> bool:
        """Whether half of what we may feed is free, or goes to children outside of our home."""
        free = self._choker.spare_slots + len(self._choker.strangers())
        return free * 2 >= self._choker.slots_promised

    def _unheaded(self, substreams: int) -> list[int]:
        """Return the substreams in which the publisher, if we are in touch, wants heads."""
        return [
            number
            for number in range(substreams)
            if any(self._neighbours.wants_head(peer, number) for peer in self._swarm.source_peers)
        ]

    def _find_source(self, now: int) -> None:
        """Call the publisher when nobody feeds us: perhaps nobody is fed."""
        is_cut_off = bool(self._feeders.starved(now)) or self._feeders.is_silent(now)
        if is_cut_off and not self._swarm.source_peers and self._rng.random() < SEEK_SHARE:
            self._swarm.candidates.seek_roots(now)

    def _follow(self) -> None:
        """Ask some neighbours what they hold, as it changes: those whom repairs can come from."""
        self._followed = {peer: None for peer in self._followed if peer in self._swarm.ready}
        others = [
            peer
            for peer in self._swarm.ready
            if peer not in self._followed
            and peer not in self._swarm.source_peers
            and self._neighbours.capacity(peer)  # Who can feed nobody tells none.
        ]
        self._rng.shuffle(others)
        while others and len(self._followed) < FOLLOWED_MAX:
            # Of two the one that would answer sooner: not of all, or all would ask the same few.
            peer = min(others[-2:], key=lambda each: each.connection.rtt_us)
            others.remove(peer)
            self._followed[peer] = None
            peer.send(Interested())

    def _let_idle_go(self, now: int) -> None:
        """End sessions of which neither side has anything: each costs both some uplink."""
        fed = self._choker.substreams_by_child()
        idle = [
            peer
            for peer in self._swarm.ready
            if now - peer.joined_at > IDLE_US
            and not peer.is_interested
            and peer not in self._followed
            and peer not in fed
            and peer not in self._swarm.source_peers
            and not self._feeders.feeds_us(peer)
        ]
        excess = len(idle) - (STANDBY_MAX if self._is_source else IDLE_MAX)
        self._rng.shuffle(idle)
        if self._is_source:  # Who can feed many is to be at hand.
            idle.sort(key=self._neighbours.capacity)
        for peer in idle[: min(max(excess, 0), IDLE_AT_ONCE)]:
            self._swarm.drop(peer, "not needed", now)
