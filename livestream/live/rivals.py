"""Who had better feed us than whoever does, and is asked to take over (`Rivals`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from livestream.live.neighbours import Neighbours
from livestream.live.selection import LATE_US, FeederSelection
from livestream.live.substream import FeedState, Substream
from livestream.machine import MILLISECOND, SECOND
from livestream.swarm.peer import Peer
from livestream.wire.live import LiveMessage, Subscribe

__all__ = ["ANSWER_TIMEOUT_US", "AVOID_FAILED_US", "Rivals"]

ANSWER_TIMEOUT_US: Final = 500 * MILLISECOND  # Two round trips of a long path, and its queues.
AVOID_FAILED_US: Final = 10 * SECOND
BETTER_LOOKS: Final = 5  # A better feeder must be better so many times in a row.
CLIMB_AFTER_US: Final = 2 * SECOND  # Who was just taken has no children yet.
HEADS_PATH: Final = 2  # The publisher and a head.
CLIMB_US: Final = 10 * SECOND  # How often those who feed many ask further up, room or none.


class Rivals:
    """Finds and asks rivals; the feeder goes on until one of them feeds us.

    Invariant: one rival a substream at a time, and none for longer than an answer takes.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        selection: FeederSelection,
        send: Callable[[Peer, LiveMessage], None],
        seek: Callable[[int, int], None],
    ) -> None:
        """Take whom to look at, how to rank them, and how to ask or call them."""
        self._neighbours = neighbours
        self._selection = selection
        self._send = send
        self._seek = seek

    def ask(self, substream: Substream, rival: Peer, from_index: int, now: int) -> None:
        """Ask somebody to take over from the feeder, which goes on until then."""
        substream.rival, substream.rival_since = rival, now
        self._send(rival, Subscribe(substream.number, from_index, is_fed=True))

    def ask_source(
        self, substream: Substream, peers: Sequence[Peer], from_index: int, now: int
    ) -> None:
        """Be a head ourselves, if the publisher wants one: whoever feeds us may get nothing."""
        if substream.rival is not None and now - substream.rival_since <= ANSWER_TIMEOUT_US:
            return
        publisher = self._selection.publisher(substream, peers, now)
        if publisher is not None:
            self.ask(substream, publisher, from_index, now)

    def look_for_better(
        self, substream: Substream, peers: Sequence[Peer], from_index: int, now: int
    ) -> None:
        """Ask a rival once it has promised much less lag for some time."""
        if substream.rival is not None and now - substream.rival_since > ANSWER_TIMEOUT_US:
            self._selection.avoid(substream, substream.rival, now + AVOID_FAILED_US, now)
            substream.rival = None
        if substream.state is not FeedState.FED or substream.rival is not None:
            return
        above = self._climb(substream, peers, now)
        rival = above or self._selection.better(substream, peers, now)
        substream.looks = substream.looks + 1 if rival is not None else 0
        is_source = rival is not None and self._neighbours.is_source(rival)
        is_urgent = above is not None or is_source or substream.lag_us > LATE_US
        if rival is None or (substream.looks < BETTER_LOOKS and not is_urgent):
            return
        substream.looks = 0
        substream.climbs_at = now + CLIMB_US
        self.ask(substream, rival, from_index, now)

    def _climb(self, substream: Substream, peers: Sequence[Peer], now: int) -> Peer | None:
        """Return who feeds our feeder, if it is of use to ask; call it first."""
        is_settled = now - substream.since >= CLIMB_AFTER_US
        is_heir = len(substream.path) <= HEADS_PATH  # Fed by the same as we.
        if substream.above is None or is_heir or not is_settled:
            return None
        if not self._selection.may_climb(substream, now):
            return None
        for peer in peers:
            if peer.address == substream.above:
                return peer if self._selection.is_higher(substream, peer, now) else None
        self._neighbours.note_room(substream.number, substream.above, now)
        self._seek(substream.number, now)
        return None
