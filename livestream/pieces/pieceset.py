"""A set of piece indexes of fixed size, dense: what a torrent peer holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from livestream.errors import MessageDecodeError

__all__ = ["PieceSet"]


class PieceSet:
    """Which of `count` pieces are in. Shape of `flags`: (count,), bool.

    Invariant: `held` is the number of true flags.
    """

    __slots__ = ("flags", "held")

    def __init__(self, count: int) -> None:
        self.flags: NDArray[np.bool_] = np.zeros(count, dtype=np.bool_)
        self.held = 0

    @classmethod
    def from_bytes(cls, bits: bytes, count: int) -> PieceSet:
        """Parse a bitfield message's bits (BEP 3), most significant first.

        Raises:
            MessageDecodeError: another length than `count` asks for, or spare bits set.
        """
        if len(bits) != (count + 7) // 8:
            raise MessageDecodeError(f"bitfield of {len(bits)} bytes for {count} pieces")
        unpacked = np.unpackbits(np.frombuffer(bits, dtype=np.uint8))
        if unpacked[count:].any():
            raise MessageDecodeError("bitfield with spare bits set")
        pieces = cls(count)
        pieces.flags = unpacked[:count].astype(np.bool_)
        pieces.held = int(pieces.flags.sum())
        return pieces

    def to_bytes(self) -> bytes:
        """Serialise as a bitfield message's bits."""
        return np.packbits(self.flags).tobytes()

    def __len__(self) -> int:
        return len(self.flags)

    def __contains__(self, index: int) -> bool:
        return bool(self.flags[index])

    @property
    def is_full(self) -> bool:
        """Whether every piece is in."""
        return self.held == len(self.flags)

    def add(self, index: int) -> bool:
        """Put a piece in; False if it was in already."""
        if self.flags[index]:
            return False
        self.flags[index] = True
        self.held += 1
        return True

    def add_all(self, indexes: Sequence[int]) -> None:
        """Put many pieces in at once."""
        self.flags[np.asarray(indexes, dtype=np.intp)] = True
        self.held = int(self.flags.sum())

    def discard(self, index: int) -> None:
        """Take a piece out."""
        if self.flags[index]:
            self.flags[index] = False
            self.held -= 1

    def fill(self) -> None:
        """Put every piece in."""
        self.flags[:] = True
        self.held = len(self.flags)
