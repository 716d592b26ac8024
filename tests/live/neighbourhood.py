"""A channel among peers that say what a test has them say, in virtual time."""

from __future__ import annotations

from random import Random

from livestream.config import LiveConfig, SwarmConfig, Transport
from livestream.live.channel import Channel
from livestream.live.head import Head
from livestream.live.piece import LivePiece
from livestream.live.signing import Signer
from livestream.machine import MILLISECOND, SECOND
from livestream.media.records import NO_RECORD, Payload, PayloadFlags
from livestream.media.sample import Track, TrackKind
from livestream.swarm.greeting import extension_handshake
from livestream.swarm.peer import Peer, peer_id_of
from livestream.wire import live, messages
from livestream.wire.live import Feed, HeadUpdate, LiveMessage, Status, Subscribe
from livestream.wire.messages import Extended, Handshake, Message, Piece
from tests.swarm.memory import QuietConnection

SIGNER = Signer(bytes(range(32)))
TRACK = Track(0, TrackKind.VIDEO, "h264", 90_000, b"\x01", width=64, height=64)
UNIX_OFFSET_US = 1_700_000_000 * SECOND
RATE_BPS = 1_280_000
SUBSTREAMS = 8
PIECE_US = 25 * MILLISECOND
UNFED = (live.LAG_UNKNOWN_MS,) * SUBSTREAMS


class Line(QuietConnection):
    """A connection of a given round trip, which remembers what was promised to it."""

    def __init__(self, number: int, rtt_us: int, transport: Transport = Transport.QUIC) -> None:
        super().__init__(number, transport)
        self._rtt_us = rtt_us
        self.journal: list[tuple[Line, int]] = []
        "Pieces that it was given, by index; several may share one."
        self.reserved_bps = 0
        self.is_stuck = False
        "It takes no further piece."
        self.silent_since: int | None = None
        "The other side has acknowledged nothing since then."
        self.probes = 0

    @property
    def rtt_us(self) -> int:
        """As given."""
        return self._rtt_us

    @property
    def backlog_bytes(self) -> int:
        """Nothing, or too much for a further piece."""
        return 1 << 20 if self.is_stuck else 0

    @property
    def unanswered_at(self) -> int | None:
        """As a test has it."""
        return self.silent_since

    def keep_alive(self) -> None:
        """Count it."""
        self.probes += 1

    def send_independent(self, message: bytes, deadline: int) -> None:
        """Remember a piece."""
        self.journal.append((self, Piece.parse(message[1:]).index))

    def reserve(self, rate_bps: int) -> None:
        """Remember it."""
        self.reserved_bps = rate_bps


def make_peer(number: int, *, rtt_us: int = 20 * MILLISECOND) -> Peer:
    """Return a peer of no swarm."""
    return Peer(Line(number, rtt_us), bytes([number]) * 32, 0)


def fed(lag_ms: int, *, only: int | None = None) -> tuple[int, ...]:
    """Return lags for a status: this one in all substreams, or in one of them only."""
    return tuple(
        lag_ms if only in (None, number) else live.LAG_UNKNOWN_MS for number in range(SUBSTREAMS)
    )


