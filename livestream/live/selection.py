"""Which peer is asked to feed a substream, and which had better be (`FeederSelection`)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from livestream.live.failures import QUIET_US
from livestream.live.neighbours import ANY_HOME, FEW, Neighbours
from livestream.live.substream import Substream
from livestream.machine import MILLISECOND, SECOND
from livestream.swarm.peer import Peer

__all__ = ["LATE_US", "FeederSelection"]

AVOID_SOURCE_US: Final = 500 * MILLISECOND
FOREIGN_US: Final = 300 * MILLISECOND  # A feeder outside of its home counts as so much later.
FOREIGN_AFTER_US: Final = 400 * MILLISECOND  # So long an orphan looks for one at home.
LATE_US: Final = 700 * MILLISECOND  # Pieces this old are hardly worth passing on.
SPREAD_US: Final = 100 * MILLISECOND
BETTER_SHARE: Final = 0.8  # ...by so much...
BETTER_US: Final = 50 * MILLISECOND  # ...and by this.
DISTRUST_US: Final = 10 * SECOND
DISTRUST_US_MAX: Final = 300 * SECOND
HOME_FIRST_US: Final = 1_200 * MILLISECOND
CROWD: Final = 10  # With so many neighbours, only who is at home there asks the publisher.
CLIMB_WEIGHT: Final = 4
HIGHER_US: Final = 20 * MILLISECOND


class FeederSelection:
    """Ranks peers by the lag that they promise, their room, their home, and their past.

    Invariant: somebody who is avoided or not believed is not chosen before its time is over.
    """

    def __init__(self, neighbours: Neighbours, rng: Random) -> None:
        self.home = ANY_HOME
        "The substream in which we feed others."
        self.weight = 0
        "How many we may feed there."
        self._neighbours = neighbours
        self._rng = rng
        self._lies: dict[Peer, tuple[int, int]] = {}
        "Who promised to feed us and did not: how often, and until when it is not believed."

    # Whom to ask

    def best(self, substream: Substream, peers: Sequence[Peer], now: int) -> Peer | None:
        """Return whom an orphan asks: somebody with room, else somebody who may know of room."""
        number = substream.number
        takes_foreign = now - substream.orphan_at >= FOREIGN_AFTER_US
        # Compared with the others: when nobody is heard, it is our own line.
        heard_at = max((peer.heard_at for peer in peers), default=0) - QUIET_US
        best: tuple[bool, float] | None = None
        chosen: Peer | None = None
        for peer in peers:
            lag_us = self._expected_lag_us(peer, number)
            if lag_us is None or not self.may_ask(substream, peer, now):
                continue
            if peer.heard_at < heard_at:
                continue
            has_room = self._neighbours.has_room(peer)
            is_home = self._neighbours.is_home(peer, number)
            is_source = self._neighbours.is_source(peer)
            is_desperate = substream.is_starved(now)
            if is_source and not (
                self._neighbours.wants_head(peer, number)
                and (is_desperate or self._may_be_head(substream, peers, now))
            ):
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

    def better(self, substream: Substream, peers: Sequence[Peer], now: int) -> Peer | None:
        """Return who promises much less lag than the feeder, if anybody.

        Who feeds many may ask those further up who have no room: it takes somebody's place.
        """
        feeder = substream.feeder
        if feeder is None:
            return None
        may_climb = self.may_climb(substream, now)
        found: Peer | None = None
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
            is_source = self._neighbours.is_source(peer)
            if is_source and not self._may_be_head(substream, peers, now):
                continue
            if self.may_ask(substream, peer, now):
                least_us, found = lag_us, peer
        return found

    def may_climb(self, substream: Substream, now: int) -> bool:
        """Whether we feed so many that we may take the place of somebody further up."""
        is_home = self.home == substream.number
        return is_home and self.weight >= CLIMB_WEIGHT and now >= substream.climbs_at

    def is_higher(self, substream: Substream, peer: Peer, now: int) -> bool:
        """Whether pieces would be with us sooner if this peer fed us."""
        lag_us = self._expected_lag_us(peer, substream.number)
        is_sooner = lag_us is not None and lag_us < _lag_us(substream) - HIGHER_US
        return is_sooner and self.may_ask(substream, peer, now)

    def publisher(self, substream: Substream, peers: Sequence[Peer], now: int) -> Peer | None:
        """Return the publisher, if it wants a head and does not feed us yet.

        At first those at home there, if any, are to be heads: many others wait below them.
        """
        is_early = now - substream.pushed_at < HOME_FIRST_US
        is_left = is_early and not self._may_be_head(substream, peers, now)
        if is_left and self._others_at_home(substream, peers):
            return None
        for peer in peers:
            is_able = self._neighbours.is_source(peer) and self._neighbours.has_room(peer)
            if is_able and peer is not substream.feeder and self.may_ask(substream, peer, now):
                return peer
        return None

    # What is known of them

    def may_ask(self, substream: Substream, peer: Peer, now: int) -> bool:
        """Whether it is time to ask this peer for a substream, again."""
        distrusted_until = self._lies.get(peer, (0, 0))[1]
        return max(distrusted_until, substream.avoided.get(peer, 0)) <= now

    def avoid(self, substream: Substream, peer: Peer, until: int, now: int) -> None:
        """Ask somebody else for a while; the publisher only if it is a short one."""
        if self._neighbours.is_source(peer):
            until = min(until, now + AVOID_SOURCE_US)
        substream.avoided[peer] = until

    def note_liar(self, peer: Peer, now: int) -> None:
        """It said that it feeds us, and never did: do not believe it for a while, then longer.

        The publisher may be slow when many ask at once; to whom else should one turn.
        """
        if self._neighbours.is_source(peer):
            return
        times = self._lies.get(peer, (0, 0))[0] + 1
        self._lies[peer] = times, now + min(DISTRUST_US << times, DISTRUST_US_MAX)

    def drop(self, peer: Peer) -> None:
        """A peer left."""
        self._lies.pop(peer, None)

    # Helpers

    def _may_be_head(self, substream: Substream, peers: Sequence[Peer], now: int) -> bool:
        """Whether the publisher would have us: all others it would only have to refuse.

        Of a dozen there may be nobody else at home: when the one who was has failed, nobody would
        ask the publisher. Of many there is somebody, and whoever is at home elsewhere is a poor
        head.
        """
        number, known = substream.number, len(self._neighbours)
        if number == self.home or known < CROWD:
            return True
        return known < FEW and not any(
            self.may_ask(substream, peer, now) for peer in self._others_at_home(substream, peers)
        )

    def _others_at_home(self, substream: Substream, peers: Sequence[Peer]) -> list[Peer]:
        """Return who feeds others there, but for our feeder."""
        return [
            peer
            for peer in peers
            if peer is not substream.feeder and self._neighbours.is_home(peer, substream.number)
        ]

    def _bar_us(self, substream: Substream, feeder: Peer) -> float:
        """Return the lag that a rival has to promise, or less."""
        lag_us = _lag_us(substream)
        is_foreign = not self._neighbours.is_home(feeder, substream.number)
        if is_foreign and not self._neighbours.is_source(feeder):
            lag_us += FOREIGN_US
        return min(lag_us * BETTER_SHARE, lag_us - BETTER_US)

    def _expected_lag_us(self, peer: Peer, number: int) -> float | None:
        """Return how old pieces would come from a peer, or None: it does not get them itself.

        Those of which a datagram was lost: it is sent again a round trip later, and by the last
        of what comes the playout point is set.
        """
        lag_ms = self._neighbours.lag_ms(peer, number)
        if lag_ms is None:
            return None
        lag_us = lag_ms * MILLISECOND + 1.5 * peer.connection.rtt_us
        is_foreign = not self._neighbours.is_home(peer, number)
        if is_foreign and not self._neighbours.is_source(peer):
            lag_us += FOREIGN_US
        return lag_us


def _lag_us(substream: Substream) -> float:
    """Return how old pieces come from the feeder when a datagram of them was lost."""
    feeder = substream.feeder
    return substream.lag_us + (feeder.connection.rtt_us if feeder is not None else 0)
