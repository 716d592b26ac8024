"""What every transport offers to the peer session above it (`Connection`), and its events."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mypy_extensions import mypyc_attr

from livestream.config import Transport
from livestream.machine import Address, Event, Machine
from livestream.wire.image import BLOCK_BYTES, PieceImage
from livestream.wire.messages import Piece

__all__ = [
    "FORGOTTEN",
    "NO_ANSWER",
    "BlocksPlaced",
    "BlocksReceived",
    "Connected",
    "Connection",
    "ConnectionEvent",
    "ConnectionState",
    "Disconnected",
    "KeepAliveReceived",
    "MessageReceived",
    "RequestsReceived",
    "Transport",
]


NO_ANSWER: Final = "no answer"
"Why a connection ended that heard nothing: its transport may be blocked, and another not."
FORGOTTEN: Final = "what was lost is not sent again"
"Why a connection ended whose other side stands still: the next one does not."


class ConnectionState(Enum):
    """Where a connection is in its life; it only moves downwards."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """The handshake is done: the other side has proved `public_key`."""

    public_key: bytes
    "The other side's raw Ed25519 public key, 32 bytes; empty where a transport proves none."


@dataclass(slots=True)  # One a message: to freeze it would take longer than to make it.
class MessageReceived(Event):
    """One whole message, without its length prefix."""

    data: bytes


@dataclass(frozen=True, slots=True)
class BlocksReceived(Event):
    """Blocks of pieces, in the order in which they came: what piece messages say (BEP 3)."""

    blocks: list[tuple[int, int, memoryview]]
    "(piece, begin, data); the data is good until more is received."


@dataclass(frozen=True, slots=True)
class BlocksPlaced(Event):
    """Expected blocks that came, and are where they belong already."""

    blocks: list[tuple[int, int]]
    "(piece, begin)."


@dataclass(frozen=True, slots=True)
class RequestsReceived(Event):
    """Requests for blocks, in the order in which they came (BEP 3)."""

    requests: list[tuple[int, int, int]]
    "(piece, begin, length)."


@dataclass(frozen=True, slots=True)
class KeepAliveReceived(Event):
    """The other side has nothing to say, and is there."""


@dataclass(frozen=True, slots=True)
class Disconnected(Event):
    """The connection is over, whoever ended it. Always the last event."""

    reason: str
    is_local: bool
    "We closed it ourselves."


@mypyc_attr(allow_interpreted_subclasses=True)
class Connection(Machine):
    """Carries whole messages both ways to one address, and says when it can take more.

    The peer session never knows which transport it is on. Messages sent with `send` arrive in
    order; those sent with `send_independent` arrive whole and at any time, so that one lost
    datagram delays one of them only. A transport that cannot do that sends them in order.
    """

    transport: Transport
    address: Address
    is_outgoing: bool
    state: ConnectionState

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Queue a message on the ordered stream. Ignored once closed."""

    def send_later(self, message: bytes, by: int) -> None:
        """Queue a message that may wait for a datagram which goes anyway, until `by` (µs).

        It stays in order with those of `send`, and `close` drops it. A transport may as well
        send it now.
        """
        self.send(message)

    @abstractmethod
    def send_independent(self, message: bytes, deadline: int) -> None:
        """Queue a message that is worth nothing after `deadline` (µs) and may then be cancelled."""

    def send_many(self, messages: Sequence[bytes]) -> None:
        """Queue messages, in order."""
        for message in messages:
            self.send(message)

    def send_block(self, index: int, begin: int, data: memoryview) -> None:
        """Queue a block of a piece, in order. A transport that can, does not copy it."""
        self.send(Piece(index, begin, bytes(data)).to_bytes())

    def send_blocks(self, image: PieceImage, first: int, count: int) -> None:
        """Queue a run of whole blocks of a piece. A transport that can, copies nothing."""
        for block in range(first, first + count):
            begin = block * BLOCK_BYTES
            data = image.data(begin, begin + image.block_length(block))
            self.send_block(image.index, begin, memoryview(data))

    def expect(self, blocks: Sequence[tuple[int, int, memoryview]]) -> None:
        """Let these blocks, (piece, begin, place), be read straight to their places.

        Until they are forgotten nobody else writes there. A transport may as well report them in
        `BlocksReceived`, and leave the places alone.
        """

    def forget(self, index: int, begin: int | None = None) -> None:
        """Do not touch the place of this block any more, or of any block of this piece."""

    def keep_alive(self) -> None:
        """Send next to nothing, where that shows whether the other side still hears us."""

    @abstractmethod
    def reserve(self, rate_bps: int) -> None:
        """Let congestion control go no lower than this rate needs: it was promised to the peer."""

    @abstractmethod
    def close(self, reason: str, now: int) -> None:
        """Say goodbye and end. `Disconnected` follows."""

    @property
    @abstractmethod
    def backlog_bytes(self) -> int:
        """Bytes accepted from the caller that have not left yet."""

    @property
    @abstractmethod
    def rtt_us(self) -> int:
        """Smoothed round-trip time; an assumption until measured."""

    @property
    def unanswered_at(self) -> int | None:
        """When the oldest left of what the other side has yet to acknowledge (µs).

        None: nothing waits for that, or the transport does not tell.
        """
        return None


@dataclass(slots=True)
class ConnectionEvent(Event):
    """Something that a connection reports, as an endpoint passes it on."""

    connection: Connection
    event: Event
