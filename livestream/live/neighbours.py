"""What the peers of a channel tell of themselves, once a second (`Neighbours`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Final

from livestream.machine import SECOND, Address
from livestream.swarm.peer import Peer
from livestream.wire.live import LAG_UNKNOWN_MS, Status

__all__ = ["ANY_HOME", "FEW", "SLOTS_MAX", "Neighbours"]

SLOTS_MAX: Final = 80  # Each child is a connection: more would leave no room for others.
ROOMS_MAX: Final = 8  # Of a substream that are remembered: they do not stay true for long.
NEEDIEST: Final = 2
ROOM_US: Final = 3 * SECOND
FEW: Final = 16  # Of so many neighbours somebody is at home in each substream, nearly always.
ANY_HOME: Final = 0xFF  # Feeds in whatever substream it is asked for, or in none.


class Neighbours:
    """The newest status of each peer, and what follows from all of them.

    Nothing in here is proven: a status says what its sender wants us to believe.
    """

    def __init__(self) -> None:
        self._statuses: dict[Peer, Status] = {}
        self._rooms: dict[int, dict[Address, int]] = {}
        "By substream: strangers who are said to have room at home, and when that was."

    def note(self, peer: Peer, status: Status) -> None:
        """A peer told how it is."""
        self._statuses[peer] = status

    def note_full(self, peer: Peer) -> None:
        """A peer had no room: no need to ask again before it says otherwise."""
        status = self._statuses.get(peer)
        if status is not None and not status.is_source:
            self._statuses[peer] = replace(status, spare_slots=0)

    def drop(self, peer: Peer) -> None:
        """A peer left."""
        self._statuses.pop(peer, None)

    def heard_at(self, besides: Peer) -> int:
        """Return when anybody else was heard last (µs); 0: nobody ever was.

        What a peer did not do since may as well be our own line's fault.
        """
        return max((peer.heard_at for peer in self._statuses if peer is not besides), default=0)

    def __len__(self) -> int:
        return len(self._statuses)

    # Strangers

    def note_room(self, number: int, address: Address, now: int) -> None:
        """Somebody says that a stranger may feed one more in a substream."""
        rooms = self._rooms.setdefault(number, {})
        rooms.pop(address, None)
        if len(rooms) >= ROOMS_MAX:
            del rooms[next(iter(rooms))]
        rooms[address] = now

    def take_room(self, number: int, now: int) -> Address | None:
        """Return, and forget, the stranger of whom we heard last."""
        rooms = self._rooms.get(number)
        while rooms:
            address, heard_at = rooms.popitem()
            if now - heard_at < ROOM_US:
                return address
        return None

    def roomy(self) -> list[int]:
        """Return the substreams for which we heard of strangers with room, the most first."""
        return sorted(self._rooms, key=lambda number: -len(self._rooms[number]))

    def rooms(self, rng: Random, count: int) -> list[tuple[int, Peer]]:
        """Return some who have room at home, each of another substream, for others to know."""
        found: dict[int, Peer] = {}
        peers = [
            peer
            for peer, status in self._statuses.items()
            if status.spare_slots and peer.is_reachable
        ]
        rng.shuffle(peers)
        for peer in peers:
            home = self._statuses[peer].home
            is_fed = not self.is_source(peer) and self.lag_ms(peer, home) is not None
            if is_fed and home not in found:
                found[home] = peer
                if len(found) == count:
                    break
        return list(found.items())

    # One of them

    def is_source(self, peer: Peer) -> bool:
        """Whether it says that it is the publisher."""
        status = self._statuses.get(peer)
        return status is not None and status.is_source

    def children_of(self, peer: Peer) -> int:
        """Return how many children it has, over all substreams."""
        status = self._statuses.get(peer)
        return status.children if status is not None else 0

    def capacity(self, peer: Peer) -> int:
        """Return how many children it can have, wherever it has them."""
        status = self._statuses.get(peer)
        return 0 if status is None else min(status.children + status.spare_slots, SLOTS_MAX)

    def has_room(self, peer: Peer) -> bool:
        """Whether it would take one more child."""
        status = self._statuses.get(peer)
        return status is not None and status.spare_slots > 0

    def wants_head(self, peer: Peer, number: int) -> bool:
        """Whether it is the publisher, and feeds too few in a substream."""
        status = self._statuses.get(peer)
        if status is None or not (status.is_source and status.spare_slots):
            return False
        return number < len(status.lags_ms) and not status.lags_ms[number]

    def is_home(self, peer: Peer, number: int) -> bool:
        """Whether this substream is the one in which it feeds others."""
        status = self._statuses.get(peer)
        return status is not None and status.home == number

    def weight(self, peer: Peer, number: int) -> int:
        """Return how many children it can have in a substream: those who count go on top."""
        # Nobody can have more: whoever claims to is not worth more for it.
        return self.merit(peer, number)[0]

    def merit(self, peer: Peer, number: int) -> tuple[int, bool]:
        """Return its weight in a substream, and whether it feeds anybody anywhere: who goes first.

        Asked of each child for each piece: in one look.
        """
        status = self._statuses.get(peer)
        if status is None:
            return 0, False
        able = status.children + status.spare_slots if status.home == number else 0
        return min(able, SLOTS_MAX), status.children > 0

    def lag_ms(self, peer: Peer, number: int) -> int | None:
        """Return how old a piece of a substream is when it gets there; None: it is not fed."""
        status = self._statuses.get(peer)
        if status is None:
            return None
        if status.is_source:
            return 0
        if number >= len(status.lags_ms) or status.lags_ms[number] == LAG_UNKNOWN_MS:
            return None
        return status.lags_ms[number]

    # All of them

    def guides(self, number: int, among: Iterable[Peer], besides: Peer, count: int) -> list[Peer]:
        """Return who may feed a substream in our place: whoever has room, then who knows more."""
        able = [
            peer
            for peer in among
            if peer is not besides
            and peer.is_reachable
            and (self.is_home(peer, number) or self.has_room(peer))
            and not self.is_source(peer)
            and self.lag_ms(peer, number) is not None
        ]
        able.sort(key=lambda peer: (not self.is_home(peer, number), not self.has_room(peer)))
        return able[:count]

    def neediest(self, substreams: int, rng: Random) -> int:
        """Return a substream with few slots among all that we know of."""
        slots = [0] * substreams
        for status in self._statuses.values():
            if status.home < substreams:
                slots[status.home] += status.children + status.spare_slots
        # One of the neediest: many look at the same time, and see much the same.
        order = sorted(range(substreams), key=lambda number: (slots[number], rng.random()))
        return rng.choice(order[:NEEDIEST])
