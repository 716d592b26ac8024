"""The receiving half of a µTP connection: what is next, what came early (`Receiving`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from livestream.transport.utp.packet import unwrap

__all__ = ["EarlyBudget", "Receiving"]

# As many full packets as the largest window has. An acknowledgement names the first 2,016 of them;
# the others are told of when the hole is filled, and need not come again.
EARLY_ROWS_MAX: Final = 12_000
EARLY_ROW_BYTES: Final = 200  # What a packet that is kept costs beside its payload.


@dataclass(slots=True)
class EarlyBudget:
    """Bytes that all connections of an endpoint may keep of what came before its turn.

    Each may keep as much as it leaves to the others: so however many fill it, there is room for
    one more, and one alone has half of it.
    """

    left: int


class Receiving:
    """Invariant: bit i of `early` is set if and only if packet `next_seq` + 1 + i is kept."""

    def __init__(self, next_seq: int, budget: EarlyBudget) -> None:
        self.next_seq = next_seq
        self.early = 0
        self.early_bytes = 0
        self.end_seq: int | None = None
        "Of the other side's FIN; nothing comes after it."
        self._kept: dict[int, bytes] = {}
        self._budget = budget

    @property
    def is_ended(self) -> bool:
        """Whether everything up to the other side's FIN has come."""
        return self.end_seq is not None and self.next_seq > self.end_seq

    def advance(self, rows: int) -> None:
        """So many packets came in their turn, and nothing was missing."""
        self.next_seq += rows

    def end(self, seq: int) -> bool:
        """Take a FIN, 16 bits; the first one counts. Whether it was of use."""
        number = unwrap(seq, self.next_seq)
        ahead = number - self.next_seq
        beyond = self.early >> (ahead - 1) if ahead > 0 else self.early
        is_new = self.end_seq is None and 0 <= ahead <= EARLY_ROWS_MAX and not beyond
        if is_new:
            self.end_seq = number
        if self.next_seq == self.end_seq:
            self.next_seq += 1
        return is_new

    def take(self, seq: int, payload: bytes | memoryview, limit: int) -> list[bytes | memoryview]:
        """Return what is in turn now that a packet has come; nothing when it came early or again.

        Args:
            seq: Its number, 16 bits.
            payload: What it carries.
            limit: Early bytes that this connection may keep.
        """
        number = unwrap(seq, self.next_seq)
        ahead = number - self.next_seq
        if self.end_seq is not None and number >= self.end_seq:
            return []
        if ahead:
            if ahead > 0:
                self._keep(ahead, payload, limit)
            return []
        ready = [payload]
        self.next_seq += 1
        while self.early & 1:
            kept = self._kept.pop(self.next_seq)
            self._free(len(kept), 1)
            ready.append(kept)
            self.next_seq += 1
            self.early >>= 1
        self.early >>= 1  # Bit 0 stands for the packet after the one that is missing now.
        if self.next_seq == self.end_seq:
            self.next_seq += 1
        return ready

    def close(self) -> None:
        """Give back what was kept."""
        self._free(self.early_bytes, len(self._kept))
        self._kept.clear()
        self.early = 0

    def _keep(self, ahead: int, payload: bytes | memoryview, limit: int) -> None:
        size = len(payload)
        bit = 1 << (ahead - 1)
        is_room = self.early_bytes + size <= limit
        is_room = is_room and self.early_bytes + size + EARLY_ROW_BYTES <= self._budget.left
        if ahead > EARLY_ROWS_MAX or self.early & bit or not is_room:
            return
        self.early |= bit
        self._kept[self.next_seq + ahead] = bytes(payload)
        self.early_bytes += size
        self._budget.left -= size + EARLY_ROW_BYTES

    def _free(self, size: int, rows: int) -> None:
        self.early_bytes -= size
        self._budget.left += size + rows * EARLY_ROW_BYTES
