"""How old pieces are when they come: the part of the lag that is the network's (`Arrivals`)."""

from __future__ import annotations

from statistics import median
from typing import Final

__all__ = ["Arrivals"]

PIECES_MAX: Final = 4_096  # In a second: 8 KiB each, 270 Mbit/s. Further ones count for nothing.


class Arrivals:
    """The ages of pieces on arrival, second by second.

    Invariant: `age_us` is that of the last whole second in which any piece came.
    """

    def __init__(self) -> None:
        self.age_us = 0
        "From capture to arrival, the median; 0: nothing has come yet."
        self._ages_us: list[int] = []

    def note_piece(self, age_us: int) -> None:
        """A piece came so long after its capture."""
        if len(self._ages_us) < PIECES_MAX:
            self._ages_us.append(age_us)

    def end_second(self) -> None:
        """A second has passed."""
        if self._ages_us:
            self.age_us = int(median(self._ages_us))
            self._ages_us = []
