"""aioquic's connection as we need it: authenticated, LEDBAT, large datagrams, few acknowledgements.

aioquic asks clients for a certificate only "for test purposes", behind a private switch, which
`MutualConnection` sets; that is why pyproject pins aioquic to the minor version.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.congestion.base import QuicCongestionControl, register_congestion_control
from aioquic.quic.connection import (
    NetworkAddress,
    QuicConnection,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.events import QuicEvent
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import QuicPacketRecovery, QuicPacketSpace
from aioquic.tls import Epoch, Group
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from livestream.config import LIVE_DELAY_TARGET_US
from livestream.machine import MILLISECOND, SECOND
from livestream.transport.ledbat import Ledbat
from livestream.transport.packetreader import PacketReader
from livestream.transport.packetwriter import PacketWriter
from livestream.transport.pathsize import DATAGRAM_BYTES_MIN, BlackHole

__all__ = ["ACK_DELAY_US", "CID_BYTES", "CONTROLLER", "FIRST_CID_BYTES", "MutualConnection"]

CONTROLLER: Final = "livestream-ledbat"
# Each datagram has one. Of a few thousand such ids (eight a connection) none is met by chance more
# than once in a million foreign datagrams, and who meets one on purpose has no key.
CID_BYTES: Final = 4
FIRST_CID_BYTES: Final = 8  # RFC 9000 section 7.2: of whom nobody has answered yet.
# RFC 9000's default of max_ack_delay, which both sides count on: what comes meanwhile is
# acknowledged together. Each acknowledgement costs 58 bytes of an uplink that feeds others, and
# both sides a datagram's work. How long it waited is said, so LEDBAT takes it for no queue.
ACK_DELAY_US: Final = 25 * MILLISECOND
# So much is acknowledged at once: a piece of a quick channel, with its last datagram. It is less
# than the first window, or slow start would begin with a wait; at 20 Mbit/s the sender's clock
# ticks each 3 ms. Below 2.5 Mbit/s time comes first.
ACK_BYTES_MAX: Final = 8 * 1024


# Probe timeouts in a row after which what is sent is small: it may be its size that keeps it. A
# call's first one comes after 200 ms, and nothing is lost by it: a large answer proves the path.
PROBES_CALLING: Final = 1
PROBES_LATER: Final = 2


class _Controller(QuicCongestionControl):
    """Puts `Ledbat` where aioquic wants a congestion control. QUIC's delay is the round trip."""

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self.ledbat = Ledbat(max_datagram_size, LIVE_DELAY_TARGET_US)
        "`MutualConnection` puts another here: aioquic makes this one, and knows of no node."
        self.ack_delay_us = 0
        "How long the other side kept the acknowledgement that is being taken, by what it says."
        self.unanswered_s: float | None = None
        "Since when (machine time) nothing of what is under way has been acknowledged."
        self.black_hole = BlackHole()
        self._datagram = max_datagram_size
        self._rtt_us = 100_000
        self._rtt_us_min: int | None = None
        self.congestion_window = self.ledbat.window_bytes

    def note_answer(self, at_s: float | None) -> None:
        """Something was acknowledged (at this time), or needs no acknowledgement any more."""
        if not self.bytes_in_flight:
            self.unanswered_s = None
        elif at_s is not None:
            self.unanswered_s = at_s

    def set_datagram_bytes(self, size: int) -> None:
        """Count in datagrams of this size from now on."""
        self._datagram = size
        self.ledbat.set_datagram_bytes(size)

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        self.black_hole.on_acked(packet.packet_number, packet.sent_bytes)
        is_used = self.bytes_in_flight + 2 * self._datagram >= self.congestion_window // 2
        self.bytes_in_flight -= packet.sent_bytes
        self.ledbat.on_ack(packet.sent_bytes, is_window_used=is_used, now=int(now * SECOND))
        self.congestion_window = self.ledbat.window_bytes

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        self.bytes_in_flight += packet.sent_bytes
        if self.unanswered_s is None:  # What is taken for lost, and sent again, counts on.
            self.unanswered_s = packet.sent_time

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        now_us, lost_bytes = int(now * SECOND), 0
        for packet in packets:
            lost_bytes += packet.sent_bytes
            self.black_hole.on_lost(packet.packet_number, packet.sent_bytes, now_us, self._rtt_us)
        self.bytes_in_flight -= lost_bytes
        self.note_answer(None)
        self.ledbat.on_loss(now_us, self._rtt_us, lost_bytes)
        self.congestion_window = self.ledbat.window_bytes

    def on_persistent_congestion(self) -> None:
        self.ledbat.on_timeout()
        self.congestion_window = self.ledbat.window_bytes

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """Take a round trip; what the acknowledgement waited is no part of it.

        Never below the least round trip: who overstates the wait hides no more than that
        (RFC 9002 section 5.3).
        """
        rtt_us = max(0, int(rtt * SECOND))
        least = self._rtt_us_min = (
            rtt_us if self._rtt_us_min is None else min(self._rtt_us_min, rtt_us)
        )
        self._rtt_us = max(least, rtt_us - min(self.ack_delay_us, ACK_DELAY_US))
        self.ledbat.on_delay(self._rtt_us, int(now * SECOND))


