"""Piece layers of v2 torrents between peers (BEP 52): serving them, and fetching them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from livestream.errors import ProtocolError
from livestream.machine import SECOND
from livestream.pieces.merkle import HashLayer, root_of_proof, width_of
from livestream.swarm.leafhashes import LeafServe
from livestream.swarm.peer import Peer
from livestream.swarm.rates import TokenBucket
from livestream.wire.hashes import HASH_SIZE, Hashes, HashReject, HashRequest

__all__ = ["HashFetch", "HashServe"]

PART_LENGTH: Final = 512  # BEP 52: "Length SHOULD NOT be greater than 512." 16 KiB, as a block.
HASHES_PER_SECOND: Final = 65_536  # To one peer: 2 MiB; a second is the layer of 1 TB in 16 MiB.
ANSWER_COST: Final = 32  # In hashes, of an answer as such.
REQUESTS_TAKEN: Final = 250  # Waiting at a time; further ones are rejected.
BACKLOG_MAX: Final = 1 << 20  # A connection gets further hashes only below this.
BACKLOG_LOST: Final = 8 << 20  # Who asks and asks, and reads no answer, costs memory.
AHEAD: Final = 4  # Parts under way at one peer.
ANSWER_TIMEOUT_US: Final = 15 * SECOND  # Four parts in that time need 35 kbit/s.
PAUSE_S_MAX: Final = 32  # For a peer that refused or was silent again and again.


@dataclass(slots=True)
class _Client:
    """What one peer waits for, and how much it may still have."""

    bucket: TokenBucket = field(
        default_factory=lambda: TokenBucket(HASHES_PER_SECOND, HASHES_PER_SECOND)
    )
    waiting: deque[HashRequest] = field(default_factory=deque)


class HashServe:
    """Answers requests for piece layers, each peer at most so fast.

    Invariant: every request gets one answer, hashes or a reject, unless its peer leaves first.
    """

    def __init__(
        self, layers: Mapping[bytes, bytes], base: int, *, upload_bps: int | None = None
    ) -> None:
        """Take the piece layers by root, and how many layers above the leaves they are.

        `upload_bps` caps all answers together.
        """
        self.leaves: LeafServe | None = None
        "Answers for the layer below, if anybody does."
        self._total: TokenBucket | None = None
        if upload_bps is not None:
            hashes_per_second = upload_bps / 8 / HASH_SIZE
            self._total = TokenBucket(hashes_per_second, hashes_per_second)
        self._layers = layers
        self._base = base
        self._trees: dict[bytes, HashLayer] = {}
        self._clients: dict[Peer, _Client] = {}

    def on_request(self, peer: Peer, request: HashRequest, now: int) -> None:
        """Answer, or do so when the peer's rate allows. Raises ProtocolError."""
        if peer.connection.backlog_bytes > BACKLOG_LOST:
            raise ProtocolError("asks for hashes and does not read them")
        client = self._clients.setdefault(peer, _Client())
        if len(client.waiting) >= REQUESTS_TAKEN:
            peer.send(request.rejection)
            return
        client.waiting.append(request)
        self.serve(peer, now)

    def serve(self, peer: Peer, now: int) -> None:
        """Answer what waits, as far as rate and connection allow. Call it once a second."""
        client = self._clients.get(peer)
        if client is None:
            return
        while (
            client.waiting
            and client.bucket.has_tokens(now)
            and (self._total is None or self._total.has_tokens(now))
            and peer.connection.backlog_bytes < BACKLOG_MAX
        ):
            request = client.waiting.popleft()
            if self._is_for_leaves(peer, request, now):
                client.bucket.take(ANSWER_COST + request.length, now)
                continue
            hashes = self._find(request)
            cost = ANSWER_COST + len(hashes) // HASH_SIZE
            client.bucket.take(cost, now)
            if self._total is not None:
                self._total.take(cost, now)
            peer.send(Hashes(request, hashes) if hashes else request.rejection)

    def on_gone(self, peer: Peer) -> None:
        """Forget it."""
        self._clients.pop(peer, None)

    def _is_for_leaves(self, peer: Peer, request: HashRequest, now: int) -> bool:
        if self.leaves is None or request.base or not self._base:
            return False
        return self.leaves.ask(peer, request, self._tree(request.root), now)

    def _tree(self, root: bytes) -> HashLayer | None:
        tree, layer = self._trees.get(root), self._layers.get(root)
        if tree is None and layer is not None:
            tree = self._trees[root] = HashLayer(layer, self._base)
        return tree

    def _find(self, request: HashRequest) -> bytes:
        """Return the hashes and their uncles; nothing if we do not have them."""
        tree = self._tree(request.root)
        width = width_of(request.length)
        if (
            tree is None
            or request.base != self._base
            or not 0 < request.length <= PART_LENGTH
            or request.index % width
        ):
            return b""
        # The root has no uncle, and nothing lies above it.
        if request.index + width > 1 << tree.levels or request.proof_layers >= tree.levels:
            return b""
        level = width.bit_length() - 1
        part = tree.part(request.index, request.length)
        uncles = tree.uncles(level, request.index >> level, request.proof_layers)
        return b"".join(part + uncles)


