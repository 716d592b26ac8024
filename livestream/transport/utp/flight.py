"""One µTP train under way: its rows, and which of them have come (`Flight`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Flight", "runs"]


@dataclass(slots=True)
class Flight:
    """A train as it was sent, kept until all of it is acknowledged. Masks have a bit a row.

    Invariant: `acked`, `lost` and the rest (under way) do not overlap.
    """

    first: int
    "The first row's sequence number."
    rows: int
    data: bytes | memoryview
    "Headers and payload: what is lost is cut out of it and sent again."
    datagram_size: int
    "Of each row but the last."
    sent_at: int
    is_probe: bool = False
    "Larger than the path is known to carry."
    acked: int = 0
    lost: int = 0
    "Given up, and not sent again yet."
    resent: dict[int, int] = field(default_factory=dict)
    "Row to when it was sent again, µs."

    @property
    def end(self) -> int:
        """The sequence number after the last row's."""
        return self.first + self.rows

    @property
    def all(self) -> int:
        """A mask of every row."""
        return (1 << self.rows) - 1

    @property
    def open(self) -> int:
        """A mask of the rows that are under way."""
        return self.all & ~(self.acked | self.lost)

    def bytes_of(self, mask: int) -> int:
        """Return how long the datagrams of these rows are."""
        size = mask.bit_count() * self.datagram_size
        if mask >> (self.rows - 1):
            size += len(self.data) - self.rows * self.datagram_size
        return size

    def cut(self, row: int, count: int) -> bytearray:
        """Return a copy of some rows."""
        size = self.datagram_size
        return bytearray(self.data[row * size : (row + count) * size])


def runs(mask: int) -> Iterator[tuple[int, int]]:
    """Yield (first bit, how many) of each run of ones."""
    at = 0
    while mask:
        skip = (mask & -mask).bit_length() - 1
        mask >>= skip
        at += skip
        count = (~mask & (mask + 1)).bit_length() - 1
        yield at, count
        mask >>= count
        at += count
