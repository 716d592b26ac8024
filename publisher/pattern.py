"""The test picture: a moving scene, a clock for people, and the same clock for machines.

The clock strip takes the bottom twelfth of the picture over its full width, in 48 equal columns,
one bit each; white (luma 235) is 1, black (16) is 0. From the left: sync 1010; the 32 bits of
Unix time in ms modulo 2**32, most significant first; 8 bits of checksum, the sum of those four
bytes modulo 256; sync 0101. Read each column at its centre, in the middle row of the strip.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pattern", "read_clock"]

COLUMNS: Final = 48
STRIP_SHARE: Final = 12  # The strip is one twelfth of the height.
BLACK: Final = 16  # Luma of limited range, ITU-R BT.601.
WHITE: Final = 235
SYNC_HEAD: Final = (1, 0, 1, 0)
SYNC_TAIL: Final = (0, 1, 0, 1)
CLOCK_MODULUS: Final = 2**32

# (Y, U, V) of the colour bars at 75 %, ITU-R BT.601: grey, yellow, cyan, green, magenta, red, blue.
BARS: Final = (
    (180, 128, 128),
    (162, 44, 142),
    (131, 156, 44),
    (112, 72, 58),
    (84, 184, 198),
    (65, 100, 212),
    (35, 212, 114),
)
# Rows of five bits each, top first.
GLYPHS: Final = {
    "0": (0x0E, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0E),
    "1": (0x04, 0x0C, 0x04, 0x04, 0x04, 0x04, 0x0E),
    "2": (0x0E, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1F),
    "3": (0x1F, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0E),
    "4": (0x02, 0x06, 0x0A, 0x12, 0x1F, 0x02, 0x02),
    "5": (0x1F, 0x10, 0x1E, 0x01, 0x01, 0x11, 0x0E),
    "6": (0x06, 0x08, 0x10, 0x1E, 0x11, 0x11, 0x0E),
    "7": (0x1F, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08),
    "8": (0x0E, 0x11, 0x11, 0x0E, 0x11, 0x11, 0x0E),
    "9": (0x0E, 0x11, 0x11, 0x0F, 0x01, 0x02, 0x0C),
    ":": (0x00, 0x04, 0x04, 0x00, 0x04, 0x04, 0x00),
    ".": (0x00, 0x00, 0x00, 0x00, 0x00, 0x0C, 0x0C),
}
GLYPH_COLUMNS: Final = 6  # With the space after it.
GLYPH_ROWS: Final = 7
TEXT_LENGTH: Final = 12  # HH:MM:SS.mmm

Plane = NDArray[np.uint8]


@final
class Pattern:
    """Draws the pictures, as planar YUV 4:2:0 in one array of height * 3/2 rows.

    All that stands still is drawn once; a picture costs a copy and what moves.
    """

    def __init__(self, width: int, height: int) -> None:
        """Take the size in pixels; both must be even."""
        self.width = width
        self.height = height
        self._strip_top = height - height // STRIP_SHARE
        self._glyph_size = max(1, width * 6 // 10 // (TEXT_LENGTH * GLYPH_COLUMNS))
        self._text_top = height // 4 - self._glyph_size * GLYPH_ROWS // 2
        self._text_left = (width - self._glyph_size * GLYPH_COLUMNS * TEXT_LENGTH) // 2
        self._background = self._draw_background()
        self._glyphs = {
            character: self._draw_glyph(rows, self._glyph_size)
            for character, rows in GLYPHS.items()
        }
        self._columns = np.arange(width) * COLUMNS // width
        self._ball = self._draw_ball()

    def draw(self, unix_ms: int, frame_number: int) -> Plane:
        """Return the picture of this moment.

        Args:
            unix_ms: What both clocks show.
            frame_number: Moves the scene.
        """
        picture = self._background.copy()
        luma = picture[: self.height]
        self._place_ball(picture, frame_number)
        self._place_text(luma, _local_time(unix_ms))
        luma[self._strip_top :] = clock_bits(unix_ms)[self._columns]
        return picture

    def _draw_background(self) -> Plane:
        width, height = self.width, self.height
        picture = np.full((height * 3 // 2, width), 128, dtype=np.uint8)
        luma, chroma = picture[:height], picture[height:].reshape(2, height // 2, width // 2)
        bars_end = height // 2
        bars = np.array(BARS, dtype=np.uint8)
        luma[:bars_end] = bars[np.arange(width) * len(BARS) // width, 0]
        half = np.arange(width // 2) * len(BARS) // (width // 2)
        chroma[0, : bars_end // 2] = bars[half, 1]
        chroma[1, : bars_end // 2] = bars[half, 2]
        # Below: a night sky that gets lighter to the horizon, and black behind the strip.
        rows = np.linspace(24, 90, height - bars_end).astype(np.uint8)
        luma[bars_end:] = rows[:, np.newaxis]
        chroma[0, bars_end // 2 :] = 150
        chroma[1, bars_end // 2 :] = 116
        strip = self._strip_top
        luma[strip:] = BLACK
        chroma[:, strip // 2 :] = 128
        self._draw_text_box(luma, chroma)
        return picture

    def _draw_text_box(self, luma: Plane, chroma: Plane) -> None:
        margin = self._glyph_size * 2
        top, left = max(0, self._text_top - margin) // 2, max(0, self._text_left - margin) // 2
        bottom = (self._text_top + self._glyph_size * GLYPH_ROWS + margin) // 2
        right = self.width // 2 - left
        luma[top * 2 : bottom * 2, left * 2 : right * 2] = BLACK
        chroma[:, top:bottom, left:right] = 128

    @staticmethod
    def _draw_glyph(rows: tuple[int, ...], size: int) -> Plane:
        bits = [[row >> (4 - column) & 1 for column in range(5)] + [0] for row in rows]
        luma = np.where(np.array(bits) == 1, WHITE, BLACK).astype(np.uint8)
        return np.kron(luma, np.ones((size, size), dtype=np.uint8))

    def _draw_ball(self) -> NDArray[np.bool_]:
        radius = max(2, self.height // 24) // 2 * 2
        axis = np.arange(-radius, radius) + 0.5
        return axis[:, np.newaxis] ** 2 + axis**2 <= radius**2

    def _place_ball(self, picture: Plane, frame_number: int) -> None:
        """Let a yellow ball run along the sky and bounce: a missing frame shows as a jerk."""
        size = self._ball.shape[0]
        left = _bounce(frame_number * max(2, self.width // 160), self.width - size) // 2 * 2
        top_min = self.height // 2
        rise = _bounce(frame_number * max(2, self.height // 120), self._strip_top - size - top_min)
        top = (self._strip_top - size - rise) // 2 * 2
        picture[top : top + size, left : left + size][self._ball] = 210
        chroma = picture[self.height :].reshape(2, self.height // 2, self.width // 2)
        half = np.s_[top // 2 : (top + size) // 2, left // 2 : (left + size) // 2]
        inside = self._ball[::2, ::2]
        chroma[0][half][inside] = 30
        chroma[1][half][inside] = 150

    def _place_text(self, luma: Plane, text: str) -> None:
        glyphs = np.concatenate([self._glyphs[character] for character in text], axis=1)
        rows, columns = glyphs.shape
        top, left = self._text_top, self._text_left
        luma[top : top + rows, left : left + columns] = glyphs


def clock_bits(unix_ms: int) -> Plane:
    """Return the luma of the strip's columns."""
    clock = (unix_ms % CLOCK_MODULUS).to_bytes(4, "big")
    payload = int.from_bytes(clock + bytes([sum(clock) % 256]), "big")
    bits = (*SYNC_HEAD, *(payload >> shift & 1 for shift in range(39, -1, -1)), *SYNC_TAIL)
    return np.where(np.array(bits) == 1, WHITE, BLACK).astype(np.uint8)


