"""Trees of SHA-256 (BEP 52): their roots, and proofs that hashes belong below one (`HashLayer`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

__all__ = ["LEAF_BYTES", "HashLayer", "merkle_root", "padding_hash", "root_of_proof", "width_of"]

LEAF_BYTES: Final = 16 * 1024
HASH_SIZE: Final = 32
ZERO_LEAF: Final = bytes(HASH_SIZE)
KEPT_LEVEL: Final = 9  # Nodes over 512 hashes and more are kept; those below are quickly made.


def merkle_root(hashes: Sequence[bytes], width: int, filler: bytes = ZERO_LEAF) -> bytes:
    """Return the root of a balanced tree of `width` leaves (a power of two), padded by `filler`."""
    level = list(hashes)
    while width > 1:
        if len(level) % 2:
            level.append(filler)
        level = [sha256(level[at] + level[at + 1]).digest() for at in range(0, len(level), 2)]
        filler = sha256(filler + filler).digest()
        width //= 2
    return level[0] if level else filler


def width_of(count: int) -> int:
    """Return the leaves of the smallest balanced tree that has room for `count` hashes."""
    return 1 << max(count - 1, 0).bit_length()


@lru_cache(maxsize=64)
def padding_hash(base: int) -> bytes:
    """Return the hash of a node that lies `base` layers above leaves that are all padding."""
    return merkle_root((), 1 << base)


def root_of_proof(hashes: Sequence[bytes], index: int, uncles: Sequence[bytes]) -> bytes:
    """Return the root that hashes from `index` of their layer, and their uncles, lead to.

    The number of hashes is a power of two, and `index` is a multiple of it.
    """
    node = merkle_root(hashes, len(hashes))
    position = index // len(hashes)
    for uncle in uncles:
        node = sha256(uncle + node if position & 1 else node + uncle).digest()
        position >>= 1
    return node


class HashLayer:
    """One layer of a file's tree, `base` layers above the leaves, and all that lies above it.

    Nodes are named by (level, position): level 0 is the layer itself.
    """

    def __init__(self, hashes: bytes, base: int) -> None:
        self.base = base
        self.count = len(hashes) // HASH_SIZE
        self.levels = width_of(self.count).bit_length() - 1
        "Layers above this one; the last of them is the root alone."
        self._hashes = hashes
        self._padding = [padding_hash(base + level) for level in range(self.levels + 1)]
        self._nodes: dict[tuple[int, int], bytes] = {}

    @property
    def root(self) -> bytes:
        """What all hashes hash to."""
        return self.node(self.levels, 0)

    def part(self, index: int, length: int) -> list[bytes]:
        """Return `length` hashes from `index` on, padding included."""
        end = min(index + length, self.count)
        found = [self._hashes[at * HASH_SIZE : (at + 1) * HASH_SIZE] for at in range(index, end)]
        return found + [self._padding[0]] * (length - len(found))

    def node(self, level: int, position: int) -> bytes:
        """Return a node. It costs 512 hashes, or as many as the layer has when first asked."""
        if position << level >= self.count:
            return self._padding[level]
        if level < KEPT_LEVEL:
            end = min((position + 1) << level, self.count)
            part = self.part(position << level, end - (position << level))
            return merkle_root(part, 1 << level, self._padding[0])
        known = self._nodes.get((level, position))
        if known is None:
            left, right = self.node(level - 1, 2 * position), self.node(level - 1, 2 * position + 1)
            known = self._nodes[level, position] = sha256(left + right).digest()
        return known

    def uncles(self, level: int, position: int, top: int) -> list[bytes]:
        """Return the sibling of a node and those of its ancestors, up to level `top` inclusive."""
        return [self.node(each, (position >> (each - level)) ^ 1) for each in range(level, top + 1)]
