"""Which pieces a peer holds, for a window that slides (live)."""

from __future__ import annotations

from typing import Final

__all__ = ["SlidingBitfield"]

SPAN_MAX: Final = 1 << 14  # Bits kept; a claim further ahead moves the window, never grows it.


class SlidingBitfield:
    """A set of piece indexes above a rising `first`, as bits of one integer.

    Invariant: bit i of `_bits` stands for piece `first + i`; never more than SPAN_MAX bits.
    """

    __slots__ = ("_bits", "first")

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self._bits = 0

    def __contains__(self, index: int) -> bool:
        return index >= self.first and bool(self._bits >> (index - self.first) & 1)

    def __len__(self) -> int:
        return self._bits.bit_count()

    @property
    def end(self) -> int:
        """One past the newest piece held; `first` when empty."""
        return self.first + self._bits.bit_length()

    def add(self, index: int) -> None:
        """Note one piece; those before `first` are ignored."""
        if index < self.first:
            return
        if index - self.first >= SPAN_MAX:
            self.forget_before(index - SPAN_MAX // 2)
        self._bits |= 1 << (index - self.first)

    def replace(self, start: int, held: int, count: int) -> None:
        """Set pieces `[start, start + count)` to the bits of `held` (bit i: start + i)."""
        if start < self.first:
            held >>= self.first - start
            count -= self.first - start
            start = self.first
        if count <= 0:
            return
        if start + count - self.first > SPAN_MAX:
            self.forget_before(start)
        shift = start - self.first
        mask = ((1 << count) - 1) << shift
        self._bits = (self._bits & ~mask) | ((held << shift) & mask)

    def bits_from(self, start: int) -> int:
        """Return what is held from `start` on (bit i: start + i); nothing if it is far ahead."""
        if start >= self.first:
            return self._bits >> (start - self.first)
        # A peer may claim what is billions of pieces ahead: so many bits would fill the memory.
        ahead = self.first - start
        return self._bits << ahead if ahead < SPAN_MAX else 0

    def forget_before(self, first: int) -> None:
        """Slide: drop all pieces before `first`."""
        if first > self.first:
            self._bits >>= first - self.first
            self.first = first

    def clear(self, first: int = 0) -> None:
        """Start again, empty."""
        self.first = first
        self._bits = 0