class Neighbourhood:
    """One channel, the publisher's or a viewer's, and its neighbours.

    Invariant: each neighbour repeats once a second the status that it told last, unless it is mute.
    """

    def __init__(
        self,
        *,
        is_source: bool = False,
        upload_bps: int | None = None,
        live_config: LiveConfig | None = None,
        seed: int = 1,
    ) -> None:
        self.now = SECOND
        self.channel = Channel(
            SIGNER.public_key,
            bytes([200]) * 32,
            UNIX_OFFSET_US,
            Random(seed),
            live=live_config,
            swarm=SwarmConfig(upload_bps=upload_bps),
            is_source=is_source,
        )
        self.swarm = self.channel.swarm
        self.next_index = 0
        self._journal: list[tuple[Line, int]] = []
        self._feeders: dict[Peer, int] = {}
        "Neighbours that feed us whatever we ask for, and how much of what they were told they saw."
        self._flows_at = 0
        self._statuses: dict[Peer, Status] = {}
        self._read: dict[Peer, int] = {}
        self._tells_at = self.now + SECOND
        if is_source:
            head = self.head()
            self.channel.set_head(head, head.sign(SIGNER), self.now)

    # The channel

    def head(self) -> Head:
        """Return the channel's state as it is now."""
        return Head(
            epoch=7,
            time_ms=(self.now + UNIX_OFFSET_US) // MILLISECOND,
            first_index=0,
            newest_index=self.next_index - 1,
            payload_bytes_max=4096,
            substreams=SUBSTREAMS,
            rate_bps=RATE_BPS,
            is_ended=False,
            name="test",
            keyframes=(),
            tracks=(TRACK,),
        )

    def piece(self, index: int, *, age_us: int = 0) -> bytes:
        """Return a piece that was captured so long ago."""
        captured_ms = (self.now - age_us + UNIX_OFFSET_US) // MILLISECOND
        payload = Payload(captured_ms, PayloadFlags(0), NO_RECORD, bytes(100))
        return LivePiece.sign(SIGNER, 7, index, payload).to_bytes()

    def publish(self) -> int:
        """Put the next piece on the air, as the publisher."""
        index = self.next_index
        self.next_index += 1
        self.channel.publish(LivePiece.parse(self.piece(index)), self.now)
        return index

    # Neighbours

    def join(
        self,
        number: int,
        *,
        rtt_us: int = 20 * MILLISECOND,
        transport: Transport = Transport.QUIC,
    ) -> Peer:
        """Let somebody call, and say hello. Over TCP nobody knows where it listens."""
        line, key = Line(number, rtt_us, transport), bytes([number]) * 32
        line.is_outgoing = False
        line.journal = self._journal
        greeting = Handshake(self.swarm.info_hash, peer_id_of(key))
        peer = self.swarm.admit(line, key, greeting, self.now)
        assert peer is not None
        offer = extension_handshake([self.channel.name], peer.address, {})
        self.say(peer, Extended(0, offer))
        self._read[peer] = len(line.sent)
        if not self.channel.is_source and self.channel.head is None:
            self.tell(peer, HeadUpdate(self.head().sign(SIGNER)))
        return peer

    def say(self, peer: Peer, message: Message) -> None:
        """Have a neighbour say something of the peer wire protocol."""
        self.swarm.receive_message(peer, message.to_bytes(), self.now)

    def tell(self, peer: Peer, message: LiveMessage) -> None:
        """Have a neighbour say something of the extension."""
        if isinstance(message, Status):
            self._statuses[peer] = message
        self.say(peer, Extended(1, message.to_bytes()))

    def give(self, peer: Peer, index: int, *, age_us: int = 50 * MILLISECOND) -> None:
        """Have a neighbour push a piece."""
        self.say(peer, Piece(index, 0, self.piece(index, age_us=age_us)))

    def serve(self, peer: Peer, *, lag_ms: int = 50) -> None:
        """Have a neighbour feed us from now on whatever we ask it for, a piece each 25 ms."""
        self._feeders[peer] = 0
        self.tell(peer, Status(False, 0xFF, 20, 0, fed(lag_ms)))

    def dry_up(self, peer: Peer) -> None:
        """Have a neighbour that feeds us push nothing more, and answer nothing."""
        self._feeders.pop(peer, None)

    def mute(self, peer: Peer) -> None:
        """Let a neighbour say nothing more."""
        self._statuses.pop(peer, None)

    def leave(self, peer: Peer) -> None:
        """Let a neighbour's connection end."""
        self.mute(peer)
        self._feeders.pop(peer, None)
        self.swarm.on_disconnected(peer, "gone", self.now)

    # What they hear

    def heard(self, peer: Peer) -> list[LiveMessage]:
        """Return what a neighbour was told by the extension since this was asked last."""
        said = [message for message in self._unread(peer) if isinstance(message, Extended)]
        told = [live.parse(message.payload) for message in said if message.extension == 1]
        return [message for message in told if message is not None]

    def heard_plainly(self, peer: Peer) -> list[Message]:
        """Return what a neighbour was told by the peer wire protocol since it was asked last."""
        return [message for message in self._unread(peer) if not isinstance(message, Extended)]

    def _unread(self, peer: Peer) -> list[Message]:
        line = peer.connection
        assert isinstance(line, Line)
        start = self._read[peer]
        self._read[peer] = len(line.sent)
        parsed = [messages.parse(data) for data in line.sent[start:]]
        return [message for message in parsed if message is not None]

    # Time

    def go_on(self, seconds: float, *, sends: bool = True) -> None:
        """Let time pass; without `sends`, no connection takes a piece meanwhile."""
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            timer = self.swarm.get_timer()
            at = self._tells_at if timer is None else min(timer, self._tells_at)
            at = min(at, self._flows_at) if self._feeders else at
            self.now = min(max(at, self.now + MILLISECOND), end)
            if self.now >= self._tells_at:
                self._tells_at += SECOND
                for peer, status in list(self._statuses.items()):
                    if peer in self.swarm.ready:
                        self.tell(peer, status)
            if timer is not None and timer <= self.now:
                self.swarm.handle_timer(self.now)
            self._let_flow()
            if sends:
                self.send()

    def _let_flow(self) -> None:
        for peer, seen in list(self._feeders.items()):
            line = peer.connection
            assert isinstance(line, Line)
            self._feeders[peer] = len(line.sent)
            for data in line.sent[seen:]:
                message = messages.parse(data)
                if isinstance(message, Extended) and message.extension == 1:
                    self._oblige(peer, live.parse(message.payload))
        if self.now >= self._flows_at and self._feeders:
            self._flows_at = self.now + PIECE_US
            self.next_index += 1
            feeder = self.channel.feeders.feeder(self.next_index % SUBSTREAMS)
            if feeder in self._feeders:
                self.give(feeder, self.next_index)

    def _oblige(self, peer: Peer, message: LiveMessage | None) -> None:
        if isinstance(message, Subscribe):
            self.tell(peer, Feed(message.substream, 50, (b"srce", peer.node_id)))

    def send(self) -> None:
        """Give connections the pieces that they can take."""
        while self.swarm.next_upload(self.now):
            pass

    def pushed(self) -> list[tuple[Peer, int]]:
        """Return which pieces were given to who is still there since this was asked last."""
        peers = self.swarm.peers
        given = [(peers[line], index) for line, index in self._journal if line in peers]
        self._journal.clear()
        return given
