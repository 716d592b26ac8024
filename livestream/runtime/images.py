"""The pieces that were read last, in memory for those who download from us (`ImageCache`)."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from livestream.wire.image import PieceImage

__all__ = ["ImageCache"]

SPARES_MAX: Final = 4  # More than as many threads read at once, and little memory beside the cache.


class ImageCache:
    """Keeps images, those used last the longest, and has their memory used again.

    Fresh memory costs a page fault each 4 KiB, which was a seventh of what a seed did. What was
    handed to a connection is seen to be in use still by the buffer's own count of who looks at it.

    Invariant: never more than `bytes_max` bytes, unless a single image is longer.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._images: OrderedDict[int, PieceImage] = OrderedDict()
        self._bytes = 0
        self._spares: deque[bytearray] = deque(maxlen=SPARES_MAX)

    def get(self, index: int) -> PieceImage | None:
        """Return a piece if it is here."""
        image = self._images.get(index)
        if image is not None:
            self._images.move_to_end(index)
        return image

    def put(self, image: PieceImage) -> None:
        """Keep a piece, and let others go."""
        replaced = self._images.pop(image.index, None)
        self._bytes += len(image) - (len(replaced) if replaced is not None else 0)
        self._images[image.index] = image
        while self._bytes > self._bytes_max and len(self._images) > 1:
            _, oldest = self._images.popitem(last=False)
            self._bytes -= len(oldest)
            self._spares.append(oldest.buffer)

    def make(self, index: int, size: int) -> PieceImage:
        """Return an image whose data is yet to be written. Safe to use from any thread."""
        try:
            spare = self._spares.popleft()
        except IndexError:
            return PieceImage(index, size)
        return PieceImage(index, size, spare if _is_unused(spare) else None)


def _is_unused(buffer: bytearray) -> bool:
    """Whether no memoryview of a buffer is left: with one, Python does not let it be resized."""
    try:
        last = buffer.pop()
    except BufferError:
        return False
    buffer.append(last)  # There is room for it: nothing is moved.
    return True
