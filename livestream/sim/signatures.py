"""Signatures of a simulation: each is truly checked once, by whoever meets it first (`Notary`).

A thousand viewers would check the same pieces a thousand times over, which is most of what they
do; the answer cannot differ from one to the other. They share one copy of each, too.
"""

from __future__ import annotations

from typing import Final

from livestream.errors import ProtocolError
from livestream.live.piece import LivePiece
from livestream.live.signing import ChannelKey
from livestream.live.window import LiveVerifier, LiveWindow
from livestream.pieces.verifier import Verdict

__all__ = ["Notary", "NotaryKey", "NotaryVerifier", "SharedWindow"]

_INDEX: Final = 4  # Where a piece has its index (`live/piece.py`); a hint, no more.
REMEMBERED_MAX: Final = 4_096  # Answers: 32 MiB of pieces, a minute of any one channel.


class Notary:
    """Remembers which pieces and heads of one channel were found genuine, and which were not.

    Invariant: an answer is given from memory only for the very bytes that were checked before.
    """

    def __init__(self, public_key: bytes) -> None:
        self.checks = 0
        "Signatures truly checked."
        self._key = ChannelKey(public_key)
        self._pieces: dict[bytes, tuple[bytes, LivePiece | None]] = {}
        self._by_index: dict[bytes, tuple[bytes, LivePiece | None]] = {}
        "The newest answer for each index: to compare the bytes takes a tenth of hashing them."
        self._messages: dict[tuple[bytes, bytes, bytes], bool] = {}

    def piece(self, data: bytes) -> tuple[bytes, LivePiece | None]:
        """Return the shared copy of these bytes, and what they say if they are genuine."""
        index = data[_INDEX : _INDEX + 4]
        found = self._by_index.get(index)
        if found is not None and found[0] == data:
            return found
        found = self._pieces.get(data)
        if found is None:
            self.checks += 1
            if len(self._pieces) >= REMEMBERED_MAX:
                forgotten = next(iter(self._pieces))
                del self._pieces[forgotten]
                self._by_index.pop(forgotten[_INDEX : _INDEX + 4], None)
            found = self._pieces[data] = data, self._genuine(data)
        if found[1] is not None:
            self._by_index[index] = found
        return found

    def verifies(self, domain: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the channel's owner signed this message in this domain."""
        question = domain, message, signature
        found = self._messages.get(question)
        if found is None:
            self.checks += 1
            if len(self._messages) >= REMEMBERED_MAX:
                del self._messages[next(iter(self._messages))]
            found = self._messages[question] = self._key.verifies(domain, message, signature)
        return found

    def _genuine(self, data: bytes) -> LivePiece | None:
        try:
            piece = LivePiece.parse(data)
        except ProtocolError:
            return None
        return piece if piece.is_signed_by(self._key) else None


class NotaryKey(ChannelKey):
    """A channel's key whose answers are remembered."""

    __slots__ = ("_notary",)

    def __init__(self, raw: bytes, notary: Notary) -> None:
        super().__init__(raw)
        self._notary = notary

    def verifies(self, domain: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the channel's owner signed `message` in this domain."""
        return self._notary.verifies(domain, message, signature)


class NotaryVerifier(LiveVerifier):
    """Judges as `LiveVerifier` does, with the notary's word for the signature."""

    def __init__(self, key: ChannelKey, window: LiveWindow, notary: Notary) -> None:
        super().__init__(key, window)
        self._notary = notary
        self._shown = window

    def verify(self, index: int, data: bytes) -> Verdict:
        """Judge a whole piece as it came off the wire."""
        _, piece = self._notary.piece(data)
        if piece is None:
            return super().verify(index, data)  # It says why not, and in which order it looks.
        if piece.index != index or len(piece.payload.data) > self.payload_bytes_max:
            return Verdict.FORGED
        return Verdict.GENUINE if piece.epoch == self._shown.epoch else Verdict.STRANGE


class SharedWindow(LiveWindow):
    """A window whose pieces are the notary's copies."""

    def __init__(self, span_us: int, notary: Notary) -> None:
        super().__init__(span_us)
        self._notary = notary

    def put(self, index: int, data: bytes, now: int) -> None:
        """Keep a verified piece and let the window slide."""
        super().put(index, self._notary.piece(data)[0], now)

    def _read(self, data: bytes) -> LivePiece:
        _, piece = self._notary.piece(data)
        return super()._read(data) if piece is None else piece
