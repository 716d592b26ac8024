"""Hashes of 16 KiB blocks for peers (BEP 52, base layer 0): made of the piece when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from livestream.pieces.merkle import HashLayer, width_of
from livestream.swarm.peer import Peer
from livestream.swarm.rates import TokenBucket
from livestream.wire.hashes import HASH_SIZE, Hashes, HashRequest

__all__ = ["LeafFile", "LeafServe"]

PART_LENGTH: Final = 512  # BEP 52: "Length SHOULD NOT be greater than 512."
LEAVES_MAX: Final = 1_024  # Of a piece of 16 MiB: all of it is read and hashed for one answer.
LEAVES_PER_SECOND: Final = 4_096  # 64 MiB to read and hash, for all peers together.


@dataclass(frozen=True, slots=True)
class LeafFile:
    """Where a file is among the pieces."""

    first_piece: int
    leaf_count: int


class LeafServe:
    """Answers requests for the leaves of one piece, one at a time, at a bounded rate.

    Invariant: `_asked` has the request whose piece is being hashed; whoever asks meanwhile is
    refused, and may ask others or later.
    """

    def __init__(
        self, files: Mapping[bytes, LeafFile], base: int, hash_piece: Callable[[int], None]
    ) -> None:
        """Take the files by root, how many layers a piece has, and how to have one hashed.

        The leaves of a piece, or that there are none, are to be told to `on_leaves`.
        """
        self._files = files
        self._base = base
        self._hash_piece = hash_piece
        self._asked: tuple[Peer, HashRequest, HashLayer | None, int] | None = None
        self._bucket = TokenBucket(LEAVES_PER_SECOND, LEAVES_PER_SECOND)

    def ask(self, peer: Peer, request: HashRequest, tree: HashLayer | None, now: int) -> bool:
        """Answer a request later; False if it cannot be answered, or not now.

        `tree` is the file's piece layer, if it has one.
        """
        index = self._piece_of(request)
        if index is None or (tree is None and self._levels(request) > self._base):
            return False
        if self._asked is not None or not self._bucket.has_tokens(now):
            return False
        self._bucket.take(1 << self._base, now)
        self._asked = peer, request, tree, index
        self._hash_piece(index)
        return True

    def on_leaves(self, index: int, leaves: Sequence[bytes] | None) -> None:
        """A piece was hashed, or could not be. Whoever asked gets its answer."""
        if self._asked is None or self._asked[3] != index:
            return
        peer, request, tree, _ = self._asked
        self._asked = None
        if leaves is None:
            peer.send(request.rejection)
            return
        peer.send(Hashes(request, self._answer(request, tree, leaves)))

    def _levels(self, request: HashRequest) -> int:
        """Return how many layers the file's tree has above its leaves."""
        return width_of(self._files[request.root].leaf_count).bit_length() - 1

    def _piece_of(self, request: HashRequest) -> int | None:
        """Return the piece that has all of what is asked for; None if there is no such."""
        file = self._files.get(request.root)
        if file is None or 1 << self._base > LEAVES_MAX:
            return None
        width = width_of(request.length)
        if not 0 < request.length <= PART_LENGTH or request.index % width:
            return None
        levels = self._levels(request)
        is_inside = request.index + width <= 1 << levels and request.proof_layers < levels
        if not is_inside or width > 1 << self._base or request.index >= file.leaf_count:
            return None
        return file.first_piece + (request.index >> self._base)

    def _answer(
        self, request: HashRequest, tree: HashLayer | None, leaves: Sequence[bytes]
    ) -> bytes:
        """Return the leaves and their uncles: in the piece first, then among the pieces."""
        levels = min(self._base, self._levels(request))
        padded = b"".join(leaves).ljust((1 << levels) * HASH_SIZE, b"\0")
        within = HashLayer(padded, 0)
        first = request.index & ((1 << levels) - 1)
        width = width_of(request.length)
        level = width.bit_length() - 1
        top = min(request.proof_layers, levels - 1)
        hashes = within.part(first, request.length)
        hashes += within.uncles(level, first >> level, top)
        if tree is not None and request.proof_layers >= self._base:
            position = request.index >> self._base
            hashes += tree.uncles(0, position, request.proof_layers - self._base)
        return b"".join(hashes)
