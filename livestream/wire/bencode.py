"""Bencoding (BEP 3): a strict, iterative, bounded decoder, and the encoder."""

from __future__ import annotations

from typing import Final, TypeAlias

from livestream.errors import MessageDecodeError

__all__ = ["DEPTH_MAX", "Value", "decode", "decode_prefix", "decode_with_span", "encode"]

Value: TypeAlias = int | bytes | list["Value"] | dict[bytes, "Value"]

DEPTH_MAX: Final = 100  # No real message nests deeper than ten; recursion would crash before us.
DIGITS_MAX: Final = 20  # Enough for 2^64.


def encode(value: Value) -> bytes:
    """Serialise; keys are sorted as BEP 3 asks."""
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def _encode(value: Value, parts: list[bytes]) -> None:
    if isinstance(value, int):
        parts.append(b"i%de" % value)
    elif isinstance(value, bytes):
        parts.append(b"%d:" % len(value) + value)
    elif isinstance(value, list):
        parts.append(b"l")
        for item in value:
            _encode(item, parts)
        parts.append(b"e")
    else:
        parts.append(b"d")
        for key in sorted(value):
            parts.append(b"%d:" % len(key) + key)
            _encode(value[key], parts)
        parts.append(b"e")


def decode(data: bytes, *, allow_unsorted: bool = False) -> Value:
    """Parse one value that fills `data`.

    Raises:
        MessageDecodeError: anything that is not canonical bencoding, or nests too deep.
    """
    return _Decoder(data, allow_unsorted).decode()


def decode_with_span(data: bytes, key: bytes) -> tuple[Value, tuple[int, int] | None]:
    """Parse one value, and say where the value of a key of its outermost dictionary stands.

    An info-hash is over the bytes as they are: keys out of order are accepted, and encoding the
    value again could give others.

    Raises:
        MessageDecodeError: as `decode`.
    """
    decoder = _Decoder(data, allow_unsorted=True, span_key=key)
    value = decoder.decode()
    return value, decoder.span


def decode_prefix(data: bytes) -> tuple[Value, int]:
    """Parse one value that `data` begins with, and say where it ends.

    Raises:
        MessageDecodeError: as `decode`, bytes after the end aside.
    """
    decoder = _Decoder(data, allow_unsorted=True)
    return decoder.decode_first(), decoder.end


class _Decoder:
    """Walks the bytes once with a stack of its own: depth is a limit, never a crash."""

    def __init__(self, data: bytes, allow_unsorted: bool, span_key: bytes | None = None) -> None:
        self.span: tuple[int, int] | None = None
        self._span_key = span_key
        self._span_start = 0
        self._data = data
        self._at = 0
        self._allow_unsorted = allow_unsorted
        self._stack: list[list[Value] | dict[bytes, Value]] = []
        self._keys: list[bytes | None] = []

    @property
    def end(self) -> int:
        """Where the parsed value ends."""
        return self._at

    def decode(self) -> Value:
        """Parse one value that fills the data."""
        value = self.decode_first()
        if self._at != len(self._data):
            raise MessageDecodeError("bencoding: bytes after the end")
        return value

    def decode_first(self) -> Value:
        """Parse the value that the data begins with."""
        while (done := self._step()) is None:
            pass
        return done

    def _step(self) -> Value | None:
        """Read one token; the outermost value when it is complete."""
        token = self._data[self._at : self._at + 1]
        if token in (b"l", b"d"):
            if len(self._stack) >= DEPTH_MAX:
                raise MessageDecodeError("bencoding: nested too deep")
            self._at += 1
            self._stack.append([] if token == b"l" else {})
            self._keys.append(None)
            return None
        if token == b"e" and self._stack:
            if self._keys[-1] is not None:
                raise MessageDecodeError("bencoding: a key without a value")
            self._at += 1
            self._keys.pop()
            return self._place(self._stack.pop())
        if token == b"i":
            return self._place(self._integer())
        return self._place(self._string())

    def _place(self, value: Value) -> Value | None:
        if not self._stack:
            return value
        parent = self._stack[-1]
        if isinstance(parent, list):
            parent.append(value)
            return None
        key = self._keys[-1]
        if key is None:
            if not isinstance(value, bytes):
                raise MessageDecodeError("bencoding: a key that is no string")
            last = next(reversed(parent), None)
            is_sorted = last is None or last < value
            if value in parent or not (is_sorted or self._allow_unsorted):
                raise MessageDecodeError("bencoding: keys repeated or out of order")
            self._keys[-1] = value
            if len(self._stack) == 1 and value == self._span_key:
                self._span_start = self._at
            return None
        parent[key] = value
        if len(self._stack) == 1 and key == self._span_key:
            self.span = self._span_start, self._at
        self._keys[-1] = None
        return None

    def _integer(self) -> int:
        end = self._data.find(b"e", self._at, self._at + DIGITS_MAX + 3)
        digits = self._data[self._at + 1 : end] if end > 0 else b""
        number = digits[1:] if digits.startswith(b"-") else digits
        is_canonical = number.isdigit() and (number[:1] != b"0" or digits == b"0")
        if not is_canonical:
            raise MessageDecodeError("bencoding: not an integer")
        self._at = end + 1
        return int(digits)

    def _string(self) -> bytes:
        colon = self._data.find(b":", self._at, self._at + DIGITS_MAX)
        digits = self._data[self._at : colon] if colon > 0 else b""
        if not digits.isdigit() or (digits[:1] == b"0" and digits != b"0"):
            raise MessageDecodeError("bencoding: not a string")
        end = colon + 1 + int(digits)
        if end > len(self._data):
            raise MessageDecodeError("bencoding: a string longer than the message")
        self._at = end
        return self._data[colon + 1 : end]
