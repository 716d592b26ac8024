"""What a simulated swarm shares, and stores that hold it without a copy each (`MemoryStore`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha1
from random import Random
from typing import Final

from mypy_extensions import mypyc_attr

from livestream.pieces.blockstore import BlockStore
from livestream.pieces.pieceset import PieceSet
from livestream.wire.image import BLOCK_BYTES, PieceImage

__all__ = ["Contents", "MemoryStore", "image_of"]

PIECE_BYTES: Final = 4 * BLOCK_BYTES


def image_of(index: int, piece: bytes) -> PieceImage:
    """Return a piece in the form in which it travels."""
    image = PieceImage(index, len(piece))
    at = 0
    for place in image.places():
        place[:] = piece[at : at + len(place)]
        at += len(place)
    return image


class Contents:
    """A file of random bytes, and the hashes of its pieces."""

    def __init__(self, pieces: int, piece_bytes: int = PIECE_BYTES, seed: int = 1) -> None:
        self.piece_bytes = piece_bytes
        self.count = pieces
        self.data = Random(seed).randbytes(pieces * piece_bytes)
        self.digests = [sha1(self.piece(n), usedforsecurity=False).digest() for n in range(pieces)]
        self._images: dict[int, PieceImage] = {}

    @property
    def size(self) -> int:
        """The bytes of all of it."""
        return len(self.data)

    def piece(self, index: int) -> bytes:
        """Return a piece."""
        return self.data[index * self.piece_bytes : (index + 1) * self.piece_bytes]

    def is_genuine(self, index: int, data: bytes | bytearray) -> bool:
        """Whether these are the bytes of a piece: what its hash would say, for certain."""
        return data == self.piece(index)

    def image(self, index: int) -> PieceImage:
        """Return a piece as it travels; everybody serves from the same copy."""
        image = self._images.get(index)
        if image is None:
            image = self._images[index] = image_of(index, self.piece(index))
        return image


@mypyc_attr(allow_interpreted_subclasses=True)
class MemoryStore(BlockStore):
    """Says which pieces are genuine and notes those; all stores share the bytes.

    Invariant: `held` has only pieces that were compared with the contents, byte by byte.
    """

    def __init__(
        self, contents: Contents, held: Iterable[int], on_judged: Callable[[int, bool], None]
    ) -> None:
        """Take what it holds already, and who is told of each piece that was looked at."""
        self.held = PieceSet(contents.count)
        for index in held:
            self.held.add(index)
        self._contents = contents
        self._on_judged = on_judged

    def piece_size(self, index: int) -> int:
        """Return the bytes of a piece."""
        return self._contents.piece_bytes

    def padding_size(self, index: int) -> int:
        """There is none."""
        return 0

    @property
    def has_room(self) -> bool:
        """Always: nothing is on its way to a disk."""
        return True

    def submit(self, index: int, buffer: bytearray) -> None:
        """Judge a whole piece."""
        self._on_judged(index, self._contents.is_genuine(index, buffer))

    def load(self, index: int) -> None:
        """Nothing to do: all that is held is in memory."""

    def image(self, index: int) -> PieceImage | None:
        """Return a held piece."""
        return self._contents.image(index) if index in self.held else None
