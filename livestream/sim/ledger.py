"""What the publisher really sent, and when: the truth that viewers are held against (`Ledger`)."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from livestream.errors import StateError
from livestream.live.piece import LivePiece
from livestream.machine import SECOND

__all__ = ["Ledger", "Published"]


class Published(NamedTuple):
    """One piece as it was signed."""

    captured_at: int
    "World time of the capture of its first byte, µs."
    data: bytes


class Ledger:
    """Every piece of every epoch.

    Invariant: of an epoch, the pieces are in the order of their indices and of their capture.
    """

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key
        self.per_second: dict[int, int] = {}
        "Pieces by the second of their capture."
        self.payload_bytes = 0
        self._epochs: dict[int, list[Published]] = {}
        self._times: dict[int, list[int]] = {}

    def add(self, piece: LivePiece, captured_at: int) -> None:
        """Note a piece that goes on the air."""
        pieces = self._epochs.setdefault(piece.epoch, [])
        if piece.index != len(pieces):
            raise StateError(f"piece {piece.index} published after {len(pieces)} others")
        pieces.append(Published(captured_at, piece.payload.data))
        self._times.setdefault(piece.epoch, []).append(captured_at)
        self.payload_bytes += len(piece.payload.data)
        second = captured_at // SECOND
        self.per_second[second] = self.per_second.get(second, 0) + 1

    def find(self, epoch: int, index: int) -> Published | None:
        """Return what was published under this index, or None."""
        pieces = self._epochs.get(epoch, ())
        return pieces[index] if 0 <= index < len(pieces) else None

    def end_captured_by(self, epoch: int, at: int) -> int:
        """Return the end of the indices of an epoch that were captured by then."""
        return bisect_right(self._times.get(epoch, []), at)

    def count_between(self, start: int, length_us: int) -> int:
        """Return how many pieces were captured from then on, for so long."""
        return sum(
            bisect_right(times, start + length_us) - bisect_right(times, start)
            for times in self._times.values()
            if length_us > 0
        )
