"""A piece in the form in which it travels: every block behind its header (`PieceImage`; BEP 3)."""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = ["BLOCK_BYTES", "BLOCK_HEADER", "BLOCK_HEADER_BYTES", "PIECE_ID", "PieceImage"]

BLOCK_BYTES: Final = 16 * 1024  # BEP 3: what all clients ask for, and all that many serve.
PIECE_ID: Final = 7
BLOCK_HEADER: Final = Struct("!IBII")  # Length, id, index, begin.
BLOCK_HEADER_BYTES: Final = 13
LENGTH_OVERHEAD: Final = 9  # Of a piece message beyond its block, without the length prefix.
STRIDE: Final = BLOCK_HEADER_BYTES + BLOCK_BYTES


class PieceImage:
    """One piece's blocks as piece messages, one after the other in one buffer.

    A run of blocks that a peer asked for is one slice of it: no work for each block.

    Invariant: the headers are right from the start; the data is whatever was written to `places`.
    """

    def __init__(self, index: int, size: int, spare: bytearray | None = None) -> None:
        """Make an image of a piece of `size` bytes, in a spare buffer if that is as long."""
        self.index = index
        self.size = size
        self.count = -(-size // BLOCK_BYTES)
        length = size + self.count * BLOCK_HEADER_BYTES
        buffer = bytearray(length) if spare is None or len(spare) != length else spare
        self.buffer: Final = buffer
        pack = BLOCK_HEADER.pack_into
        for block in range(self.count):
            begin = block * BLOCK_BYTES
            length = LENGTH_OVERHEAD + min(BLOCK_BYTES, size - begin)
            pack(buffer, block * STRIDE, length, PIECE_ID, index, begin)
        self._view = memoryview(buffer)

    def __len__(self) -> int:
        """Return the bytes of memory that it takes."""
        return len(self._view)

    def block_length(self, block: int) -> int:
        """Return the bytes of a block: the last one may be shorter."""
        return min(BLOCK_BYTES, self.size - block * BLOCK_BYTES)

    def places(self) -> list[memoryview]:
        """Return where the data of every block belongs, in order."""
        view = self._view
        return [view[at + BLOCK_HEADER_BYTES : at + STRIDE] for at in range(0, len(view), STRIDE)]

    def messages(self, first: int, count: int) -> memoryview:
        """Return the piece messages of `count` blocks from `first` on."""
        return self._view[first * STRIDE : (first + count) * STRIDE]

    def data(self, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of the piece, without headers."""
        parts = []
        while start < stop:
            block, offset = divmod(start, BLOCK_BYTES)
            length = min(stop - start, BLOCK_BYTES - offset)
            at = block * STRIDE + BLOCK_HEADER_BYTES + offset
            parts.append(self._view[at : at + length])
            start += length
        return b"".join(parts)
