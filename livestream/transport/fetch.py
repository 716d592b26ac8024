"""One HTTP request for a range of one file, and the blocks that its bytes make (RFC 9110, 14)."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

__all__ = ["WHOLE_FILE_BYTES_MAX", "Fetch", "FileRun", "PendingBlock", "ResponseHead"]

WHOLE_FILE_BYTES_MAX: Final = 4 << 20  # Of a file that a server without ranges sends whole.
RETRY_AFTER_MAX_S: Final = 3_600  # A server cannot send us away for longer.
CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
OK: Final = 200
PARTIAL_CONTENT: Final = 206
TOO_MANY_REQUESTS: Final = 429
SERVICE_UNAVAILABLE: Final = 503


@dataclass(frozen=True, slots=True)
class FileRun:
    """A run of bytes in one file on a web server; padding, which is zeros, has no URL."""

    url: str
    start: int
    length: int
    file_length: int


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What the head of a response says, as far as it matters here."""

    status: int
    content_range: str = ""
    content_length: int | None = None
    content_encoding: str = ""
    retry_after_s: int | None = None


class PendingBlock:
    """A block that is owed. Invariant: `missing` of the bytes of `buffer` have not come yet."""

    __slots__ = ("begin", "buffer", "index", "is_cancelled", "missing")

    def __init__(self, index: int, begin: int, length: int) -> None:
        self.index = index
        self.begin = begin
        self.buffer = bytearray(length)
        self.missing = length
        self.is_cancelled = False


@dataclass(slots=True)
class Part:
    """Where a run of a file belongs: from `offset` in `block`."""

    block: PendingBlock
    offset: int
    run: FileRun


class Fetch:
    """Bytes `[start, start + length)` of one file. Compared by identity.

    Invariant: `remaining` bytes of the range have not come; they belong to `_parts`, in order.
    """

    def __init__(self, first: Part) -> None:
        self.url = first.run.url
        self.start = first.run.start
        self.length = first.run.length
        self.remaining = first.run.length
        self._file_length = first.run.file_length
        self._parts: deque[Part] = deque([first])
        self._filled = 0  # Bytes of the first part that have come.
        self._skip = 0  # Bytes of the body that come before the range.
        self._has_head = False

    @property
    def range(self) -> str:
        """The value of the Range field that asks for it."""
        return f"bytes={self.start}-{self.start + self.length - 1}"

    @property
    def is_wanted(self) -> bool:
        """Whether anything that is still to come was not cancelled."""
        return any(not part.block.is_cancelled for part in self._parts)

    def extend(self, part: Part, length_max: int) -> bool:
        """Take a part too, if it follows and there is room for it."""
        run = part.run
        is_next = run.url == self.url and run.start == self.start + self.length
        if not is_next or self.length + run.length > length_max:
            return False
        self._parts.append(part)
        self.length += run.length
        self.remaining += run.length
        return True

    def receive_head(self, head: ResponseHead) -> str:
        """Judge the head of the response. Returns why it is of no use; empty if it is."""
        if head.content_encoding not in ("", "identity"):
            return f"an encoded answer ({head.content_encoding[:20]})"
        if head.status == PARTIAL_CONTENT:
            failure = self._judge_partial(head)
        elif head.status == OK:
            failure = self._judge_whole(head)
        else:
            failure = f"HTTP status {head.status}"
        self._has_head = not failure
        return failure

    def receive_body(self, data: bytes | memoryview) -> list[PendingBlock]:
        """Take bytes of the body. Returns the blocks that they complete."""
        done: list[PendingBlock] = []
        view = memoryview(data)
        skipped = min(self._skip, len(view))
        self._skip -= skipped
        position = skipped
        while position < len(view) and self._parts and self._has_head:
            part = self._parts[0]
            block = part.block
            count = min(part.run.length - self._filled, len(view) - position)
            at = part.offset + self._filled
            block.buffer[at : at + count] = view[position : position + count]
            position += count
            block.missing -= count
            self.remaining -= count
            self._filled += count
            if self._filled == part.run.length:
                self._parts.popleft()
                self._filled = 0
                if not block.missing and not block.is_cancelled:
                    done.append(block)
        return done

    def _judge_partial(self, head: ResponseHead) -> str:
        match = CONTENT_RANGE.fullmatch(head.content_range.strip())
        if match is None:
            return "a partial answer that does not say which part it is"
        first, last, total = match.groups()
        if int(first) != self.start or int(last) != self.start + self.length - 1:
            return "another range than was asked for"
        if total != "*" and int(total) != self._file_length:
            return f"a file of {total} bytes where the torrent has {self._file_length}"
        return ""

    def _judge_whole(self, head: ResponseHead) -> str:
        """A server may ignore ranges (RFC 9110, 14.2): small files are worth having whole."""
        if head.content_length not in (None, self._file_length):
            return (
                f"a file of {head.content_length} bytes where the torrent has {self._file_length}"
            )
        if self._file_length > WHOLE_FILE_BYTES_MAX:
            return "no support for ranges"
        self._skip = self.start
        return ""


def retry_after_us(head: ResponseHead) -> int | None:
    """Return how long a server that is too busy wants to be left alone, µs (RFC 9110, 10.2.3)."""
    if head.status not in (TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE) or head.retry_after_s is None:
        return None
    return min(max(head.retry_after_s, 1), RETRY_AFTER_MAX_S) * 1_000_000
