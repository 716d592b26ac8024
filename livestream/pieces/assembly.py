"""A piece on its way: blocks in, in any order and from anyone, until it is whole (`Assembly`)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Generic, TypeVar

from livestream.wire.image import BLOCK_BYTES

__all__ = ["BLOCK_BYTES", "Assembly"]

A = TypeVar("A")


class Assembly(Generic[A]):
    """The blocks of one piece: who was asked for each, and who gave it.

    Invariant: `missing` counts the blocks without an author; `free` holds, last first, those
    that nobody was asked for.
    """

    __slots__ = ("asked", "authors", "buffer", "free", "index", "missing", "owner", "view")

    def __init__(self, index: int, buffer: bytearray, padding: int = 0) -> None:
        """Take a buffer of the piece's size; whatever is in it is overwritten.

        The last `padding` bytes are known to be zeros (BEP 47): blocks of nothing else are here.
        """
        count = -(-len(buffer) // BLOCK_BYTES)
        wanted = -(-(len(buffer) - padding) // BLOCK_BYTES)
        self.index = index
        self.buffer = buffer
        self.view = memoryview(buffer)
        self.missing = wanted
        self.free = list(range(wanted - 1, -1, -1))
        buffer[wanted * BLOCK_BYTES :] = bytes(max(0, len(buffer) - wanted * BLOCK_BYTES))
        # Tuples: a run of blocks shares one, and those that nobody was asked for share none.
        self.asked: list[tuple[A, ...]] = [()] * count
        self.authors: list[A | None] = [None] * count
        self.owner: A | None = None
        "Whoever is quick enough takes the piece alone, so that a bad one has one author."

    def block_length(self, block: int) -> int:
        """Return the bytes of a block: the last one of a piece may be shorter."""
        return min(BLOCK_BYTES, len(self.buffer) - block * BLOCK_BYTES)

    def put(self, block: int, data: bytes | memoryview, author: A) -> Sequence[A] | None:
        """Take a block; returns the others that were asked for it.

        None if it is here already, or is not as long as it must be.
        """
        buffer = self.buffer
        start = block * BLOCK_BYTES
        stop = start + len(data)
        is_fitting = len(data) == BLOCK_BYTES and stop <= len(buffer)
        if not is_fitting and (stop != len(buffer) or stop - start >= BLOCK_BYTES):
            return None
        if self.authors[block] is not None:
            return None
        buffer[start:stop] = data
        return self.mark(block, author)

    def mark(self, block: int, author: A) -> Sequence[A] | None:
        """Say that a block's data is in `buffer`; returns the others that were asked for it.

        None if somebody gave it before.
        """
        if self.authors[block] is not None:
            return None
        self.authors[block] = author
        self.missing -= 1
        asked = self.asked[block]
        self.asked[block] = ()
        if len(asked) == 1 and asked[0] is author:
            return ()
        if not asked:
            self.free.remove(block)
        return [peer for peer in asked if peer is not author]

    def release(self, block: int, peer: A) -> None:
        """A peer that was asked will not give this block."""
        asked = self.asked[block]
        if peer in asked:
            self.asked[block] = tuple(each for each in asked if each is not peer)
            if len(asked) == 1 and self.authors[block] is None:
                self.free.append(block)

    def digests(self) -> list[bytes]:
        """Return a digest of every block, to tell later which were wrong."""
        view = memoryview(self.buffer)
        return [
            sha1(view[start : start + BLOCK_BYTES], usedforsecurity=False).digest()
            for start in range(0, len(view), BLOCK_BYTES)
        ]
