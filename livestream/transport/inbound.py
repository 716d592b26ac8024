"""The bytes that a stream receives: where they go, and the messages that they make (`Inbound`)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from struct import Struct
from typing import Final

from livestream.machine import Event
from livestream.transport.connection import (
    BlocksPlaced,
    BlocksReceived,
    KeepAliveReceived,
    MessageReceived,
    RequestsReceived,
)
from livestream.wire.image import (
    BLOCK_BYTES,
    BLOCK_HEADER,
    BLOCK_HEADER_BYTES,
    LENGTH_OVERHEAD,
    PIECE_ID,
)
from livestream.wire.messages import HANDSHAKE_SIZE, MESSAGE_BYTES_MAX

__all__ = ["Inbound"]

BUFFER_BYTES: Final = 256 * 1024  # Read at once: sixteen blocks.
GREETING_BUFFER_BYTES: Final = 4 * 1024  # Until the handshake: callers cost little.
PLACES_MAX: Final = 32  # Blocks read at once to where they belong.
REQUEST_ID: Final = 6
REQUEST: Final = Struct("!IBIII")  # Length, id, index, begin, length of the block.
REQUEST_LENGTH: Final = 13  # Without its length prefix.


class Inbound:
    """Turns bytes into events; expected blocks are read straight to where they belong.

    Most of what a download receives is blocks in the order in which they were asked for. Those
    are read into their pieces, the headers between them into a buffer of their own, and that is
    compared with the headers that should come: one comparison for 32 blocks. Where anything else
    comes, the bytes are put together again and parsed message by message.

    Invariant: `_buffer[_start:_end]` is the unfinished message, at most MESSAGE_BYTES_MAX, and is
    empty while `_placed` bytes of the first expected block's message have come.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        "Why no more can be read."
        self._buffer = bytearray(GREETING_BUFFER_BYTES)
        self._start = 0
        self._end = 0
        self._has_handshake = False
        self._expected: OrderedDict[tuple[int, int], memoryview] = OrderedDict()
        self._placed = 0
        self._headers = bytearray()
        self._slots: list[memoryview] = []
        "Of `_headers`, one a block."
        self._offered: list[tuple[tuple[int, int], memoryview]] = []

    # Expectations

    @property
    def expected_count(self) -> int:
        """How many blocks are expected yet."""
        return len(self._expected)

    def expect(self, blocks: Sequence[tuple[int, int, memoryview]]) -> None:
        """Read these blocks, (piece, begin, place), to their places when they come."""
        if not self._slots and blocks:
            self._headers = bytearray(PLACES_MAX * BLOCK_HEADER_BYTES)
            size = len(self._headers)
            self._slots = [
                memoryview(self._headers)[at : at + BLOCK_HEADER_BYTES]
                for at in range(0, size, BLOCK_HEADER_BYTES)
            ]
        for index, begin, place in blocks:
            self._expected[index, begin] = place

    def forget(self, index: int, begin: int) -> None:
        """Do not touch this block's place any more."""
        if self._placed and next(iter(self._expected)) == (index, begin):
            self._take_back(self._placed)
            self._placed = 0
        self._expected.pop((index, begin), None)

    def forget_piece(self, index: int) -> None:
        """Do not touch any place of this piece any more."""
        for key in [key for key in self._expected if key[0] == index]:
            self.forget(*key)

    # Bytes

    def place(self, view: memoryview) -> tuple[int, list[tuple[int, int]]]:
        """Take the expected blocks, in their order, with which bytes begin that are here already.

        Nothing is touched but for what was expected just so; the last block may be unfinished.

        Returns:
            How many bytes that were, and which blocks are whole now.
        """
        at, size, begun = 0, len(view), self._placed
        placed: list[tuple[int, int]] = []
        for key, place in self._expected.items() if self._start == self._end else ():
            stop = at + BLOCK_HEADER_BYTES + len(place) - begun
            if not begun:
                if size - at < BLOCK_HEADER_BYTES:
                    break
                length, kind, index, begin = BLOCK_HEADER.unpack_from(view, at)
                is_next = (index, begin) == key and length == LENGTH_OVERHEAD + len(place)
                if not is_next or kind != PIECE_ID:
                    break
                at += BLOCK_HEADER_BYTES
                begun = BLOCK_HEADER_BYTES
            filled = begun - BLOCK_HEADER_BYTES
            if stop > size:
                place[filled : filled + size - at] = view[at:]
                self._placed = begun + size - at
                self._headers[:BLOCK_HEADER_BYTES] = _header(key, place)
                at = size
                break
            place[filled:] = view[at:stop]
            placed.append(key)
            at = stop
            self._placed = begun = 0
        for key in placed:
            del self._expected[key]
        return at, placed

    def spaces(self, wanted: int = BUFFER_BYTES * PLACES_MAX) -> list[memoryview]:
        """Return where the next bytes go, in order; never nothing, nor much more than wanted."""
        self._offered = []
        if self._start == self._end and self._expected:
            return self._places(min(PLACES_MAX, 2 + wanted // BLOCK_BYTES))
        if self._end == len(self._buffer):
            self._make_space(1)
        return [memoryview(self._buffer)[self._end :]]

    def filled(self, count: int) -> list[Event]:
        """Return what so many more bytes in `spaces` mean.

        Blocks in the events are good until `rewind`. See whether there is a `problem` then.
        """
        events: list[Event] = []
        if self._offered:
            self._compare(count + self._placed, events)
        else:
            self._end += count
        if self._start != self._end:
            self._parse(events)
            if self._start == self._end and not events:
                events.append(KeepAliveReceived())
        return events

    def rewind(self) -> None:
        """Move the unfinished message to the front; call when all events were taken."""
        rest = self._end - self._start
        if self._start:
            unfinished = self._buffer[self._start : self._end]
            if len(self._buffer) > BUFFER_BYTES and rest <= BUFFER_BYTES // 2:
                self._buffer = bytearray(BUFFER_BYTES)  # A large message is over.
            self._buffer[:rest] = unfinished
            self._start, self._end = 0, rest
        if self._has_handshake:
            self._settle(rest)

    # Straight to the pieces

    def _places(self, count: int) -> list[memoryview]:
        self._offered = offered = list(islice(self._expected.items(), count))
        spaces = [place for _, place in offered for _ in (0, 1)]
        spaces[::2] = self._slots[: len(offered)]
        if self._placed:
            spaces[:2] = [self._offered[0][1][self._placed - BLOCK_HEADER_BYTES :]]
        return spaces

    def _compare(self, count: int, events: list[Event]) -> None:
        """Take `count` bytes from the first offered header on, as far as they are expected."""
        whole, rest = 0, count
        for _, place in self._offered:
            size = BLOCK_HEADER_BYTES + len(place)
            if rest < size:
                break
            whole += 1
            rest -= size
        right = self._count_right(whole, 1 if self._placed else 0)
        placed = [key for key, _ in self._offered[:right]]
        others = self._sort_out(right, whole, placed)
        right += len(others)
        rest += sum(BLOCK_HEADER_BYTES + len(place) for _, place in self._offered[right:whole])
        if right:
            self._placed = 0
        is_next = right < len(self._offered) and self._offered[right][0] not in others
        if self._placed or (rest >= BLOCK_HEADER_BYTES and is_next and self._is_right(right)):
            self._placed = rest
        elif rest:
            self._take_back(rest, right)
        for key, data in others.items():  # Only now: what was taken back may have been there.
            self._expected[key][:] = data
        placed += others
        for key in placed:
            del self._expected[key]
        if placed:
            events.append(BlocksPlaced(placed))
        if self._placed and others:
            self._bring_forward(*self._offered[right][0])
        self._offered = []

    def _count_right(self, count: int, known: int) -> int:
        """Return how many of the first headers are what was expected."""
        pack = BLOCK_HEADER.pack
        wanted = b"".join(
            [
                pack(LENGTH_OVERHEAD + len(place), PIECE_ID, index, begin)
                for (index, begin), place in self._offered[known:count]
            ]
        )
        start = known * BLOCK_HEADER_BYTES
        if self._headers[start : start + len(wanted)] == wanted:
            return count
        return next(at for at in range(known, count) if not self._is_right(at))

    def _sort_out(
        self, first: int, stop: int, placed: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], bytes]:
        """Return the blocks that came in another order, as far as nothing else is among them."""
        found: dict[tuple[int, int], bytes] = {}
        for number in range(first, stop):
            place = self._offered[number][1]
            at = number * BLOCK_HEADER_BYTES
            length, kind, index, begin = BLOCK_HEADER.unpack_from(self._headers, at)
            key = index, begin
            wanted = self._expected.get(key)
            if kind != PIECE_ID or wanted is None or key in found or key in placed:
                break
            if length != LENGTH_OVERHEAD + len(place) or len(wanted) != len(place):
                break
            found[key] = bytes(place)
        return found

    def _is_right(self, number: int) -> bool:
        if number >= len(self._offered):
            return False
        at = number * BLOCK_HEADER_BYTES
        header = _header(*self._offered[number])
        return self._headers[at : at + BLOCK_HEADER_BYTES] == header

    def _take_back(self, rest: int, first: int = 0) -> None:
        """Put the last `rest` bytes together again, for parsing as whatever they are."""
        if self._placed and not self._offered:
            key, place = next(iter(self._expected.items()))
            parts: list[bytes | bytearray | memoryview] = [_header(key, place), place]
        else:
            parts = []
            for number, (_, place) in enumerate(self._offered[first:], first):
                at = number * BLOCK_HEADER_BYTES
                parts += [self._headers[at : at + BLOCK_HEADER_BYTES], place]
        data = b"".join(parts)[:rest]
        if len(self._buffer) - self._end < len(data):
            self._make_space(len(data))
        self._buffer[self._end : self._end + len(data)] = data
        self._end += len(data)

    def _settle(self, rest: int) -> None:
        """If the unfinished message is an expected block, the rest of it goes where it belongs."""
        if rest < BLOCK_HEADER_BYTES or not self._expected or self._placed:
            return
        _, kind, index, begin = BLOCK_HEADER.unpack_from(self._buffer)
        place = self._expected.get((index, begin)) if kind == PIECE_ID else None
        size = rest - BLOCK_HEADER_BYTES
        if place is None or self._buffer[:BLOCK_HEADER_BYTES] != _header((index, begin), place):
            return
        place[:size] = memoryview(self._buffer)[BLOCK_HEADER_BYTES:rest]
        self._start = self._end = 0
        self._placed = rest
        self._headers[:BLOCK_HEADER_BYTES] = self._buffer[:BLOCK_HEADER_BYTES]
        if next(iter(self._expected)) != (index, begin):
            self._bring_forward(index, begin)

    def _bring_forward(self, index: int, begin: int) -> None:
        """The other side chose another order: what follows in that piece comes next."""
        following = [key for key in self._expected if key[0] == index and key[1] >= begin]
        for key in sorted(following, reverse=True):
            self._expected.move_to_end(key, last=False)

    # Message by message

    def _make_space(self, size: int) -> None:
        """Take another buffer, with room for so many more bytes at least."""
        rest = self._end - self._start
        grown = bytearray(max(BUFFER_BYTES, 2 * rest, rest + size))
        grown[: self._end - self._start] = memoryview(self._buffer)[self._start : self._end]
        self._end -= self._start
        self._start = 0
        self._buffer = grown

    def _parse(self, events: list[Event]) -> None:
        buffer, position, end = self._buffer, self._start, self._end
        if not self._has_handshake:
            if end - position < HANDSHAKE_SIZE:
                return
            self._has_handshake = True
            events.append(MessageReceived(bytes(buffer[position : position + HANDSHAKE_SIZE])))
            position += HANDSHAKE_SIZE
        view = memoryview(buffer)
        while end - position >= 4:
            length = int.from_bytes(view[position : position + 4], "big")
            if length > MESSAGE_BYTES_MAX:
                self.problem = f"a message of {length} bytes"
                return
            kind = buffer[position + 4] if length and end - position > 4 else None
            stop = position + 4 + length
            if stop > end:
                break
            if kind == PIECE_ID and length > LENGTH_OVERHEAD:
                position = self._parse_blocks(view, position, events)
            elif kind == REQUEST_ID and length == REQUEST_LENGTH:
                position = self._parse_requests(view, position, events)
            else:
                if length:
                    events.append(MessageReceived(bytes(view[position + 4 : stop])))
                position = stop
        self._start = position

    def _parse_blocks(self, view: memoryview, position: int, events: list[Event]) -> int:
        """Take a run of piece messages; returns where it ends."""
        blocks: list[tuple[int, int, memoryview]] = []
        end = self._end
        while end - position >= BLOCK_HEADER_BYTES:
            length, kind, index, begin = BLOCK_HEADER.unpack_from(view, position)
            stop = position + 4 + length
            if kind != PIECE_ID or length <= LENGTH_OVERHEAD or stop > end:
                break
            blocks.append((index, begin, view[position + BLOCK_HEADER_BYTES : stop]))
            self._expected.pop((index, begin), None)
            position = stop
        events.append(BlocksReceived(blocks))
        return position

    def _parse_requests(self, view: memoryview, position: int, events: list[Event]) -> int:
        """Take a run of requests; returns where it ends."""
        requests: list[tuple[int, int, int]] = []
        whole = (self._end - position) // REQUEST.size * REQUEST.size
        for size, kind, index, begin, length in REQUEST.iter_unpack(
            view[position : position + whole]
        ):
            if kind != REQUEST_ID or size != REQUEST_LENGTH:
                break
            requests.append((index, begin, length))
        events.append(RequestsReceived(requests))
        return position + len(requests) * REQUEST.size


def _header(key: tuple[int, int], place: memoryview) -> bytes:
    return BLOCK_HEADER.pack(LENGTH_OVERHEAD + len(place), PIECE_ID, key[0], key[1])
