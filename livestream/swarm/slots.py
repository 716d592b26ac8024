"""Upload slots: who may have blocks of us, and which blocks each waits for (BEP 3, 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from livestream.errors import ProtocolError
from livestream.pieces.blockstore import BlockStore
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.choker import BlockChoker
from livestream.swarm.fastset import FAST_PIECES, allowed_fast_set
from livestream.wire.messages import AllowedFast, Choke, Reject, Unchoke

__all__ = ["REQUESTS_TAKEN", "Slots"]

REQUESTS_TAKEN: Final = 2_000  # From one peer at a time, as libtorrent; further ones are rejected.
BLOCK_LENGTH_MAX: Final = 128 * 1024  # Nobody asks for more than 16 KiB; some once took this.
FAST_BYTES_MAX: Final = 8 << 20  # Of an allowed fast set: where pieces are large, it is smaller.
ROUND_S: Final = 10
SPARE_UPLOAD_SHARE: Final = 0.8  # Below this share of its cap, an uplink has something left.


class Slots:
    """Chokes and unchokes as the choker says, and takes the requests of those who may ask.

    Invariant: a peer is in `turn` while it waits for blocks; a choked one waits for blocks of its
    allowed fast set only, each of which it gets once.
    """

    def __init__(self, info_hash: bytes, store: BlockStore, choker: BlockChoker) -> None:
        self.turn: dict[BlockPeer, None] = {}
        "Who waits for blocks, whose turn it is first."
        self._info_hash = info_hash
        self._store = store
        self._choker = choker
        self._fast: dict[BlockPeer, dict[int, int]] = {}
        "What choked newcomers may have all the same: piece to bytes that are left of it."
        self._sent_before = 0

    # Peers

    def on_interest(self, peer: BlockPeer, now: int) -> None:
        """A peer says whether it wants something, or whether it only uploads (BEP 21)."""
        peer.wants_us = peer.says_interested and not peer.is_upload_only
        if not peer.wants_us:
            self._choker.on_left(peer)
            self.set_choked(peer, is_choked=True, now=now)
        elif self._choker.on_interested(peer, now):
            self.set_choked(peer, is_choked=False, now=now)
        else:
            self._offer_fast(peer)

    def on_gone(self, peer: BlockPeer) -> None:
        """A peer has left."""
        self._choker.on_left(peer)
        self.turn.pop(peer, None)
        self._fast.pop(peer, None)

    # Rounds

    def get_timer(self) -> int | None:
        """Return when the next round is due."""
        return self._choker.get_timer()

    def look_after(self, peer: BlockPeer, now: int) -> None:
        """Choke a peer that was found to take without giving."""
        if not peer.is_choked and self._choker.gives_up(peer):
            self._choker.on_left(peer)
            self.set_choked(peer, is_choked=True, now=now)

    def hold_round(
        self,
        peers: Sequence[BlockPeer],
        now: int,
        *,
        is_seed: bool,
        bytes_sent: int,
        upload_bps: int | None,
    ) -> None:
        """Let the choker choose anew. `bytes_sent`: of blocks, since ever."""
        rate_bps = (bytes_sent - self._sent_before) * 8 / ROUND_S
        self._sent_before = bytes_sent
        has_spare = upload_bps is None or rate_bps < SPARE_UPLOAD_SHARE * upload_bps
        chosen = self._choker.rank(peers, now, is_seed=is_seed, has_spare_upload=has_spare)
        for peer in peers:
            self.set_choked(peer, is_choked=peer not in chosen, now=now)

    def set_choked(self, peer: BlockPeer, *, is_choked: bool, now: int) -> None:
        """Choke or unchoke a peer."""
        if peer.is_choked == is_choked:
            return
        peer.is_choked = is_choked
        if not is_choked:
            peer.bytes_out_turn = 0
            peer.send(Unchoke())
            return
        peer.choked_at = now
        peer.send(Choke())
        for block in list(peer.asked_of_us):
            if not self._takes_fast(peer, block[0], block[2]):
                self.cancel(peer, block)
        self._offer_fast(peer)

    # Requests

    def on_requests(self, peer: BlockPeer, requests: Sequence[tuple[int, int, int]]) -> None:
        """Take (piece, begin, length)s, or reject them. Raises ProtocolError: one that cannot be.

        Who asks quickly asks for all of a piece in one run: the piece is looked at once.
        """
        asked, held = peer.asked_of_us, self._store.held
        known, size, is_held = -1, 0, False
        for request in requests:
            index, begin, length = request
            if index != known and index < len(held):
                known, size, is_held = index, self._store.piece_size(index), index in held
            if index != known or not 0 < length <= BLOCK_LENGTH_MAX or begin + length > size:
                raise ProtocolError(f"request of {length} bytes at {begin} of piece {index}")
            is_served = (
                is_held
                and len(asked) < REQUESTS_TAKEN
                and (not peer.is_choked or self._takes_fast(peer, index, length))
            )
            if is_served:
                asked[request] = None
                self.turn[peer] = None
            elif peer.has_fast_extension:
                peer.send(Reject(*request))

    def cancel(self, peer: BlockPeer, block: tuple[int, int, int]) -> None:
        """A (piece, begin, length) is not to be sent any more, if it is still waited for."""
        if block not in peer.asked_of_us:
            return
        del peer.asked_of_us[block]
        if not peer.asked_of_us:
            self.turn.pop(peer, None)
        if peer.has_fast_extension:
            peer.send(Reject(*block))

    def cancel_piece(self, peer: BlockPeer, index: int) -> None:
        """Nothing of a piece can be sent any more."""
        for block in [block for block in peer.asked_of_us if block[0] == index]:
            self.cancel(peer, block)

    # The allowed fast set

    def _offer_fast(self, peer: BlockPeer) -> None:
        """Tell a choked newcomer what it may have all the same; once a session."""
        is_newcomer = peer.wants_us and peer.pieces.held < FAST_PIECES
        if not is_newcomer or not peer.has_fast_extension or peer in self._fast:
            return
        allowed = self._fast[peer] = {}
        count = len(peer.pieces)
        size = max(1, min(FAST_PIECES, FAST_BYTES_MAX // self._store.piece_size(0)))
        for index in allowed_fast_set(peer.address.host, self._info_hash, count, size):
            allowed[index] = self._store.piece_size(index)
            if index not in peer.pieces:
                peer.send(AllowedFast(index))

    def _takes_fast(self, peer: BlockPeer, index: int, length: int) -> bool:
        """Book bytes of a piece that a choked peer may have; each byte once."""
        allowed = self._fast.get(peer, {})
        left = allowed.get(index, 0)
        if left < length or peer.pieces.held > FAST_PIECES:
            return False
        allowed[index] = left - length
        return True
