"""BitTorrent's byte stream (BEP 3) as a machine: what TCP carries, without TCP (`Stream`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from livestream.machine import MILLISECOND, SECOND, Address, Event, Train, earliest
from livestream.transport.company import Company
from livestream.transport.connection import (
    NO_ANSWER,
    BlocksPlaced,
    Connected,
    Connection,
    ConnectionState,
    Disconnected,
    Transport,
)
from livestream.transport.inbound import Inbound
from livestream.wire.image import BLOCK_HEADER, LENGTH_OVERHEAD, PIECE_ID, PieceImage

__all__ = ["Stream"]

MUCH: Final = 32  # Blocks: half a megabyte.
TAIL_BYTES_MAX: Final = 16 * 1024  # Small messages are joined up to this.
BATCH_BUFFERS: Final = 128
BATCH_BYTES: Final = 1 << 20
KEEP_ALIVE_US: Final = 110 * SECOND  # Others hang up after two minutes of silence.
CONNECT_TIMEOUT_US: Final = 15 * SECOND
RTT_ASSUMED_US: Final = 100 * MILLISECOND
# Unsent bytes: twice what uploads leave at most. Whoever asks for more and does not read is let go.
BACKLOG_MAX: Final = 8 << 20


class Stream(Connection):
    """One TCP connection's messages: what comes is read and parsed in place (`Inbound`).

    A `BlocksReceived` event refers to the read buffer, so events are taken before the next read.

    Invariant: the first thing each way is a handshake, which has no length prefix; `_backlog`
    counts the bytes in `_out`; `_perishable` has the messages with a deadline of which no byte
    was sent, in the order of `_out`.
    """

    def __init__(
        self, address: Address, on_change: Callable[[Stream], None], now: int, *, is_outgoing: bool
    ) -> None:
        self.transport = Transport.TCP
        self.address = address
        self.is_outgoing = is_outgoing
        self.state = ConnectionState.CONNECTING
        self.rtt_measured_us: int | None = None
        "For the driver to set, from what the kernel says."
        self.silent_since: int | None = None
        "When the oldest left of what nothing was heard of; for a driver that knows."
        self.on_reserve: Callable[[int], None] | None = None
        "For a driver that can: keep the window above what this rate (bit/s) needs."
        self._on_change = on_change
        self._inbound = Inbound()
        self.bytes_uncounted = 0
        "Accepted for sending since the endpoint last counted."
        self._out: deque[bytes | bytearray | memoryview] = deque()
        self._perishable: deque[tuple[bytes, int]] = deque()
        self._tail: bytearray | None = None
        self._company = Company()
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

    def discard(self) -> None:
        """What is not sent yet will not go: the budget has it back."""
        self._out.clear()
        self._perishable.clear()
        self._tail = None
        self._count(-self._backlog)

    def spaces(self) -> list[memoryview]:
        """Return where the next bytes go, in order; never nothing."""
        return self._inbound.spaces()

    def filled(self, count: int, now: int) -> None:
        """Parse so many more bytes in `spaces`."""
        if self.state is not ConnectionState.CONNECTED:
            return
        self._events += self._inbound.filled(count)
        self._on_change(self)
        if self._inbound.problem is not None:
            self._finish(self._inbound.problem, is_local=True)

    @property
    def has_much_to_come(self) -> bool:
        """Whether many blocks are expected yet: nothing is lost by reading them a little later."""
        return self._inbound.expected_count > MUCH

    def rewind(self) -> None:
        """Make room for more, unless events that were not taken yet refer to what is there."""
        if not self._events:
            self._inbound.rewind()

    def receive_data(self, data: bytes | bytearray | memoryview, now: int) -> None:
        """Take bytes from wherever they are; for drivers that have them already."""
        view = memoryview(data)
        while view and self.state is ConnectionState.CONNECTED:
            taken, placed = self._inbound.place(view)
            if placed:
                self._report(BlocksPlaced(placed))
            if not taken:
                taken = self.receive_some(view, now)
            view = view[taken:]

    def receive_some(self, view: memoryview, now: int) -> int:
        """Take as many bytes as one read would; returns how many."""
        count, size = 0, len(view)
        for space in self._inbound.spaces(size):
            part = view[count : count + len(space)]
            space[: len(part)] = part
            count += len(part)
            if count == size:
                break
        self.filled(count, now)
        return count

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
        if self.state is ConnectionState.CONNECTED:
            self._timer = now + KEEP_ALIVE_US
        out = self._out
        while count:
            size = len(out[0])
            if self._perishable and self._perishable[0][0] is out[0]:
                self._perishable.popleft()  # What was begun must be ended.
            if count < size:
                out[0] = memoryview(out[0])[count:]
                return
            out.popleft()
            count -= size

    # Connection

    def send(self, message: bytes) -> None:
        """Queue a message; the first one is the handshake."""
        self.end_wait()
        if self.state is ConnectionState.CLOSED:
            return
        data = len(message).to_bytes(4, "big") + message if self._sent_handshake else message
        self._sent_handshake = True
        self._append(data)

    def send_later(self, message: bytes, by: int) -> None:
        """Queue a message that goes with the next one, and alone at `by`."""
        if self.state is not ConnectionState.CLOSED:
            self._company.add(message, by)
            self._on_change(self)

    @property
    def is_waiting(self) -> bool:
        """Whether a message waits for something that it goes along with."""
        return self._company.until is not None

    def end_wait(self) -> None:
        """Something goes: what waits for that goes along with it."""
        if self._company.until is not None:
            self.send_many(self._company.take())

    def send_many(self, messages: Sequence[bytes]) -> None:
        """Queue messages as one run of bytes."""
        self.end_wait()
        if self.state is not ConnectionState.CLOSED and messages:
            self._append(b"".join([len(each).to_bytes(4, "big") + each for each in messages]))

    def send_independent(self, message: bytes, deadline: int) -> None:
        """Queue a message, in order; unless it has begun to go by `deadline`, it does not."""
        self.end_wait()
        if self.state is ConnectionState.CLOSED:
            return
        data = len(message).to_bytes(4, "big") + message
        self._perishable.append((data, deadline))
        self._out.append(data)
        self._tail = None
        self._count(len(data))
        self._on_change(self)

    def send_block(self, index: int, begin: int, data: memoryview) -> None:
        """Queue a piece message without copying the block."""
        if self.state is ConnectionState.CLOSED:
            return
        size = len(data)
        self._append(BLOCK_HEADER.pack(LENGTH_OVERHEAD + size, PIECE_ID, index, begin))
        if not self._out:
            return  # That was too much.
        self._out.append(data)
        self._tail = None
        self._count(size)
        self._on_change(self)

    def send_blocks(self, image: PieceImage, first: int, count: int) -> None:
        """Queue a run of piece messages as one slice of the piece's image."""
        if self.state is ConnectionState.CLOSED:
            return
        messages = image.messages(first, count)
        self._out.append(messages)
        self._tail = None
        self._count(len(messages))
        self._on_change(self)

    def expect(self, blocks: Sequence[tuple[int, int, memoryview]]) -> None:
        """Read these blocks to their places."""
        self._inbound.expect(blocks)

    def forget(self, index: int, begin: int | None = None) -> None:
        """Do not touch the place of this block any more, or of any block of this piece."""
        if begin is None:
            self._inbound.forget_piece(index)
        else:
            self._inbound.forget(index, begin)

    def keep_alive(self) -> None:
        """Send a keep-alive message (BEP 3), unless something is on its way out anyway."""
        is_open = self.state is ConnectionState.CONNECTED
        if is_open and self._sent_handshake and not self._backlog:
            self._append(bytes(4))

    def reserve(self, rate_bps: int) -> None:
        """Tell a driver whose window is its own; TCP's is the kernel's."""
        if self.on_reserve is not None:
            self.on_reserve(rate_bps)

    def close(self, reason: str, now: int) -> None:
        """End, after what was accepted for sending, as far as the driver gets that out."""
        if self.state is ConnectionState.CONNECTED:
            self._end(reason, is_local=True)
        else:
            self._finish(reason, is_local=True)

    @property
    def backlog_bytes(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._backlog

    @property
    def rtt_us(self) -> int:
        """The kernel's smoothed round-trip time; 100 ms until it is known."""
        return RTT_ASSUMED_US if self.rtt_measured_us is None else self.rtt_measured_us

    @property
    def unanswered_at(self) -> int | None:
        """Over µTP, since when nothing was heard (µs); the kernel's TCP does not tell."""
        return self.silent_since

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
        first = earliest(self._timer, self._company.until)
        return earliest(first, *(deadline for _, deadline in self._perishable))

    def handle_timer(self, now: int) -> None:
        """Give up connecting, keep the connection alive, drop what is late."""
        self._drop_late(now)
        if self._company.until is not None and self._company.until <= now:
            self.end_wait()
        if self._timer is None or now < self._timer:
            return
        if self.state is ConnectionState.CONNECTING:
            self._finish(NO_ANSWER, is_local=False)
        elif self.state is ConnectionState.CONNECTED:
            self._timer = now + KEEP_ALIVE_US
            self.keep_alive()

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    # Helpers

    def _count(self, size: int) -> None:
        self._backlog += size
        self.bytes_uncounted += size

    def _drop_late(self, now: int) -> None:
        late = {id(data): len(data) for data, deadline in self._perishable if deadline <= now}
        if not late:
            return
        self._perishable = deque(each for each in self._perishable if each[1] > now)
        self._out = deque(data for data in self._out if id(data) not in late)
        self._count(-sum(late.values()))
        self._on_change(self)

    def _append(self, data: bytes) -> None:
        self._count(len(data))
        tail = self._tail
        if tail is not None and len(tail) < TAIL_BYTES_MAX:
            tail += data
        else:
            self._tail = bytearray(data)
            self._out.append(self._tail)
        self._on_change(self)
        if self._backlog > BACKLOG_MAX:
            self._finish("does not read what it asks for", is_local=True)

    def _report(self, event: Event) -> None:
        self._events.append(event)
        self._on_change(self)

    def _finish(self, reason: str, *, is_local: bool) -> None:
        if self.state is not ConnectionState.CLOSED:
            self.discard()
            self._end(reason, is_local=is_local)

    def _end(self, reason: str, *, is_local: bool) -> None:
        self.state = ConnectionState.CLOSED
        self._timer = None
        self._perishable.clear()
        self._company.take()
        self._inbound = Inbound()  # No place is touched any more, and no memory kept.
        self._report(Disconnected(reason, is_local))
