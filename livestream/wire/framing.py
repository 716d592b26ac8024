"""Length-prefixed messages in a byte stream (BEP 3), after the handshake, which has no prefix."""

from __future__ import annotations

from livestream.errors import MessageDecodeError
from livestream.wire.messages import HANDSHAKE_SIZE

__all__ = ["MessageReader", "frame"]


def frame(message: bytes) -> bytes:
    """Prefix a message with its length."""
    return len(message).to_bytes(4, "big") + message


class MessageReader:
    """Cuts a byte stream into messages; keep-alives are dropped.

    Invariant: never holds more than one unfinished message of at most `message_bytes_max`.
    """

    def __init__(self, message_bytes_max: int) -> None:
        self._buffer = bytearray()
        self._limit = message_bytes_max
        self._awaits_handshake = True

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes, return the messages that they complete.

        Raises:
            MessageDecodeError: a message longer than the limit.
        """
        self._buffer += data
        messages: list[bytes] = []
        while (message := self._next()) is not None:
            if message:
                messages.append(message)
        return messages

    def __len__(self) -> int:
        return len(self._buffer)

    def _next(self) -> bytes | None:
        if self._awaits_handshake:
            if len(self._buffer) < HANDSHAKE_SIZE:
                return None
            self._awaits_handshake = False
            return self._take(0, HANDSHAKE_SIZE)
        if len(self._buffer) < 4:
            return None
        length = int.from_bytes(self._buffer[:4], "big")
        if length > self._limit:
            raise MessageDecodeError(f"a message of {length} bytes")
        return self._take(4, length) if len(self._buffer) >= 4 + length else None

    def _take(self, start: int, length: int) -> bytes:
        message = bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        return message