register_congestion_control(CONTROLLER, _Controller)


class _Recovery(QuicPacketRecovery):
    """aioquic's, which tells the controller how long an acknowledgement waited."""

    def on_ack_received(
        self, *, ack_rangeset: RangeSet, ack_delay: float, now: float, space: QuicPacketSpace
    ) -> None:
        controller, largest = cast(_Controller, self._cc), space.largest_acked_packet
        controller.ack_delay_us = int(ack_delay * SECOND)
        super().on_ack_received(
            ack_rangeset=ack_rangeset, ack_delay=ack_delay, now=now, space=space
        )
        # What was taken for lost and sent again may be acknowledged all the same: it is an answer.
        controller.note_answer(now if space.largest_acked_packet > largest else None)

    def discard_space(self, space: QuicPacketSpace) -> None:
        super().discard_space(space)
        cast(_Controller, self._cc).note_answer(None)


class MutualConnection(QuicConnection):
    """aioquic's connection, with both sides authenticated and its send queues in sight.

    How large its datagrams are: a caller begins with what the configuration says. aioquic pads the
    handshake's first datagrams to that, both ways, so what is answered has come through. Whoever
    answers sends as large ones as the newest such that it got; a caller that is not answered
    goes on with small ones, until a large one comes. Later they are small while nothing is
    acknowledged, and for good once large ones vanish while small ones come.

    Invariant: unless both directions carried larger ones, datagrams have 1,200 bytes at most.
    """

    def __init__(
        self,
        ledbat: Ledbat,
        configuration: QuicConfiguration,
        original_destination_connection_id: bytes | None = None,
        retry_source_connection_id: bytes | None = None,
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )
        # aioquic makes all ids of one length, and has made one for whom it is going to call.
        self._configuration.connection_id_length = CID_BYTES
        self.host_cid = self._host_cids[0].cid = self._host_cids[0].cid[:CID_BYTES]
        self._local_initial_source_connection_id = self.host_cid
        self._loss = _Recovery(
            congestion_control_algorithm=CONTROLLER,
            initial_rtt=configuration.initial_rtt,
            max_datagram_size=configuration.max_datagram_size,
            peer_completed_address_validation=not configuration.is_client,
            send_probe=cast(Any, self)._send_probe,
        )
        self._controller = cast(_Controller, self._loss._cc)
        self._controller.ledbat = ledbat
        cast(Any, self)._ack_delay = ACK_DELAY_US / SECOND
        self._is_elicited = False
        "Whether the datagram that is being taken asks for an acknowledgement."
        self._unacknowledged_bytes = 0
        self._reader: PacketReader | None = None
        self._writer: PacketWriter | None = None
        "Both from when the handshake is confirmed."
        self._space = QuicPacketSpace()
        "That of 1-RTT packets, once there are any."
        self._is_taken = self._is_padded = False
        "Whether the datagram that is being taken is genuine, and whether it is a padded one."
        self._size_max = self._size_carried = configuration.max_datagram_size

    @property
    def datagram_bytes(self) -> int:
        """How large its datagrams are, at most."""
        return self._max_datagram_size

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        """Take a datagram; what tells of a loss is acknowledged at once (RFC 9000 13.2.1)."""
        reader = self._reader
        if reader is None:
            self._receive_any(data, addr, now)
            return
        space = self._space
        largest, is_waiting = space.largest_received_packet, space.ack_at is not None
        if reader.read(data, addr, now):
            is_taken, is_elicited = reader.is_taken, reader.is_eliciting
        else:
            self._is_elicited = self._is_taken = False
            super().receive_datagram(data, addr, now)
            is_taken, is_elicited = self._is_taken, self._is_elicited
        if is_taken:
            self._on_size(len(data), is_handshake=False)
            if is_elicited:
                self._hasten_ack(largest, len(data), is_waiting=is_waiting)

    def _receive_any(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        """Take a datagram before the handshake is confirmed."""
        space = self._spaces.get(Epoch.ONE_RTT)
        largest, is_waiting = -1, False
        if space is not None:
            largest, is_waiting = space.largest_received_packet, space.ack_at is not None
        is_handshake = not self._handshake_complete
        self._is_elicited = self._is_taken = self._is_padded = False
        super().receive_datagram(data, addr, now)
        if self._is_taken:
            self._on_size(len(data), is_handshake=is_handshake)
        if self._is_elicited and space is not None:
            self._space = space
            self._hasten_ack(largest, len(data), is_waiting=is_waiting)
        if self._handshake_confirmed:
            self._space = self._spaces[Epoch.ONE_RTT]
            self._reader, self._writer = PacketReader(self), PacketWriter(self)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return what must go out now, and where to."""
        writer = self._writer
        if writer is None or not writer.is_usual(now):
            return super().datagrams_to_send(now)
        address = self._network_paths[0].addr
        datagrams = [(data, address) for data in writer.write(now)]
        if writer.has_limits:  # Streams that were done with make room for others.
            datagrams += super().datagrams_to_send(now)
        return datagrams

    def _hasten_ack(self, largest: int, size: int, *, is_waiting: bool) -> None:
        """Acknowledge at once what tells of a loss, and much.

        Args:
            largest: The newest packet that was here before this one.
            size: Of the datagram.
            is_waiting: Whether something waited to be acknowledged before.
        """
        space = self._space
        if space.ack_at is None:
            return
        self._unacknowledged_bytes = size + (self._unacknowledged_bytes if is_waiting else 0)
        is_in_order = space.largest_received_packet == largest + 1 or largest < 0
        if not is_in_order or self._unacknowledged_bytes >= ACK_BYTES_MAX:
            space.ack_at = 0.0  # Before now, or aioquic would let it wait for its pacing.

    def abandon(self) -> None:
        """End without a goodbye: what it holds may be half changed."""
        cast(Any, self)._set_state(QuicConnectionState.TERMINATED)

    def next_event(self) -> QuicEvent | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def _payload_received(
        self, context: QuicReceiveContext, plain: bytes, crypto_frame_required: bool = False
    ) -> tuple[bool, bool]:
        is_ack_eliciting, is_probing = super()._payload_received(
            context, plain, crypto_frame_required
        )
        self._is_taken = True
        self._is_padded |= context.epoch is Epoch.INITIAL
        self._is_elicited |= is_ack_eliciting and context.epoch is Epoch.ONE_RTT
        return is_ack_eliciting, is_probing

    def handle_timer(self, now: float) -> None:
        """Do what is due; what nobody acknowledges is sent again in smaller datagrams."""
        super().handle_timer(now)
        is_calling = self._state is QuicConnectionState.FIRSTFLIGHT
        if self._probe_count >= (PROBES_CALLING if is_calling else PROBES_LATER):
            self._set_size(DATAGRAM_BYTES_MIN)
        elif self._controller.black_hole.is_found:
            self._size_carried = DATAGRAM_BYTES_MIN
            self._set_size(DATAGRAM_BYTES_MIN)

    def get_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called; quickly while all is as usual.

        It is asked after each turn. Once the handshake is confirmed only 1-RTT packets are left.
        """
        loss, space = cast(Any, self._loss), self._space
        if (
            self._reader is None
            or self._state is not QuicConnectionState.CONNECTED
            or not loss.peer_completed_address_validation
            or not self._network_paths[0].is_validated
        ):
            return super().get_timer()
        loss_at = space.loss_time
        if loss_at is None and space.ack_eliciting_in_flight:
            timeout_s = loss.get_probe_timeout() * 2**loss._pto_count
            loss_at = loss._time_of_last_sent_ack_eliciting_packet + timeout_s
        self._loss_at = loss_at
        timer = self._close_at
        for at in (space.ack_at, loss_at, self._pacing_at):
            if at is not None and (timer is None or at < timer):
                timer = at
        return timer

    def _on_size(self, size: int, *, is_handshake: bool) -> None:
        """Learn from a genuine datagram of this size, or from what it acknowledged."""
        if not is_handshake:
            if self._controller.black_hole.is_found:
                self._size_carried = DATAGRAM_BYTES_MIN
            if self._max_datagram_size != self._size_carried and not self._probe_count:
                self._set_size(self._size_carried)
            return
        if self._is_client:
            size = max(size, self._max_datagram_size)
        elif not self._is_padded:
            return
        self._size_carried = max(DATAGRAM_BYTES_MIN, min(size, self._size_max))
        self._set_size(self._size_carried)

    def _set_size(self, size: int) -> None:
        if size != self._max_datagram_size:
            self._max_datagram_size = size
            cast(Any, self._loss)._pacer._max_datagram_size = size
            self._controller.set_datagram_bytes(size)

    @property
    def _probe_count(self) -> int:
        """Probe timeouts since something was acknowledged (RFC 9002 section 6.2)."""
        return int(cast(Any, self._loss)._pto_count)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        tls = cast(Any, self.tls)
        tls._request_client_certificate = True
        tls._supported_groups = [Group.X25519, Group.SECP256R1]

    @property
    def peer_key(self) -> bytes | None:
        """The raw Ed25519 key that the other side proved to own; None for any other kind."""
        return _public_key(cast("x509.Certificate | None", cast(Any, self.tls)._peer_certificate))

    @property
    def smoothed_rtt_s(self) -> float | None:
        """The round trip, once measured."""
        loss = cast(Any, self._loss)
        return float(loss._rtt_smoothed) if loss._rtt_initialized else None

    @property
    def unanswered_s(self) -> float | None:
        """Since when (machine time) nothing of what asks for it has been acknowledged."""
        return self._controller.unanswered_s

    @property
    def ledbat(self) -> Ledbat:
        """Its congestion control."""
        return self._controller.ledbat

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen, not even a repeated goodbye."""
        return self._state is QuicConnectionState.TERMINATED

    def is_idle(self, now: float) -> bool:
        """Whether nothing has to go out, if no timer is due: aioquic builds a packet to find out.

        It is so after most datagrams that come. What only aioquic has to say (more room for the
        other side's streams, its ids) goes with the next acknowledgement or message.
        """
        is_asking = self._probe_pending or bool(self._ping_pending)
        if self._reader is None or self._close_pending or is_asking:
            return False
        path, ack_at = self._network_paths[0], self._space.ack_at
        if ack_at is not None and ack_at <= now:
            return False
        if len(self._network_paths) > 1 or not path.is_validated or path.remote_challenges:
            return False
        if self._handshake_done_pending or self._remote_preferred_address is not None:
            return False
        for stream in self._streams_queue:
            sender = stream.sender
            if not sender.buffer_is_empty or sender.reset_pending or stream.receiver.stop_pending:
                return False
        return True

    def sent_offset(self, stream_id: int) -> int | None:
        """How much of a stream was put into datagrams; None when the stream is done with."""
        stream = self._streams.get(stream_id)
        return None if stream is None else stream.sender.highest_offset


def _public_key(certificate: x509.Certificate | None) -> bytes | None:
    """Return the raw key of a self-signed Ed25519 certificate, or None for any other."""
    if certificate is None:
        return None
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        return None
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes)
    except InvalidSignature:
        return None
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
