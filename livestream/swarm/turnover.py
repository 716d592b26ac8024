"""When a swarm is full: whom to let go for somebody else (`Turnover`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from livestream.machine import SECOND, Address
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.priority import peer_priority

__all__ = ["Turnover"]

INTERVAL_US: Final = 300 * SECOND
SHARE: Final = 0.04  # Of the peers, each time; libtorrent's peer_turnover.
TRIAL_US: Final = 30 * SECOND  # A peer that is of no use yet has so long to become it.


class Turnover:
    """Finds the peers that are worth least; web seeds are none of them.

    Invariant: `_given` has the bytes (in, out) of each peer at the last turnover.
    """

    def __init__(self) -> None:
        self._given: dict[BlockPeer, tuple[int, int]] = {}
        self._next_at: int | None = None

    def poorest(self, peers: Sequence[BlockPeer], now: int) -> list[BlockPeer]:
        """Every 300 s, return the 4 % that gave least since the last time; else nobody.

        As a seed nobody gives us anything: then those who took least. Newcomers are left out.
        """
        if self._next_at is not None and now < self._next_at:
            return []
        self._next_at = now + INTERVAL_US
        before, self._given = self._given, {peer: (peer.bytes_in, peer.bytes_out) for peer in peers}
        # The first time there is nothing to compare with, so nobody goes.
        judged = [peer for peer in peers if peer in before and not peer.is_web_seed]

        def worth(peer: BlockPeer) -> tuple[int, int]:
            given, taken = before[peer]
            return peer.bytes_in - given, peer.bytes_out - taken

        return sorted(judged, key=worth)[: max(1, int(len(peers) * SHARE))]

    def useless(
        self, peers: Sequence[BlockPeer], ours: Address | None, caller: Address, now: int
    ) -> BlockPeer | None:
        """Return who makes way for a caller: of no use for a while, and of lower priority."""
        idle = [
            peer
            for peer in peers
            if not (peer.is_wanted or peer.wants_us or peer.is_web_seed)
            and now - peer.joined_at > TRIAL_US
        ]
        if ours is None or not idle:
            return None
        ranks = {peer: peer_priority(ours, peer.address) or 0 for peer in idle}
        lowest = min(idle, key=ranks.__getitem__)
        return lowest if ranks[lowest] < (peer_priority(ours, caller) or 0) else None
