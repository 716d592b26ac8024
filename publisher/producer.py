"""What makes samples: copies them, encodes them, or draws the pictures first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from livestream.media.joiner import CapturedSample
from livestream.media.sample import Track

__all__ = ["Producer"]


class Producer(ABC):
    """Yields the samples of a channel when they are due, in the thread that iterates over it.

    Invariant: each track's dts rises strictly, and capture times never fall.
    """

    tracks: tuple[Track, ...]
    rate_bps: int
    "Nominal rate of all tracks together, bits a second."
    is_copied: bool
    "The samples are those of the source; nothing is encoded here."

    @abstractmethod
    def samples(self) -> Iterator[CapturedSample]:
        """Yield samples until the source ends. Once only.

        Raises:
            MediaError: the source breaks or cannot be used any more.
            ClosedError: the clock was closed while this waited.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the source. In the thread that iterates, or when none does."""
