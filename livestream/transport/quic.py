"""QUIC over aioquic's sans-IO connection: an ordered stream, and one stream a piece.

The self-signed Ed25519 certificate is the identity, on both sides (`transport/mutual`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from aioquic.quic import events as quic_events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import CipherSuite
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from livestream.config import Identity, TransportConfig
from livestream.errors import MessageDecodeError
from livestream.machine import SECOND, Address, Event, Train, earliest
from livestream.transport.company import Company
from livestream.transport.connection import (
    Connected,
    Connection,
    ConnectionState,
    Disconnected,
    MessageReceived,
    Transport,
)
from livestream.transport.ledbat import Ledbat
from livestream.transport.mutual import (
    ACK_DELAY_US,
    CONTROLLER,
    FIRST_CID_BYTES,
    MutualConnection,
)
from livestream.transport.pathsize import DATAGRAM_BYTES, PathSizes
from livestream.transport.precedence import Precedence
from livestream.wire.framing import MessageReader, frame
from livestream.wire.messages import MESSAGE_BYTES_MAX

__all__ = ["ALPN", "Quic", "QuicTransport"]

ALPN: Final = "livestream/1"
TRAIN_DATAGRAMS_MAX: Final = 40
TRAIN_BYTES_MAX: Final = 60_000  # Below what one GSO send takes.
CONTROL_STREAM: Final = 0
ERROR_DONE: Final = 0
ERROR_LATE: Final = 1
ERROR_PROTOCOL: Final = 2
STREAMS_IN_MAX: Final = 256  # Unfinished pieces of one peer; aioquic's own limit is 128.
CONTROL_BACKLOG_MAX: Final = 4 << 20  # Messages that no datagram has taken: hours of honest ones.
BUFFERED_IN_MAX: Final = 8 << 20


class QuicTransport:
    """What all QUIC connections of a node share: identity and settings."""

    def __init__(
        self, identity: Identity, config: TransportConfig, precedence: Precedence | None = None
    ) -> None:
        self.config = config
        self._precedence = precedence or Precedence()
        self._sizes = PathSizes()
        self._certificate = x509.load_der_x509_certificate(identity.certificate)
        self._private_key = Ed25519PrivateKey.from_private_bytes(identity.private_key)

    def configuration(self, *, is_client: bool, datagram_bytes: int) -> QuicConfiguration:
        """Return aioquic's settings for one side."""
        return QuicConfiguration(
            alpn_protocols=[ALPN],
            is_client=is_client,
            congestion_control_algorithm=CONTROLLER,
            idle_timeout=self.config.idle_timeout_us / SECOND,
            connection_id_length=FIRST_CID_BYTES,
            certificate=self._certificate,
            private_key=self._private_key,
            # AES takes half as long as ChaCha20 where processors have instructions for it, which
            # is nearly everywhere, and header protection a third.
            cipher_suites=[CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256],
            verify_mode=0,  # ssl.CERT_NONE: there is no authority; the key itself is the identity.
            max_data=4 << 20,
            max_datagram_size=datagram_bytes,
            initial_rtt=0.1,
        )

    def dial(self, address: Address, on_change: Callable[[Quic], None], now: int) -> Quic:
        """Open a connection to an address."""
        size = self._sizes.size_for(address.host, now)
        configuration = self.configuration(is_client=True, datagram_bytes=size)
        connection = MutualConnection(self._ledbat(size), configuration)
        connection.connect((address.host, address.port), now=now / SECOND)
        sizes = self._sizes if size == DATAGRAM_BYTES else None
        return Quic(connection, address, self.config, on_change, now, is_outgoing=True, sizes=sizes)

    def accept(
        self,
        address: Address,
        original_cid: bytes,
        retry_cid: bytes | None,
        on_change: Callable[[Quic], None],
        now: int,
    ) -> Quic:
        """Answer a first datagram."""
        connection = MutualConnection(
            self._ledbat(DATAGRAM_BYTES),
            self.configuration(is_client=False, datagram_bytes=DATAGRAM_BYTES),
            original_destination_connection_id=original_cid,
            retry_source_connection_id=retry_cid,
        )
        return Quic(connection, address, self.config, on_change, now, is_outgoing=False)

    def _ledbat(self, datagram_bytes: int) -> Ledbat:
        return Ledbat(datagram_bytes, self.config.delay_target_us, self._precedence)


