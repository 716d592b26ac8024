"""One peer of one swarm: what was agreed with it, what it holds, what it gave and got."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Final

from livestream.config import Transport
from livestream.errors import StateError
from livestream.machine import MILLISECOND, Address
from livestream.pieces.bitfield import SlidingBitfield
from livestream.pieces.picker import Holder
from livestream.swarm.greeting import Greeting
from livestream.swarm.rates import RateMeter
from livestream.transport.connection import Connection
from livestream.wire.messages import Extended, Message

__all__ = [
    "CLIENT_PREFIX",
    "SERVICE_US",
    "Peer",
    "PeerState",
    "PeerStats",
    "node_id_of",
    "peer_id_of",
]

CLIENT_PREFIX: Final = b"-LS0100-"  # BEP 20: LiveStream 0.1.0.0
NODE_ID_SIZE: Final = 4
SERVICE_US: Final = 5 * MILLISECOND  # What one more queued request costs, for lack of better news.


def peer_id_of(public_key: bytes) -> bytes:
    """Return the 20-byte peer id of a node with this key.

    Where a transport proves the key, it cannot be borrowed; over a byte stream anyone can say it.
    """
    return CLIENT_PREFIX + sha256(public_key).digest()[:12]


def node_id_of(peer_id: bytes) -> bytes:
    """Return the four bytes by which paths name a node."""
    return peer_id[-NODE_ID_SIZE:]


class PeerState(Enum):
    """Where the session is; it only moves downwards."""

    GREETING = "greeting"
    "Our handshake is out, theirs is awaited."
    READY = "ready"
    CLOSED = "closed"


UNANSWERED_ROUND_TRIPS: Final = 3  # Time for what was lost to be sent again, far away, too.

_CLOSED: Final = PeerState.CLOSED  # Asked for each message, and an enum's members are slow.
MOVES: Final = {
    (PeerState.GREETING, PeerState.READY),
    (PeerState.GREETING, PeerState.CLOSED),
    (PeerState.READY, PeerState.CLOSED),
}


@dataclass(slots=True)
class PeerStats:
    """Counters of one peer; they only grow."""

    pieces_in: int = 0
    pieces_out: int = 0
    pieces_expired: int = 0
    "Queued for it, but too late before its connection could take them."
    pieces_duplicate: int = 0
    pieces_strange: int = 0


class Peer(Holder):
    """The session with one peer. Compared by identity: the same node may come back as another."""

    def __init__(self, connection: Connection, public_key: bytes, now: int) -> None:
        self.connection = connection
        self.public_key = public_key
        self.peer_id = peer_id_of(public_key) if public_key else b""
        "Without a key: empty, until its handshake says it."
        self.state = PeerState.GREETING
        self.joined_at = now
        self.improved_at = now
        "When a better transport to it was tried last."
        self.heard_at = now
        self.doubted_at: int | None = None
        "When it was called beside this session because it was silent."
        self.is_banned = False
        self.info_hash = b""
        "The name of the swarm that is used with it: a hybrid torrent has two (BEP 52)."
        self.listen_port: int | None = None
        "Where it takes calls, if that is not where it called from."
        self.client = ""
        self.greeting: Greeting | None = None
        "What its extension handshake says beside that."
        self.extensions: dict[str, int] = {}
        "The ids under which the peer wants to receive each extension (BEP 10)."
        self.is_interested = False
        "Wants to know what we hold (BEP 3)."
        self.held = SlidingBitfield()
        self.requested: dict[int, int] = {}
        "Pieces asked of this peer: index to time."
        self.stats = PeerStats()
        self.down = RateMeter()
        self.up = RateMeter()

    def __str__(self) -> str:
        return f"{self.connection.address} ({self.client or 'unknown client'})"

    @property
    def address(self) -> Address:
        """Where the peer can be called; most listen on the socket that they call from."""
        address = self.connection.address
        return address if self.listen_port is None else Address(address.host, self.listen_port)

    @property
    def node_id(self) -> bytes:
        """How paths name it."""
        return node_id_of(self.peer_id)

    def is_unresponsive(self, now: int, patience_us: int) -> bool:
        """Whether it had acknowledged nothing for so long by then, nor for some round trips."""
        at = self.connection.unanswered_at
        return at is not None and now - at > max(
            patience_us, UNANSWERED_ROUND_TRIPS * self.connection.rtt_us
        )

    @property
    def is_reachable(self) -> bool:
        """Whether it is known where it takes calls: not where a caller's TCP comes from."""
        calls_from_there = self.connection.transport is not Transport.TCP
        return self.connection.is_outgoing or calls_from_there or self.listen_port is not None

    @property
    def is_seed(self) -> bool:
        """Whether it is known to want nothing."""
        return False

    @property
    def requests_out(self) -> int:
        """Requests that the peer still owes us."""
        return len(self.requested)

    @property
    def expected_wait_us(self) -> int:
        """How long a request sent now would take."""
        return self.connection.rtt_us + SERVICE_US * len(self.requested)

    def holds(self, index: int) -> bool:
        """Whether the peer says that it has the piece."""
        return index in self.held

    def move(self, to: PeerState) -> None:
        """Change the state. Raises StateError for a move that is not in the table."""
        if (self.state, to) not in MOVES:
            raise StateError(f"peer {self}: {self.state.value} -> {to.value}")
        self.state = to

    def send(self, message: Message) -> None:
        """Send a message in order."""
        if self.state is not _CLOSED:
            self.connection.send(message.to_bytes())

    def send_extended(self, name: str, payload: bytes, by: int | None = None) -> None:
        """Send a message of an extension that the peer speaks (BEP 10); with others, until `by`."""
        if self.state is _CLOSED:
            return
        message = bytes((Extended.ID, self.extensions[name])) + payload
        if by is None:
            self.connection.send(message)
        else:
            self.connection.send_later(message, by)
