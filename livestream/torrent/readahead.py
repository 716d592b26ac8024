"""What players are about to read of a torrent in progress, most urgent first (`ReadAhead`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from livestream.pieces.pieceset import PieceSet

__all__ = ["ReadAhead", "Reader"]

AHEAD_BYTES: Final = 16 << 20  # A minute of 2 Mbit/s; two seconds of a fast link.
AHEAD_PIECES_MIN: Final = 4  # Of large pieces, so that not everybody works on one.
URGENT_MAX: Final = 256


@dataclass(slots=True, eq=False)
class Reader:
    """Somebody who reads bytes [position, stop) of the torrent, in order."""

    position: int
    stop: int


class ReadAhead:
    """Orders the missing pieces by how soon a reader comes to them.

    Invariant: at most URGENT_MAX pieces are urgent, whatever the readers ask for.
    """

    def __init__(self, piece_length: int) -> None:
        self._piece_length = piece_length
        self._readers: dict[Reader, None] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nobody reads."""
        return not self._readers

    def add(self, reader: Reader) -> None:
        """Somebody begins to read."""
        self._readers[reader] = None

    def remove(self, reader: Reader) -> None:
        """Somebody has stopped."""
        self._readers.pop(reader, None)

    def urgent(self, held: PieceSet) -> list[int]:
        """Return the missing pieces that readers come to next, nearest first."""
        length = self._piece_length
        ahead = max(AHEAD_BYTES, AHEAD_PIECES_MIN * length)
        distances: dict[int, int] = {}
        for reader in self._readers:
            first = reader.position // length
            last = (min(reader.stop, reader.position + ahead) - 1) // length
            for index in range(first, last + 1):
                if index not in held:
                    distance = index - first
                    distances[index] = min(distance, distances.get(index, distance))
        return sorted(distances, key=lambda index: (distances[index], index))[:URGENT_MAX]