@dataclass(slots=True)
class _Source:
    """What one peer was asked for, and when it may be asked again."""

    asked: dict[HashRequest, int] = field(default_factory=dict)
    failures: int = 0
    "Refusals and silences since its last good answer."
    resume_at: int = 0

    def on_failed(self, now: int) -> None:
        self.failures += 1
        self.resume_at = now + min(1 << min(self.failures, 6), PAUSE_S_MAX) * SECOND


class HashFetch:
    """Collects piece layers, in parts that are each proved up to their file's root.

    A peer whose hashes prove nothing has lied, and is reported. Invariant: a part is missing, asked
    of exactly one peer, or found; what is found is genuine.
    """

    def __init__(
        self,
        counts: Mapping[bytes, int],
        base: int,
        on_found: Callable[[dict[bytes, bytes]], None],
        on_liar: Callable[[Peer, str, int], None],
    ) -> None:
        """Take how many hashes (two or more) the layer has below each root."""
        self._counts = counts
        self._on_found = on_found
        self._on_liar = on_liar
        self._parts = {root: _parts(root, count, base) for root, count in counts.items()}
        self._missing = deque(part for parts in self._parts.values() for part in parts)
        self._left = len(self._missing)
        self._found: dict[HashRequest, bytes] = {}
        self._sources: dict[Peer, _Source] = {}

    def ask(self, peer: Peer, now: int) -> None:
        """Ask a peer for as much as it may be asked for. Call it once a second, too."""
        source = self._sources.setdefault(peer, _Source())
        for part, since in list(source.asked.items()):
            if now - since > ANSWER_TIMEOUT_US:
                self._fail(source, part, now)
        while self._missing and len(source.asked) < AHEAD and now >= source.resume_at:
            part = self._missing.popleft()
            source.asked[part] = now
            peer.send(part)

    def on_hashes(self, peer: Peer, message: Hashes, now: int) -> None:
        """Take an answer; one that was not asked for, or comes too late, is ignored."""
        part = message.request
        source = self._sources.get(peer)
        if source is None or source.asked.pop(part, None) is None:
            return
        if not _is_genuine(message, self._counts[part.root]):
            self._missing.append(part)
            self._on_liar(peer, "hashes that do not lead to their root", now)
            return
        source.failures = 0
        self._found[part] = message.hashes[: part.length * HASH_SIZE]
        self._left -= 1
        if self._left:
            self.ask(peer, now)
        else:
            self._on_found(self._layers())

    def on_reject(self, peer: Peer, message: HashReject, now: int) -> None:
        """The peer will not, so that others are asked; later it may."""
        source = self._sources.get(peer)
        if source is not None and message.request in source.asked:
            self._fail(source, message.request, now)

    def on_gone(self, peer: Peer) -> None:
        """What it owes is for others."""
        source = self._sources.pop(peer, None)
        if source is not None:
            self._missing.extend(source.asked)

    def _fail(self, source: _Source, part: HashRequest, now: int) -> None:
        del source.asked[part]
        self._missing.append(part)
        source.on_failed(now)

    def _layers(self) -> dict[bytes, bytes]:
        return {
            root: b"".join([self._found[part] for part in parts])[: self._counts[root] * HASH_SIZE]
            for root, parts in self._parts.items()
        }


def _parts(root: bytes, count: int, base: int) -> list[HashRequest]:
    """Return the requests for a layer, each with the proof up to below the root."""
    levels = width_of(count).bit_length() - 1
    parts = []
    for index in range(0, count, PART_LENGTH):
        length = min(PART_LENGTH, max(2, width_of(count - index)))  # BEP 52: two or more.
        parts.append(HashRequest(root, base, index, length, levels - 1))
    return parts


def _is_genuine(message: Hashes, count: int) -> bool:
    part, data = message.request, message.hashes
    levels = width_of(count).bit_length() - 1
    uncle_count = levels - (part.length.bit_length() - 1)
    if len(data) != (part.length + uncle_count) * HASH_SIZE:
        return False
    hashes = [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]
    return root_of_proof(hashes[: part.length], part.index, hashes[part.length :]) == part.root
