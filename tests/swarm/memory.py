"""A block store in memory, and peers on connections that only remember what they were told."""

from __future__ import annotations

from livestream.config import Transport
from livestream.machine import Address, Event, Train
from livestream.pieces.assembly import BLOCK_BYTES
from livestream.pieces.blockstore import BlockStore
from livestream.pieces.pieceset import PieceSet
from livestream.swarm.blockpeer import BlockPeer
from livestream.transport.connection import Connection, ConnectionState
from livestream.wire.image import PieceImage

BLOCKS = 4
PIECE_BYTES = BLOCKS * BLOCK_BYTES


class MemoryStore(BlockStore):
    """Keeps what was submitted; whether it is genuine is for the test to say."""

    def __init__(self, count: int) -> None:
        self.held = PieceSet(count)
        self.submitted: list[tuple[int, bytes]] = []
        self.room = True
        self.padding: dict[int, int] = {}

    def piece_size(self, index: int) -> int:
        return PIECE_BYTES

    def padding_size(self, index: int) -> int:
        return self.padding.get(index, 0)

    @property
    def has_room(self) -> bool:
        return self.room

    def submit(self, index: int, buffer: bytearray) -> None:
        self.submitted.append((index, bytes(buffer)))

    def load(self, index: int) -> None:
        """Everything is in memory."""

    def image(self, index: int) -> PieceImage | None:
        return PieceImage(index, PIECE_BYTES) if index in self.held else None


class QuietConnection(Connection):
    """Remembers what was sent."""

    def __init__(self, number: int, transport: Transport = Transport.TCP) -> None:
        self.transport = transport
        self.address = Address(f"192.0.2.{number}", 6881)
        self.is_outgoing = True
        self.state = ConnectionState.CONNECTED
        self.sent: list[bytes] = []
        self.nothing_heard_since: int | None = None

    @property
    def unanswered_at(self) -> int | None:
        return self.nothing_heard_since

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def send_independent(self, message: bytes, deadline: int) -> None:
        self.sent.append(message)

    def keep_alive(self) -> None:
        self.sent.append(b"")

    def reserve(self, rate_bps: int) -> None:
        """Nothing to reserve."""

    def close(self, reason: str, now: int) -> None:
        self.state = ConnectionState.CLOSED

    @property
    def backlog_bytes(self) -> int:
        return 0

    @property
    def rtt_us(self) -> int:
        return 1_000

    def receive_train(self, train: Train, now: int) -> None:
        """Nothing comes."""

    def trains_to_send(self, now: int) -> list[Train]:
        return []

    def get_timer(self) -> int | None:
        return None

    def handle_timer(self, now: int) -> None:
        """Nothing is due."""

    def next_event(self) -> Event | None:
        return None


def make_peer(number: int, count: int, *, has_all: bool = True) -> BlockPeer:
    """Return a peer that unchokes us."""
    peer = BlockPeer(QuietConnection(number), b"", 0, count)
    peer.chokes_us = False
    if has_all:
        peer.pieces.fill()
    return peer
