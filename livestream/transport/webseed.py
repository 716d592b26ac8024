"""A web server that has a torrent's files, as one more peer (BEP 19): `WebSeed`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from livestream.config import Transport
from livestream.errors import MessageDecodeError
from livestream.machine import MILLISECOND, SECOND, Address, Event, Train
from livestream.transport.connection import (
    BlocksReceived,
    Connected,
    Connection,
    ConnectionState,
    Disconnected,
    MessageReceived,
)
from livestream.transport.fetch import (
    Fetch,
    FileRun,
    Part,
    PendingBlock,
    ResponseHead,
    retry_after_us,
)
from livestream.wire import bencode, messages
from livestream.wire.messages import (
    Cancel,
    Extended,
    Handshake,
    HaveAll,
    Message,
    Reject,
    Request,
    Unchoke,
)

__all__ = ["WebSeed", "WebSource"]

RANGE_BYTES_MAX: Final = 4 << 20  # Of one request: long enough that its round trip costs little.
SECOND_BYTES: Final = 1 << 20  # So much is worth a second request, whatever the first brings.
FETCHES_MAX: Final = 2  # So that the next answer is on its way when the first ends.
REQUESTS_TAKEN: Final = 500  # As many as are ever sent to one peer: 8 MiB.
LOOK_US: Final = 60 * SECOND  # How often it is looked whether blocks come.
RTT_ASSUMED_US: Final = 100 * MILLISECOND
PEER_ID_PREFIX: Final = b"-WS0019-"


class WebSource(ABC):
    """Where a web server has the files of a torrent."""

    info_hash: bytes
    url: str
    "As the torrent names it; what files' URLs are made of."

    @abstractmethod
    def runs(self, index: int, begin: int, length: int) -> Iterable[FileRun]:
        """Yield the runs in files that a block of a piece is, in order."""


class WebSeed(Connection):
    """Answers as a peer would that has everything, and chokes nobody; asks nothing itself.

    The driver carries out the fetches and feeds in what comes of them. The first that fails
    ends the connection, as a peer's would end that breaks the protocol.

    Invariant: a block is in `_blocks` from its request until it is reported, rejected or
    cancelled; the parts of it that no fetch is for yet are in `_queue`, `_queued` bytes in all.
    """

    def __init__(
        self, address: Address, source: WebSource, on_change: Callable[[WebSeed], None], now: int
    ) -> None:
        self.transport = Transport.HTTP
        self.address = address
        self.is_outgoing = True
        self.state = ConnectionState.CONNECTED
        self.source = source
        self.failure = ""
        "Why it ended, if the server is to blame."
        self.retry_after_us: int | None = None
        "For how long the server wants to be left alone; None: it did not say."
        self.has_given = False
        "Whether any block came."
        self._on_change = on_change
        self._has_handshake = False
        self._blocks: dict[tuple[int, int], PendingBlock] = {}
        self._queue: deque[Part] = deque()
        self._queued = 0
        self._fetches: dict[Fetch, None] = {}
        self._aborted: list[Fetch] = []
        self._events: deque[Event] = deque([Connected(b"")])
        self._looks_at = now + LOOK_US
        self._is_late = False
        on_change(self)

    # For the driver

    def next_fetch(self) -> Fetch | None:
        """Return a request that is to go out, or None.

        A second one goes out only when as much waits as the first still brings, or a good deal:
        else each block that comes would make for one tiny request.
        """
        pending = sum(fetch.remaining for fetch in self._fetches)
        if len(self._fetches) >= FETCHES_MAX or self._queued < min(pending, SECOND_BYTES):
            return None
        fetch: Fetch | None = None
        while self._queue:
            part = self._queue[0]
            if not part.block.is_cancelled:
                if fetch is None:
                    fetch = Fetch(part)
                elif not fetch.extend(part, RANGE_BYTES_MAX):
                    break
            self._queue.popleft()
            self._queued -= part.run.length
        if fetch is not None:
            self._fetches[fetch] = None
        return fetch

    def take_aborted(self) -> list[Fetch]:
        """Return the fetches that nobody wants the rest of, since last asked."""
        aborted, self._aborted = self._aborted, []
        return aborted

    def receive_head(self, fetch: Fetch, head: ResponseHead) -> None:
        """Take the status and the fields of a response."""
        if fetch in self._fetches and (failure := fetch.receive_head(head)):
            self.retry_after_us = retry_after_us(head)
            self._fail(failure)

    def receive_body(self, fetch: Fetch, data: bytes | memoryview) -> None:
        """Take bytes of a response."""
        if fetch not in self._fetches:
            return
        done = fetch.receive_body(data)
        if done:
            self.has_given = True
            self._is_late = False
            self._deliver(done)
        if not fetch.remaining:
            del self._fetches[fetch]
            self._on_change(self)

    def receive_end(self, fetch: Fetch) -> None:
        """The response is over."""
        if fetch in self._fetches:
            self._fail(f"an answer that ended {fetch.remaining} bytes early")

    def fail(self, fetch: Fetch, reason: str) -> None:
        """The response did not come, or broke off."""
        if fetch in self._fetches:
            self._fail(reason)

    def is_under_way(self, fetch: Fetch) -> bool:
        """Whether more of a response is wanted."""
        return fetch in self._fetches

    # Connection

    def send(self, message: bytes) -> None:
        """Take a message to the web seed; the first one is the handshake."""
        if self.state is ConnectionState.CLOSED:
            return
        try:
            if not self._has_handshake:
                self._greet(Handshake.parse(message))
                return
            heard = messages.parse(message)
        except MessageDecodeError:
            return  # What we send is sound; what is new to this machine is of no interest to it.
        if isinstance(heard, Request):
            self._on_request(heard)
        elif isinstance(heard, Cancel):
            self._on_cancel(heard)

    def send_independent(self, message: bytes, deadline: int) -> None:
        """Take a message, in order."""
        self.send(message)

    def send_block(self, index: int, begin: int, data: memoryview) -> None:
        """Drop it: a web seed asks for nothing."""

    def reserve(self, rate_bps: int) -> None:
        """Nothing to do: congestion control is the kernel's."""

    def close(self, reason: str, now: int) -> None:
        """End."""
        self._finish(reason, is_local=True)

    @property
    def backlog_bytes(self) -> int:
        """Nothing waits: a web seed is sent requests only."""
        return 0

    @property
    def rtt_us(self) -> int:
        """Return an assumption."""
        return RTT_ASSUMED_US

    # The five verbs

    def receive_train(self, train: Train, now: int) -> None:
        """Drop it: a web seed's bytes come by fetch."""

    def trains_to_send(self, now: int) -> list[Train]:
        """Return nothing: a web seed has fetches instead."""
        return []

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return None if self.state is ConnectionState.CLOSED else self._looks_at

    def handle_timer(self, now: int) -> None:
        """Give up a server that gives no block for a minute; say that an idle one is there."""
        if self.state is ConnectionState.CLOSED or now < self._looks_at:
            return
        self._looks_at = now + LOOK_US
        if not self._blocks:
            self._is_late = False
            self._say(Unchoke())  # Silence would end the session: this says nothing new.
        elif self._is_late:
            self._fail("nothing came for a minute")
        else:
            self._is_late = True

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    # Messages

    def _greet(self, handshake: Handshake) -> None:
        self._has_handshake = True
        peer_id = PEER_ID_PREFIX + sha256(self.source.url.encode()).digest()[:12]
        self._events.append(MessageReceived(Handshake(handshake.info_hash, peer_id).to_bytes()))
        greeting: dict[bytes, bencode.Value] = {
            b"m": {},
            b"reqq": REQUESTS_TAKEN,
            b"upload_only": 1,
            b"v": f"web seed {urlsplit(self.source.url).hostname}".encode(),
        }
        for message in (Extended(0, bencode.encode(greeting)), HaveAll(), Unchoke()):
            self._say(message)

    def _on_request(self, request: Request) -> None:
        index, begin, length = request.index, request.begin, request.length
        if (index, begin) in self._blocks:
            return
        if len(self._blocks) >= REQUESTS_TAKEN:
            self._say(Reject(index, begin, length))
            return
        block = PendingBlock(index, begin, length)
        self._blocks[index, begin] = block
        offset = 0
        for run in self.source.runs(index, begin, length):
            if run.url:
                self._queue.append(Part(block, offset, run))
                self._queued += run.length
            else:
                block.missing -= run.length  # Padding (BEP 47): the buffer has its zeros.
            offset += run.length
        if not block.missing:
            self._deliver([block])
        self._on_change(self)

    def _on_cancel(self, cancel: Cancel) -> None:
        block = self._blocks.pop((cancel.index, cancel.begin), None)
        if block is None:
            return
        block.is_cancelled = True
        self._say(Reject(cancel.index, cancel.begin, cancel.length))  # BEP 6: it must be answered.
        for fetch in [fetch for fetch in self._fetches if not fetch.is_wanted]:
            del self._fetches[fetch]
            self._aborted.append(fetch)

    # Helpers

    def _deliver(self, done: Iterable[PendingBlock]) -> None:
        blocks = []
        for block in done:
            self._blocks.pop((block.index, block.begin), None)
            blocks.append((block.index, block.begin, memoryview(block.buffer)))
        self._events.append(BlocksReceived(blocks))
        self._on_change(self)

    def _say(self, message: Message) -> None:
        self._events.append(MessageReceived(message.to_bytes()))
        self._on_change(self)

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._finish(reason, is_local=False)

    def _finish(self, reason: str, *, is_local: bool) -> None:
        if self.state is ConnectionState.CLOSED:
            return
        self.state = ConnectionState.CLOSED
        self._aborted += self._fetches
        self._fetches.clear()
        self._queue.clear()
        self._queued = 0
        self._blocks.clear()
        self._events.append(Disconnected(reason, is_local))
        self._on_change(self)