class Quic(Connection):
    """One QUIC connection.

    Invariant: the first event is `Connected` unless it never came to that; the last, exactly
    once, is `Disconnected`.
    """

    def __init__(
        self,
        connection: MutualConnection,
        address: Address,
        config: TransportConfig,
        on_change: Callable[[Quic], None],
        now: int,
        *,
        is_outgoing: bool,
        sizes: PathSizes | None = None,
    ) -> None:
        """Take what aioquic has begun; `sizes` is told what the path carries, if it is given."""
        self.transport = Transport.QUIC
        self.address = address
        self.is_outgoing = is_outgoing
        self.state = ConnectionState.CONNECTING
        self.cids: dict[bytes, None] = {connection.host_cid: None}
        "Connection ids by which the other side addresses us."
        self.has_other_cids = True
        "Whether they changed since the endpoint looked at them."
        self._quic = connection
        self._config = config
        self._on_change = on_change
        self._sizes = sizes
        self._deadline: int | None = now + config.handshake_timeout_us
        self._events: deque[Event] = deque()
        self._reader = MessageReader(MESSAGE_BYTES_MAX)
        self._incoming: dict[int, bytearray] = {}
        self._outgoing: dict[int, tuple[int, int]] = {}
        self._control_written = 0
        self._is_due = False
        "Whether a timer was: some of aioquic's are only set anew when it looks what to send."
        self._is_first_sent = False
        self._has_control = is_outgoing
        "The client opens the control stream; until it has, a server can only queue."
        self._control_queue: list[bytes] = []
        self._company = Company()

    # Commands

    def send(self, message: bytes) -> None:
        """Queue a message on the ordered stream."""
        if self.state is not ConnectionState.CONNECTED:
            return
        for earlier in self._company.take():
            self._write(earlier)
        self._write(message)
        self._on_change(self)

    def send_later(self, message: bytes, by: int) -> None:
        """Queue a message that goes with the next datagram, and alone at `by`."""
        if self.state is not ConnectionState.CONNECTED:
            return
        self._company.add(message, by)
        self._on_change(self)

    def _write(self, message: bytes) -> None:
        # The handshake is the first message either way, and has no length prefix (BEP 3).
        data = frame(message) if self._is_first_sent else message
        self._is_first_sent = True
        self._control_written += len(data)
        if self._has_control:
            self._quic.send_stream_data(CONTROL_STREAM, data)
        else:
            self._control_queue.append(data)
        sent = self._quic.sent_offset(CONTROL_STREAM) or 0
        if self._control_written - sent > CONTROL_BACKLOG_MAX:
            self._fail("does not read what it asks for", 0)

    def send_independent(self, message: bytes, deadline: int) -> None:
        """Queue a message on a stream of its own, cancelled at `deadline`."""
        if self.state is not ConnectionState.CONNECTED:
            return
        stream_id = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._quic.send_stream_data(stream_id, message, end_stream=True)
        self._outgoing[stream_id] = len(message), deadline
        self._on_change(self)

    def keep_alive(self) -> None:
        """Send a PING (RFC 9000 section 19.2), which is acknowledged if anybody is there."""
        if self.state is ConnectionState.CONNECTED:
            self._quic.send_ping(0)
            self._on_change(self)

    def reserve(self, rate_bps: int) -> None:
        """Keep the window above what this rate needs."""
        self._quic.ledbat.promise(rate_bps, ACK_DELAY_US)

    def close(self, reason: str, now: int) -> None:
        """Say goodbye and end."""
        if self.state is ConnectionState.CLOSED:
            return
        self._quic.close(error_code=ERROR_DONE, reason_phrase=reason[:100])
        self._finish(reason, is_local=True)

    # Queries

    @property
    def backlog_bytes(self) -> int:
        """Bytes accepted from the caller that are in no datagram yet, and wait for none."""
        backlog = self._control_written - (self._quic.sent_offset(CONTROL_STREAM) or 0)
        for stream_id, (length, _) in list(self._outgoing.items()):
            sent = self._quic.sent_offset(stream_id)
            if sent is None or sent >= length:
                del self._outgoing[stream_id]
            else:
                backlog += length - sent
        return max(0, backlog)

    @property
    def datagram_bytes(self) -> int:
        """How large its datagrams are, at most."""
        return self._quic.datagram_bytes

    @property
    def rtt_us(self) -> int:
        """Smoothed round-trip time; 100 ms until measured."""
        rtt_s = self._quic.smoothed_rtt_s
        return 100_000 if rtt_s is None else int(rtt_s * SECOND)

    @property
    def unanswered_at(self) -> int | None:
        """Since when nothing of what asks for it has been acknowledged (µs)."""
        since_s = self._quic.unanswered_s
        return None if since_s is None else int(since_s * SECOND)

    @property
    def is_over(self) -> bool:
        """Whether the endpoint may forget this connection."""
        return self.state is ConnectionState.CLOSED and self._quic.is_over

    # The five verbs

    def receive_train(self, train: Train, now: int) -> None:
        """Take datagrams in."""
        address = (train.address.host, train.address.port)
        # Round trips and what acknowledgements say of theirs are the path's, and not the machine's.
        arrived_at = (now - train.waited_us) / SECOND
        try:
            for datagram in train.datagrams():
                self._quic.receive_datagram(datagram, address, now=arrived_at)
        except Exception as error:
            # What aioquic and cryptography raise for a stranger's bytes is nowhere said: for a
            # certificate of version 48, what is no ValueError. It ends this connection, no other.
            self._quic.abandon()
            self._finish(f"cannot be read: {type(error).__name__}", is_local=True)
            return
        self._take_events(now)

    def trains_to_send(self, now: int) -> list[Train]:
        """Return what must go out, grouped into trains."""
        if self._outgoing:
            self._cancel_late(now)
        is_due, self._is_due = self._is_due, False
        if not is_due and self._quic.is_idle(now / SECOND):
            return []
        for message in self._company.take():
            self._write(message)
        datagrams = self._quic.datagrams_to_send(now=now / SECOND)
        if len(datagrams) == 1:
            data, (host, port, *_) = datagrams[0]
            return [Train(Address(host, port), data, len(data))]
        trains: list[Train] = []
        parts: list[bytes] = []
        target: Address | None = None
        for data, (host, port, *_) in datagrams:
            address = Address(host, port)
            full = parts and (
                len(data) > len(parts[0])
                or len(parts[-1]) < len(parts[0])
                or len(parts) >= TRAIN_DATAGRAMS_MAX
                or (len(parts) + 1) * len(parts[0]) > TRAIN_BYTES_MAX
                or address != target
            )
            if full and target is not None:
                trains.append(Train(target, b"".join(parts), len(parts[0])))
                parts = []
            target = address
            parts.append(data)
        if parts and target is not None:
            trains.append(Train(target, b"".join(parts), len(parts[0])))
        return trains

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        timer = self._quic.get_timer()
        # Rounded up: aioquic does nothing when asked a fraction too early.
        timer_us = None if timer is None else int(timer * SECOND) + 1
        return earliest(timer_us, self._deadline, self._company.until)

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        self._is_due = True
        timer = self._quic.get_timer()
        if timer is not None and timer <= now / SECOND:
            self._quic.handle_timer(now=now / SECOND)
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            if self.state is ConnectionState.CONNECTING:
                self.close("no answer", now)
        self._take_events(now)
        self._on_change(self)

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    # Events of aioquic

    def _take_events(self, now: int) -> None:
        while (event := self._quic.next_event()) is not None:
            if isinstance(event, quic_events.StreamDataReceived):
                self._on_data(event, now)
            elif isinstance(event, (quic_events.StreamReset, quic_events.StopSendingReceived)):
                self._on_stream_ended(event, now)
            elif isinstance(event, quic_events.HandshakeCompleted):
                self._on_handshake(now)
            elif isinstance(event, quic_events.ConnectionIdIssued):
                self.cids[event.connection_id] = None
                self.has_other_cids = True
            elif isinstance(event, quic_events.ConnectionIdRetired):
                self.cids.pop(event.connection_id, None)
                self.has_other_cids = True
            elif isinstance(event, quic_events.ConnectionTerminated):
                self._finish(event.reason_phrase or "closed", is_local=False)

    def _on_handshake(self, now: int) -> None:
        self._deadline = None
        key = self._quic.peer_key
        if key is None:
            self._fail("no Ed25519 certificate", now)
            return
        self.state = ConnectionState.CONNECTED
        if self._sizes is not None:
            self._sizes.on_connected(self.address.host, self.datagram_bytes, now)
        self._events.append(Connected(key))

    def _on_data(self, event: quic_events.StreamDataReceived, now: int) -> None:
        if self.state is not ConnectionState.CONNECTED:
            return
        try:
            if event.stream_id == CONTROL_STREAM:
                self._open_control()
                messages = self._reader.receive(event.data)
            else:
                messages = self._on_independent(event)
        except MessageDecodeError as error:
            self._fail(str(error), now)
            return
        self._events.extend(MessageReceived(message) for message in messages)

    def _on_stream_ended(
        self, event: quic_events.StreamReset | quic_events.StopSendingReceived, now: int
    ) -> None:
        """The other side gave up one direction of a stream: a piece's may end so, no other."""
        if event.stream_id == CONTROL_STREAM:
            self._fail("control stream reset", now)
        elif isinstance(event, quic_events.StreamReset):
            self._incoming.pop(event.stream_id, None)

    def _on_independent(self, event: quic_events.StreamDataReceived) -> list[bytes]:
        """A unidirectional stream is one message, if it ends. Raises MessageDecodeError."""
        stream_id = event.stream_id
        if not stream_id & 2:
            raise MessageDecodeError("an unexpected stream")
        data = self._incoming.setdefault(stream_id, bytearray())
        data += event.data
        if len(data) > MESSAGE_BYTES_MAX:
            raise MessageDecodeError(f"a message of {len(data)} bytes or more")
        if event.end_stream:
            del self._incoming[stream_id]
            return [bytes(data)] if data else []
        if len(self._incoming) > STREAMS_IN_MAX:
            raise MessageDecodeError("too many streams")
        if sum(map(len, self._incoming.values())) > BUFFERED_IN_MAX:
            raise MessageDecodeError("too much on independent streams")
        return []

    # Helpers

    def _open_control(self) -> None:
        if not self._has_control:
            self._has_control = True
            for data in self._control_queue:
                self._quic.send_stream_data(CONTROL_STREAM, data)
            self._control_queue.clear()

    def _cancel_late(self, now: int) -> None:
        for stream_id, (length, deadline) in list(self._outgoing.items()):
            if deadline <= now:
                del self._outgoing[stream_id]
                sent = self._quic.sent_offset(stream_id)
                if sent is not None and sent < length:
                    self._quic.reset_stream(stream_id, ERROR_LATE)

    def _fail(self, reason: str, now: int) -> None:
        self._quic.close(error_code=ERROR_PROTOCOL, reason_phrase=reason[:100])
        self._finish(reason, is_local=True)

    def _finish(self, reason: str, *, is_local: bool) -> None:
        if self.state is not ConnectionState.CLOSED:
            self.state = ConnectionState.CLOSED
            self._deadline = None
            self._company.take()
            self._incoming.clear()
            self._events.append(Disconnected(reason, is_local))
        self._on_change(self)
