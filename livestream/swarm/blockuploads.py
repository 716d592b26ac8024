"""Blocks on their way out: a batch at a time to the peer whose turn it is (`BlockUploads`)."""

from __future__ import annotations

from typing import Final

from livestream.machine import MILLISECOND, SECOND
from livestream.pieces.blockstore import BlockStore
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.serving import ServingOrder
from livestream.wire.image import BLOCK_BYTES, PieceImage

__all__ = ["BlockUploads"]

BACKLOG_MAX: Final = 1 << 20  # A connection gets further blocks only below this.
BATCH: Final = 32  # Blocks handed over at once: they leave in one system call.
BATCH_US: Final = 50 * MILLISECOND  # Of what a capped uplink carries.


class BlockUploads:
    """Takes blocks out of the peers' queues, in memory or after they were fetched.

    Invariant: a piece in `_loading` was asked of the store, and its answer has not come.
    """

    def __init__(self, store: BlockStore, turn: dict[BlockPeer, None], order: ServingOrder) -> None:
        self._store = store
        self._turn = turn
        self._order = order
        self._loading: dict[int, None] = {}

    def on_loaded(self, index: int) -> None:
        """The store has fetched a piece, or could not."""
        self._loading.pop(index, None)

    def next(self, *, is_seed: bool, upload_bps: int | None) -> int:
        """Hand a batch to the next peer in turn; returns its bytes, 0 when nobody can take any."""
        ready = [peer for peer in self._turn if peer.connection.backlog_bytes < BACKLOG_MAX]
        for peer in self._order.sort(ready, is_seed=is_seed):
            sent = self._serve(peer, _batch(upload_bps))
            del self._turn[peer]
            if peer.asked_of_us:
                self._turn[peer] = None
            if sent:
                return sent
        return 0

    def _serve(self, peer: BlockPeer, room: int) -> int:
        """Queue up to `room` blocks on the connection; returns their bytes."""
        sent = 0
        queue = peer.asked_of_us
        while queue and room > 0:
            index, begin, length = next(iter(queue))
            image = self._store.image(index)
            if image is None:
                self._load(index)
                break
            if index != peer.serving:
                self._order.on_begun(peer, index)
            first, odd = divmod(begin, BLOCK_BYTES)
            if odd or length != image.block_length(first):
                del queue[index, begin, length]
                data = memoryview(image.data(begin, begin + length))
                peer.connection.send_block(index, begin, data)
                sent += length
                room -= 1
                continue
            count = _take_run(peer, image, first, room)
            peer.connection.send_blocks(image, first, count)
            sent += min(count * BLOCK_BYTES, image.size - begin)
            room -= count
        peer.count_out(sent)
        return sent

    def _load(self, index: int) -> None:
        if index not in self._loading:
            self._loading[index] = None
            self._store.load(index)


def _take_run(peer: BlockPeer, image: PieceImage, first: int, room: int) -> int:
    """Take the blocks that a peer asked for from `first` on in a piece; returns how many."""
    queue = peer.asked_of_us
    index, size, last = image.index, image.size, min(first + room, image.count)
    block = first
    while block < last:
        begin = block * BLOCK_BYTES
        if queue.pop((index, begin, min(BLOCK_BYTES, size - begin)), False) is not None:
            break  # It was not asked for.
        block += 1
    return block - first


def _batch(upload_bps: int | None) -> int:
    """Blocks to hand over at once: under a cap few, so that cancels are in time."""
    if upload_bps is None:
        return BATCH
    return max(1, min(BATCH, upload_bps // 8 * BATCH_US // SECOND // BLOCK_BYTES))
