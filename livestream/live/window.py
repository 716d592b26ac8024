"""The sliding window of a channel: the verified pieces of the last seconds (`PieceStore`)."""

from __future__ import annotations

from collections import deque
from typing import Final

from mypy_extensions import mypyc_attr

from livestream.errors import ProtocolError
from livestream.live.head import KEYFRAMES_MAX, KeyframeMark
from livestream.live.piece import LivePiece
from livestream.live.signing import ChannelKey
from livestream.machine import MILLISECOND
from livestream.media.records import PayloadFlags
from livestream.pieces.bitfield import SlidingBitfield
from livestream.pieces.store import PieceStore
from livestream.pieces.verifier import Verdict, Verifier

__all__ = ["LiveVerifier", "LiveWindow"]

AHEAD_MAX: Final = 4_096  # Pieces beyond the newest verified one that may be taken: a minute or so.
WINDOW_BYTES_MAX: Final = 256 << 20  # Whatever the rate, memory stays below this.
KEYFRAME: Final = int(PayloadFlags.KEYFRAME)  # Of flags, `&` takes ten times what it does of ints.
DEFAULT_INTERVAL_MS: Final = 20.0  # Between pieces, until measured.


@mypyc_attr(allow_interpreted_subclasses=True)
class LiveWindow(PieceStore):
    """Pieces of one epoch, by index, as they go on the wire.

    Invariant: holds only pieces at or after `first`, captured at most `span` before the newest,
    and never more than WINDOW_BYTES_MAX of them.
    """

    def __init__(self, span_us: int) -> None:
        self.epoch: int | None = None
        self.first = 0
        self.newest = -1
        "The newest verified index; first - 1 when there is none."
        self.newest_captured_ms = 0
        self.held = SlidingBitfield()
        self.keyframes: deque[KeyframeMark] = deque(maxlen=KEYFRAMES_MAX)
        self.last: LivePiece | None = None
        "The piece stored last."
        self._span_ms = span_us // MILLISECOND
        self._data: dict[int, bytes] = {}
        self._captured_ms: dict[int, int] = {}
        self._bytes = 0
        self._interval_ms = DEFAULT_INTERVAL_MS

    def start(self, epoch: int, first: int, *, newest: int) -> None:
        """Begin an epoch with an empty window; pieces before `first` are not wanted.

        `newest` is the newest index that is known to exist, from a signed head.
        """
        self.epoch = epoch
        self.first = first
        self.newest = max(newest, first - 1)
        self.newest_captured_ms = 0
        self.held.clear(first)
        self.keyframes.clear()
        self._data.clear()
        self._captured_ms.clear()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of all pieces held."""
        return self._bytes

    def wants(self, index: int) -> bool:
        """Whether this piece is within reach and not yet held."""
        if self.epoch is None or index in self._data:
            return False
        return self.first <= index <= self.newest + AHEAD_MAX

    def holds(self, index: int) -> bool:
        """Whether the piece is in the window."""
        return index in self._data

    def get(self, index: int) -> bytes | None:
        """Return the piece as it goes on the wire, or None."""
        return self._data.get(index)

    def put(self, index: int, data: bytes, now: int) -> None:
        """Keep a verified piece and let the window slide."""
        piece = self._read(data)
        captured_ms = piece.payload.captured_ms
        self.last = piece
        self._data[index] = data
        self._captured_ms[index] = captured_ms
        self._bytes += len(data)
        self.held.add(index)
        if int(piece.payload.flags) & KEYFRAME:
            self._mark(KeyframeMark(index, captured_ms))
        if index >= self.newest or not self.newest_captured_ms:
            self._advance(index, captured_ms)
        self._slide()

    def captured_ms(self, index: int) -> int | None:
        """Return when a piece was captured: known if held, else reckoned from its neighbours."""
        known = self._captured_ms.get(index)
        if known is not None:
            return known
        if not self.newest_captured_ms:
            return None
        times = self._captured_ms
        for distance in range(1, 9):  # Asked of each missing piece, time and again.
            before = times.get(index - distance)
            if before is not None:
                return int(before + distance * self._interval_ms)
            after = times.get(index + distance)
            if after is not None:
                return int(after - distance * self._interval_ms)
        return int(self.newest_captured_ms + (index - self.newest) * self._interval_ms)

    def reckon_newest(self, unix_ms: int) -> int:
        """Return the newest index that there should be by now, going by the pieces known."""
        if not self.newest_captured_ms:
            return self.newest
        passed_ms = max(0, unix_ms - self.newest_captured_ms)
        return self.newest + min(int(passed_ms / max(self._interval_ms, 1.0)), AHEAD_MAX)

    def _read(self, data: bytes) -> LivePiece:
        return LivePiece.parse(data)

    def _advance(self, index: int, captured_ms: int) -> None:
        passed = index - self.newest
        if self.newest_captured_ms and passed > 0:
            interval = max(0.0, (captured_ms - self.newest_captured_ms) / passed)
            self._interval_ms += (min(interval, 1_000.0) - self._interval_ms) / 16
        self.newest = max(self.newest, index)
        self.newest_captured_ms = max(self.newest_captured_ms, captured_ms)

    def _mark(self, mark: KeyframeMark) -> None:
        marks = sorted({*self.keyframes, mark}, key=lambda known: known.index)
        self.keyframes = deque(marks[-KEYFRAMES_MAX:], maxlen=KEYFRAMES_MAX)

    def _slide(self) -> None:
        oldest_ms = self.newest_captured_ms - self._span_ms
        first = self.first
        while first < self.newest:
            captured_ms = self._captured_ms.get(first)
            if captured_ms is None:
                captured_ms = self.captured_ms(first) or oldest_ms
            if captured_ms >= oldest_ms and self._bytes <= WINDOW_BYTES_MAX:
                break
            data = self._data.pop(first, None)
            self._captured_ms.pop(first, None)
            self._bytes -= len(data) if data is not None else 0
            first += 1
        if first != self.first:
            self.first = first
            self.held.forget_before(first)


@mypyc_attr(allow_interpreted_subclasses=True)
class LiveVerifier(Verifier):
    """Passes what the channel's owner signed for the current epoch, and nothing else."""

    def __init__(self, key: ChannelKey, window: LiveWindow) -> None:
        self.payload_bytes_max = 0
        "Of the channel, from its head."
        self.is_source = False
        "The publisher's own: whatever others send it, by its key or not, is of another epoch."
        self._key = key
        self._window = window

    def verify(self, index: int, data: bytes) -> Verdict:
        """Judge a whole piece as it came off the wire: cheap checks first, the signature last."""
        try:
            piece = LivePiece.parse(data)
        except ProtocolError:
            return Verdict.FORGED
        if piece.index != index or len(piece.payload.data) > self.payload_bytes_max:
            return Verdict.FORGED
        if self.is_source or piece.epoch != self._window.epoch:
            return Verdict.STRANGE
        return Verdict.GENUINE if piece.is_signed_by(self._key) else Verdict.FORGED
