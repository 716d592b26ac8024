"""Tit for tat: who may download from us (BEP 3; Cohen 2003; libtorrent's seed rotation)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from livestream.machine import SECOND
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.choker import BlockChoker
from livestream.swarm.peer import Peer

__all__ = ["TitForTat"]

ROUND_US: Final = 10 * SECOND
OPTIMISTIC_ROUNDS: Final = 3
NEWCOMER_US: Final = 60 * SECOND
NEWCOMER_WEIGHT: Final = 3
SECOND_TRY: Final = 16  # A free rider is in one draw of so many.
SEED_QUOTA_BYTES: Final = 20 * (1 << 20)  # A turn with a seed ends after that...
SEED_TURN_US: Final = 60 * SECOND  # ...but not before that.
SLOTS_MIN: Final = 4
SLOTS_MAX: Final = 40
SLOT_BYTES_PER_S: Final = 20_000  # Slots that move less than this are not worth adding to.


class TitForTat(BlockChoker):
    """Unchokes whoever gave most in the last round, and one more at random.

    A slot stays empty rather than go to a free rider: where there are as many slots as peers,
    ranking alone would let it have as much as those who give.

    Invariant: only interested peers are unchoked, at most `slots` of them and the optimistic one.
    """

    def __init__(self, rng: Random, *, slots: int = 8) -> None:
        self.slots = slots
        self.unchoked: dict[Peer, int] = {}
        "Who may download, and since when."
        self._rng = rng
        self._optimistic: Peer | None = None
        self._round = 0
        self._next_at: int | None = None

    def serves(self, peer: Peer, index: int, now: int) -> bool:
        """Whether this peer's requests are answered."""
        return peer in self.unchoked

    def get_timer(self) -> int | None:
        """Return when the next round begins."""
        return self._next_at

    def on_interested(self, peer: BlockPeer, now: int) -> bool:
        """A peer wants something; True if there is a slot for it at once."""
        if self._next_at is None:
            self._next_at = now + ROUND_US
        has_slot = len(self.unchoked) < self.slots and not peer.is_free_rider
        if peer not in self.unchoked and has_slot:
            self.unchoked[peer] = now
        return peer in self.unchoked

    def on_left(self, peer: Peer) -> None:
        """A peer is gone, or wants nothing any more: its slot is free."""
        self.unchoked.pop(peer, None)
        if self._optimistic is peer:
            self._optimistic = None

    def gives_up(self, peer: BlockPeer) -> bool:
        """Whether an unchoked peer was found to be a free rider; the optimistic slot has time."""
        return peer.is_free_rider and peer is not self._optimistic

    def rank(
        self, peers: Sequence[BlockPeer], now: int, *, is_seed: bool, has_spare_upload: bool
    ) -> list[BlockPeer]:
        """Hold a round. Returns who is unchoked now, best first."""
        self._next_at = now + ROUND_US
        self._round += 1
        wanting = [peer for peer in peers if peer.wants_us]
        self._adapt_slots(wanting, has_spare_upload=has_spare_upload)
        ranked = self._by_turn(wanting, now) if is_seed else self._by_gift(wanting)
        if not is_seed:
            ranked = [peer for peer in ranked if not peer.is_free_rider]
        chosen = ranked[: self.slots]
        rest = [peer for peer in wanting if peer not in chosen]
        is_new_pick_due = self._round % OPTIMISTIC_ROUNDS == 1 or self._optimistic not in rest
        if is_new_pick_due:
            self._optimistic = self._draw(rest, now)
        if isinstance(self._optimistic, BlockPeer):
            chosen.append(self._optimistic)
        self.unchoked = {peer: self.unchoked.get(peer, now) for peer in chosen}
        for peer in wanting:
            peer.bytes_in_round, peer.bytes_out_round = 0, 0
        return chosen

    def _adapt_slots(self, wanting: Sequence[BlockPeer], *, has_spare_upload: bool) -> None:
        """One slot more while upload is left over and all slots are taken; one less if starved."""
        given = [peer.bytes_out_round for peer in wanting if peer in self.unchoked]
        if len(given) < self.slots:
            return
        enough = SLOT_BYTES_PER_S * ROUND_US // SECOND
        if has_spare_upload and min(given) > enough:
            self.slots = min(self.slots + 1, SLOTS_MAX)
        elif not has_spare_upload and sum(given) < enough * len(given) and self.slots > SLOTS_MIN:
            self.slots -= 1

    def _by_gift(self, peers: Sequence[BlockPeer]) -> list[BlockPeer]:
        return sorted(peers, key=lambda peer: (peer.is_snubbed, -peer.bytes_in_round))

    def _by_turn(self, peers: Sequence[BlockPeer], now: int) -> list[BlockPeer]:
        """Seeds: those in the middle of their turn, the fastest first, then who waited longest."""

        def key(peer: BlockPeer) -> tuple[int, int]:
            since = self.unchoked.get(peer)
            if since is None:
                return 1, peer.choked_at
            is_over = now - since > SEED_TURN_US and peer.bytes_out_turn > SEED_QUOTA_BYTES
            return (2, -peer.bytes_out_round) if is_over else (0, -peer.bytes_out_round)

        return sorted(peers, key=key)

    def _draw(self, peers: Sequence[BlockPeer], now: int) -> BlockPeer | None:
        """Draw the one that may show what it gives; a known free rider seldom gets another try."""
        hopeful = [
            peer for peer in peers if not peer.is_free_rider or not self._rng.randrange(SECOND_TRY)
        ]
        weights = [NEWCOMER_WEIGHT if now - peer.joined_at < NEWCOMER_US else 1 for peer in hopeful]
        return self._rng.choices(hopeful, weights)[0] if hopeful else None
