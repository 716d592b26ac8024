"""Whom a node of a channel feeds: subscriptions within what its upload can carry."""

from __future__ import annotations

from typing import Final

from livestream.config import LiveConfig
from livestream.live.neighbours import ANY_HOME, SLOTS_MAX
from livestream.live.window import LiveWindow
from livestream.machine import SECOND
from livestream.swarm.choker import Choker
from livestream.swarm.peer import Peer
from livestream.swarm.rates import TokenBucket

__all__ = ["LiveChoker"]

TRIED_SHARE: Final = 0.97  # Of the upload, where children are wanted and nothing is late.
GROWTH_US: Final = 2 * SECOND
RECOVERY_US: Final = 2 * SECOND  # After an overload, one slot more is tried so often.
# When somebody fails, all below ask at the same time: what was not given before is given then.
RESERVE_BURST_S: Final = 60
NEVER: Final = 1 << 32  # No index is that large.
SLOTS_MIN: Final = 2  # Who could feed fewer has an upload for its own requests, and no more.
CROWD: Final = 10  # With so many neighbours, the publisher lets viewers help each other.


class LiveChoker(Choker):
    """Children per substream, each from the piece that it subscribed to.

    Invariant: never more children over all substreams than `slots`; the publisher keeps one slot
    for every substream that has no head yet.
    """

    def __init__(
        self,
        window: LiveWindow,
        config: LiveConfig,
        *,
        upload_bps: int | None,
        is_source: bool,
    ) -> None:
        self.home = ANY_HOME
        "The substream in which we feed others."
        self._window = window
        self._config = config
        self._upload_bps = upload_bps
        self._is_source = is_source
        self._children: list[dict[Peer, int]] = []
        self._since: dict[tuple[Peer, int], int] = {}
        self._leaving: dict[tuple[Peer, int], tuple[int, int]] = {}
        "Who is no child any more: until when it is fed all the same, and up to which piece."
        self._slots_max = 0
        self._slots_limit = 0
        "So many may be tried while orphans ask for them."
        self._slots = 0
        self._is_open = is_source
        self._recovers_at = 0
        self._grows_at = 0
        self._is_wanted = False
        "Somebody was refused for want of room."
        self._reserve = TokenBucket(1, 1)
        self._peers = 0

    def start(self, substreams: int, rate_bps: int) -> None:
        """Size the slots for a channel: floor(share · upload · K / rate) of them."""
        if len(self._children) != substreams:
            self._children = [{} for _ in range(substreams)]
        for children in self._children:
            for child in children:
                children[child] = 0
        heads = self._config.heads_per_substream * substreams
        limit = heads if self._is_source else self._config.slots_max
        if self._upload_bps is not None:
            promised = int(self._config.upload_share * self._upload_bps * substreams / rate_bps)
            if not self._is_source:
                limit = min(promised, SLOTS_MAX) if promised >= SLOTS_MIN else 0
            else:
                limit = min(heads, promised)
        self._slots_max = max(limit, substreams) if self._is_source else limit
        self._slots = self._slots_max
        self._slots_limit = self._slots_max
        if self._upload_bps is not None and limit and not self._is_source:
            able = int(TRIED_SHARE * self._upload_bps * substreams / rate_bps)
            self._slots_limit = max(limit, min(able, SLOTS_MAX))
        reserve = rate_bps / 8 * self._config.reserve_share
        self._reserve = TokenBucket(reserve, RESERVE_BURST_S * reserve)

    # Slots

    @property
    def slots(self) -> int:
        """How many children we may have: none before we are known to receive anything."""
        return self._slots if self._is_open else 0

    @property
    def slots_promised(self) -> int:
        """How many they will be."""
        return self._slots

    @property
    def used_slots(self) -> int:
        """Children over all substreams."""
        return sum(map(len, self._children))

    @property
    def spare_slots(self) -> int:
        """Children that could still be taken."""
        return max(0, self.slots - self.used_slots)

    def open(self) -> None:
        """Feed others from now on."""
        self._is_open = True

    def note_overload(self, now: int) -> None:
        """Our uplink does not carry those that we have."""
        least = len(self._children) if self._is_source else 0  # Without heads there is no channel.
        self._slots = max(least, min(self._slots, self.used_slots) - 1)
        self._recovers_at = now + RECOVERY_US
        self._grows_at = now + GROWTH_US

    def recover(self, now: int, *, is_scarce: bool) -> None:
        """Try one slot more, some time after the last overload.

        `is_scarce`: nobody whom we know has room, so that more than our share is wanted.
        """
        if self._slots < self._slots_max and now >= self._recovers_at:
            self._slots += 1
            self._recovers_at = now + RECOVERY_US
        elif (
            is_scarce
            and self._is_wanted
            and self._slots < self._slots_limit
            and now >= self._grows_at
        ):
            self._slots += 1
            self._grows_at = now + GROWTH_US
        self._is_wanted = False

    # Children

    def children(self, substream: int) -> list[Peer]:
        """Return whom we feed in a substream."""
        return list(self._children[substream]) if substream < len(self._children) else []

    def busiest(self) -> int:
        """Return the substream in which we feed most."""
        return max(range(len(self._children)), key=lambda number: len(self._children[number]))

    def strangers(self) -> list[tuple[Peer, int]]:
        """Return whom we feed outside of our home, and in which substream."""
        return [
            (child, number)
            for number, children in enumerate(self._children)
            if number != self.home
            for child in children
        ]

    def substreams_of(self, peer: Peer) -> int:
        """Return in how many substreams we feed a peer."""
        return sum(peer in children for children in self._children)

    def substreams_by_child(self) -> dict[Peer, int]:
        """Return in how many substreams we feed each of those whom we feed."""
        counts: dict[Peer, int] = {}
        for children in self._children:
            for child in children:
                counts[child] = counts.get(child, 0) + 1
        return counts

    def children_of_index(self, index: int) -> list[Peer]:
        """Return whom to push a piece to."""
        if not self._children:
            return []
        number = index % len(self._children)
        fed = [child for child, from_index in self._children[number].items() if index >= from_index]
        if self._leaving:
            fed += [
                child
                for (child, substream), (_, end) in self._leaving.items()
                if substream == number and index < end
            ]
        return fed

    def is_child(self, peer: Peer, substream: int) -> bool:
        """Whether we feed a peer in a substream."""
        return substream < len(self._children) and peer in self._children[substream]

    def fed_from(self, peer: Peer, substream: int) -> int:
        """Return the first piece that is pushed to a child."""
        return self._children[substream].get(peer, 0)

    def has_room(self, peer: Peer, substream: int) -> bool:
        """Whether `subscribe` would take this child."""
        if substream >= len(self._children):
            return False
        return self.is_child(peer, substream) or self._has_room(substream)

    def wants_child(self, substream: int) -> bool:
        """Whether one more would be taken."""
        return substream < len(self._children) and self._has_room(substream)

    def fed_since(self, peer: Peer, substream: int) -> int:
        """Return when a child was taken."""
        return self._since.get((peer, substream), 0)

    def subscribe(self, peer: Peer, substream: int, from_index: int, now: int) -> bool:
        """Take a child, if there is room."""
        if not self.has_room(peer, substream):
            self._is_wanted = True
            return False
        self._children[substream][peer] = from_index
        self._leaving.pop((peer, substream), None)
        self._since.setdefault((peer, substream), now)
        return True

    def give_notice(self, peer: Peer, substream: int, until: int, end: int = NEVER) -> None:
        """Let a child go, but feed it until then, what comes before piece `end`.

        That is over once it says that it needs us no more; no harm if it is no child.
        """
        if (peer, substream) in self._leaving or self.is_child(peer, substream):
            self.unsubscribe(peer, substream)
            self._leaving[peer, substream] = until, end

    def count_noticed(self) -> int:
        """Return how many are fed that are no children any more."""
        return len(self._leaving)

    def expire(self, now: int) -> None:
        """Feed those no more whose notice is over."""
        if self._leaving:
            self._leaving = {each: what for each, what in self._leaving.items() if what[0] > now}

    def unsubscribe(self, peer: Peer, substream: int) -> None:
        """Let a child go; no harm if it is none."""
        self._leaving.pop((peer, substream), None)
        if substream < len(self._children):
            self._children[substream].pop(peer, None)
            self._since.pop((peer, substream), None)

    def drop(self, peer: Peer) -> None:
        """Forget a peer that left."""
        for substream in range(len(self._children)):
            self.unsubscribe(peer, substream)

    # Requests

    def note_peers(self, count: int) -> None:
        """So many neighbours are there to ask."""
        self._peers = count

    def serves(self, peer: Peer, index: int, now: int) -> bool:
        """Answer every neighbour: the queue of each is bounded, and pushes go first.

        The publisher answers within its reserve, once there are others to ask.
        """
        if not self._is_source or self._peers < CROWD:
            return True
        if not self._reserve.has_tokens(now):
            return False
        data = self._window.get(index)
        self._reserve.take(len(data) if data is not None else 0, now)
        return True

    def _has_room(self, substream: int) -> bool:
        used = self.used_slots
        if not self._is_source:
            return used < self.slots
        if not self._children[substream]:
            return used < self.slots
        if len(self._children[substream]) >= self._config.heads_per_substream:
            return False
        orphans = sum(not children for children in self._children)
        return used + orphans < self.slots