def read_clock(frame: NDArray[np.uint8]) -> int | None:
    """Read the machine's clock back, out of a picture of any size.

    Args:
        frame: Luma (height, width), or RGB (height, width, 3).

    Returns:
        Unix time in ms modulo 2**32; None where there is no clock, or a damaged one.
    """
    luma = frame if frame.ndim == 2 else frame.mean(axis=2)
    height, width = luma.shape
    row = round(height * (1 - 0.5 / STRIP_SHARE))
    centres = ((np.arange(COLUMNS) + 0.5) * width / COLUMNS).astype(int)
    bits = [int(value > 128) for value in luma[row, centres]]
    if tuple(bits[:4]) != SYNC_HEAD or tuple(bits[-4:]) != SYNC_TAIL:
        return None
    payload = int("".join(map(str, bits[4:-4])), 2).to_bytes(5, "big")
    if sum(payload[:4]) % 256 != payload[4]:
        return None
    return int.from_bytes(payload[:4], "big")


def _bounce(distance: int, span: int) -> int:
    """Return where something is that runs to and fro between 0 and `span`."""
    span = max(1, span)
    at = distance % (2 * span)
    return at if at <= span else 2 * span - at


def _local_time(unix_ms: int) -> str:
    moment = datetime.fromtimestamp(unix_ms // 1_000).astimezone()
    return f"{moment:%H:%M:%S}.{unix_ms % 1_000:03d}"
