"""BitTorrent's byte stream (BEP 3) as a machine: what TCP carries, without TCP (`Stream`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

from livestream.machine import MILLISECOND, SECOND, Address, Event, Train, earliest
from livestream.transport.connection import (
    BlocksReceived,
    Connected,
    Connection,
    ConnectionState,
    Disconnected,
    KeepAliveReceived,
    MessageReceived,
)
from livestream.wire.messages import HANDSHAKE_SIZE, MESSAGE_BYTES_MAX

__all__ = ["Stream"]

BUFFER_BYTES: Final = 256 * 1024  # Read at once: sixteen blocks.
GREETING_BUFFER_BYTES: Final = 4 * 1024  # Until the handshake: callers cost little.
PIECE_ID: Final = 7
PIECE_HEADER: Final = Struct("!IBII")  # Length, id, index, begin.
PIECE_HEADER_SIZE: Final = 9  # Of a piece message, without its length prefix.
TAIL_BYTES_MAX: Final = 16 * 1024  # Small messages are joined up to this.
BATCH_BUFFERS: Final = 128
BATCH_BYTES: Final = 1 << 20
KEEP_ALIVE_US: Final = 110 * SECOND  # Others hang up after two minutes of silence.
CONNECT_TIMEOUT_US: Final = 15 * SECOND
RTT_ASSUMED_US: Final = 100 * MILLISECOND
# Unsent bytes: twice what uploads leave at most. Whoever asks for more and does not read is let go.
BACKLOG_MAX: Final = 8 << 20


class Stream(Connection):
    """One TCP connection's messages. Bytes are read into its own buffer and parsed in place.

    A `BlocksReceived` event refers to that buffer, so events are taken before the next read.

    Invariant: `_buffer[_start:_end]` is the unfinished message, at most MESSAGE_BYTES_MAX; the
    first thing each way is a handshake, which has no length prefix.
    """

    def __init__(
        self, address: Address, on_change: Callable[[Stream], None], now: int, *, is_outgoing: bool
    ) -> None:
        self.address = address
        self.is_outgoing = is_outgoing
        self.state = ConnectionState.CONNECTING
        self.rtt_measured_us: int | None = None
        "For the driver to set, from what the kernel says."
        self._on_change = on_change
        self._buffer = bytearray(GREETING_BUFFER_BYTES)
        self._start = 0
        self._end = 0
        self._has_handshake = False
        self._out: deque[bytes | bytearray | memoryview] = deque()
        self._tail: bytearray | None = None
        self._backlog = 0
        self._sent_handshake = False
        self._events: deque[Event] = deque()
        self._timer: int | None = now + CONNECT_TIMEOUT_US

    # For the driver

    def connected(self, now: int) -> None:
        """The socket is up."""
        if self.state is ConnectionState.CONNECTING:
            self.state = ConnectionState.CONNECTED
            self._timer = now + KEEP_ALIVE_US
            self._report(Connected(b""))

    def lost(self, reason: str) -> None:
        """The socket is gone."""
        self._finish(reason, is_local=False)

    def get_buffer(self) -> memoryview:
        """Return where the next bytes go; never empty."""
        if self._end == len(self._buffer):
            self._make_space()
        return memoryview(self._buffer)[self._end :]

    def buffer_updated(self, count: int, now: int) -> None:
        """Parse what came in."""
        self._end += count
        if self.state is ConnectionState.CONNECTED:
            self._parse(now)

    def receive_data(self, data: bytes | memoryview, now: int) -> None:
        """Take bytes from wherever they are; for drivers that have them already."""
        view = memoryview(data)
        while view and self.state is ConnectionState.CONNECTED:
            space = self.get_buffer()
            count = min(len(space), len(view))
            space[:count] = view[:count]
            space.release()
            self.buffer_updated(count, now)
            view = view[count:]

    def buffers_to_send(self) -> Sequence[bytes | bytearray | memoryview]:
        """Return what goes out next, for one vectored write; tell `sent` how much of it did."""
        self._tail = None
        buffers: list[bytes | bytearray | memoryview] = []
        size = 0
        for buffer in self._out:
            buffers.append(buffer)
            size += len(buffer)
            if len(buffers) >= BATCH_BUFFERS or size >= BATCH_BYTES:
                break
        return buffers

    def sent(self, count: int, now: int) -> None:
        """So many bytes of `buffers_to_send` have gone."""
        self._backlog -= count
        self._timer = now + KEEP_ALIVE_US
        out = self._out
        while count:
            size = len(out[0])
            if count < size:
                out[0] = memoryview(out[0])[count:]
                return
            out.popleft()
            count -= size

    # Connection

    def send(self, message: bytes) -> None:
        """Queue a message; the first one is the handshake."""
        if self.state is ConnectionState.CLOSED:
            return
        data = len(message).to_bytes(4, "big") + message if self._sent_handshake else message
        self._sent_handshake = True
        self._append(data)

    def send_many(self, messages: Sequence[bytes]) -> None:
        """Queue messages as one run of bytes."""
        if self.state is not ConnectionState.CLOSED and messages:
            self._append(b"".join([len(each).to_bytes(4, "big") + each for each in messages]))

    def send_independent(self, message: bytes, deadline: int) -> None:
        """Queue a message, in order: a stream knows no other way."""
        self.send(message)

    def send_block(self, index: int, begin: int, data: memoryview) -> None:
        """Queue a piece message without copying the block."""
        if self.state is ConnectionState.CLOSED:
            return
        size = len(data)
        self._append(PIECE_HEADER.pack(PIECE_HEADER_SIZE + size, PIECE_ID, index, begin))
        if not self._out:
            return  # That was too much.
        self._out.append(data)
        self._tail = None
        self._backlog += size

    def reserve(self, rate_bps: int) -> None:
        """Nothing to do: congestion control is the kernel's."""

    def close(self, reason: str, now: int) -> None:
        """End."""
        self._finish(reason, is_local=True)

    @property
    def backlog_bytes(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._backlog

    @property
    def rtt_us(self) -> int:
        """The kernel's smoothed round-trip time; 100 ms until it is known."""
        return RTT_ASSUMED_US if self.rtt_measured_us is None else self.rtt_measured_us

    # The five verbs

    def receive_train(self, train: Train, now: int) -> None:
        """Take bytes, in virtual time."""
        self.receive_data(train.data, now)

    def trains_to_send(self, now: int) -> list[Train]:
        """Return bytes, in virtual time."""
        trains = []
        while buffers := self.buffers_to_send():
            data = b"".join(buffers)
            trains.append(Train(self.address, data, len(data)))
            self.sent(len(data), now)
        return trains

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return earliest(self._timer)

    def handle_timer(self, now: int) -> None:
        """Give up connecting, or keep the connection alive."""
        if self._timer is None or now < self._timer:
            return
        if self.state is ConnectionState.CONNECTING:
            self._finish("no answer", is_local=False)
        elif self.state is ConnectionState.CONNECTED:
            self._timer = now + KEEP_ALIVE_US
            if self._sent_handshake and not self._backlog:
                self._append(bytes(4))

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    # Helpers

    def _append(self, data: bytes) -> None:
        self._backlog += len(data)
        tail = self._tail
        if tail is not None and len(tail) < TAIL_BYTES_MAX:
            tail += data
        else:
            self._tail = bytearray(data)
            self._out.append(self._tail)
        self._on_change(self)
        if self._backlog > BACKLOG_MAX:
            self._finish("does not read what it asks for", is_local=True)

    def _make_space(self) -> None:
        """The buffer is full: take another, large enough for the message that did not fit."""
        grown = bytearray(max(BUFFER_BYTES, 2 * (self._end - self._start)))
        grown[: self._end - self._start] = memoryview(self._buffer)[self._start : self._end]
        self._end -= self._start
        self._start = 0
        self._buffer = grown

    def _parse(self, now: int) -> None:
        buffer, position, end = self._buffer, self._start, self._end
        if not self._has_handshake:
            if end - position < HANDSHAKE_SIZE:
                return
            self._has_handshake = True
            self._events.append(
                MessageReceived(bytes(buffer[position : position + HANDSHAKE_SIZE]))
            )
            position += HANDSHAKE_SIZE
        view = memoryview(buffer)
        blocks: list[tuple[int, int, memoryview]] = []
        while end - position >= 4:
            length = int.from_bytes(view[position : position + 4], "big")
            stop = position + 4 + length
            if length > MESSAGE_BYTES_MAX:
                self._finish(f"a message of {length} bytes", is_local=True)
                return
            if stop > end:
                break
            if length > PIECE_HEADER_SIZE and buffer[position + 4] == PIECE_ID:
                _, _, index, begin = PIECE_HEADER.unpack_from(buffer, position)
                data = view[position + 4 + PIECE_HEADER_SIZE : stop]
                blocks.append((index, begin, data))
            elif length:
                if blocks:
                    self._events.append(BlocksReceived(blocks))
                    blocks = []
                self._events.append(MessageReceived(bytes(view[position + 4 : stop])))
            position = stop
        if blocks:
            self._events.append(BlocksReceived(blocks))
        self._parsed_to(position)

    def _parsed_to(self, position: int) -> None:
        """Everything before this was taken; if that was empty messages only, it is a sign too."""
        if position != self._start and not self._events:
            self._events.append(KeepAliveReceived())
        self._start = position
        self._on_change(self)

    def rewind(self) -> None:
        """Move the unfinished message to the front; call when all events were taken."""
        rest = self._end - self._start
        if self._start:
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._start, self._end = 0, rest

    def _report(self, event: Event) -> None:
        self._events.append(event)
        self._on_change(self)

    def _finish(self, reason: str, *, is_local: bool) -> None:
        if self.state is ConnectionState.CLOSED:
            return
        self.state = ConnectionState.CLOSED
        self._timer = None
        self._out.clear()
        self._tail = None
        self._backlog = 0
        self._report(Disconnected(reason, is_local))
