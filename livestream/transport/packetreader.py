"""The quick way in for nearly every QUIC datagram: one 1-RTT packet of STREAM and ACK frames.

aioquic asks of each packet all that any packet could be. This asks first whether it is the usual
one, and does to the connection's state what `QuicConnection.receive_datagram` would do to it (RFC
9000 sections 12, 13 and 17.3, RFC 9001 section 5), in a third of the time. Whatever else comes is
left to aioquic, before anything was changed: handshakes, other addresses and connection ids, key
updates. So are frames of other kinds.
"""

from __future__ import annotations

from typing import Any, Final, cast

from aioquic._buffer import BufferReadError
from aioquic._crypto import CryptoError
from aioquic.buffer import UINT_VAR_MAX
from aioquic.quic.connection import (
    END_STATES,
    NetworkAddress,
    QuicConnection,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicStreamFrame, decode_packet_number
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import MAX_ACK_RANGES
from aioquic.quic.stream import FinalSizeError, StreamFinishedError
from aioquic.tls import Epoch

__all__ = ["PacketReader"]

FORM_AND_FIXED: Final = 0xC0  # RFC 9000 section 17.3.1: of a short header, 0 and 1.
SHORT_HEADER: Final = 0x40
PROTECTED: Final = 0x1F
RESERVED: Final = 0x18
SPIN: Final = 0x20
KEY_PHASE: Final = 0x04
NUMBER_BYTES_MAX: Final = 4  # The sample begins behind the longest packet number (RFC 9001 5.4.2).
SAMPLE_BYTES: Final = 16
PADDING: Final = int(QuicFrameType.PADDING)  # aioquic's are enums, which are slow to compare.
ACK: Final = int(QuicFrameType.ACK)
STREAM: Final = int(QuicFrameType.STREAM_BASE)  # Up to STREAM + 7: offset, length and end.
STREAM_LAST: Final = STREAM + 7
HAS_OFFSET: Final = 4
HAS_LENGTH: Final = 2
IS_END: Final = 1


class PacketReader:
    """Reads the usual packets of one connection whose handshake is confirmed.

    Invariant: `read` returns False only if nothing was changed.
    """

    def __init__(self, connection: QuicConnection) -> None:
        """Take aioquic's connection, of whose inner state this knows more than it should."""
        self.is_taken = False
        "Whether the last datagram was genuine and new."
        self.is_eliciting = False
        "Whether it asks for an acknowledgement."
        self._quic = cast(Any, connection)
        self._crypto = self._quic._cryptos[Epoch.ONE_RTT].recv
        self._space = self._quic._spaces[Epoch.ONE_RTT]
        self._number_at = 1 + len(connection.host_cid)

    def read(self, data: bytes, address: NetworkAddress, now: float) -> bool:
        """Take a datagram, unless it is aioquic's to take. Never raises for what it contains."""
        self.is_taken = self.is_eliciting = False
        quic, number_at = self._quic, self._number_at
        path = quic._network_paths[0]
        sample_at = number_at + NUMBER_BYTES_MAX
        if (
            len(data) < sample_at + SAMPLE_BYTES
            or data[0] & FORM_AND_FIXED != SHORT_HEADER
            or data[1:number_at] != quic.host_cid
            or path.addr != address
            or not path.is_validated
            or len(quic._network_paths) > 1
            or quic._state is not QuicConnectionState.CONNECTED
            or quic._close_pending
        ):
            return False
        crypto, space = self._crypto, self._space
        mask = crypto.hp._mask(data[sample_at : sample_at + SAMPLE_BYTES])
        first = data[0] ^ (mask[0] & PROTECTED)
        if first & RESERVED or bool(first & KEY_PHASE) is not bool(crypto.key_phase):
            return False
        size = (first & 3) + 1
        payload_at = number_at + size
        short = int.from_bytes(data[number_at:payload_at]) ^ int.from_bytes(mask[1 : 1 + size])
        number = decode_packet_number(short, 8 * size, space.expected_packet_number)
        header = bytes((first,)) + data[1:number_at] + short.to_bytes(size)
        try:
            plain = crypto.aead.decrypt(data[payload_at:], header, number)
        except CryptoError:
            return True  # Anyone can send us garbage.
        if number in space.received_packets:
            return True
        if not plain:
            return False
        self._note_spin(first, number)
        self._take(plain, number, now)
        return True

    def _note_spin(self, first: int, number: int) -> None:
        quic, space = self._quic, self._space
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > quic._spin_highest_pn:
            quic._spin_bit = bool(first & SPIN) is not quic._is_client
            quic._spin_highest_pn = number

    def _take(self, plain: bytes, number: int, now: float) -> None:
        quic, space = self._quic, self._space
        try:
            self._take_frames(plain, now)
        except QuicConnectionError as error:
            quic.close(
                error_code=error.error_code,
                frame_type=error.frame_type,
                reason_phrase=error.reason_phrase,
            )
        if quic._close_pending or quic._state in END_STATES:
            return
        self.is_taken = True
        quic._close_at = now + quic._idle_timeout()
        quic._ack_eliciting_sent_since_receipt = False
        if number > space.largest_received_packet:
            space.largest_received_packet = number
            space.largest_received_time = now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if self.is_eliciting and space.ack_at is None:
            space.ack_at = now + quic._ack_delay

    # Frames. Raises QuicConnectionError: the other side broke the rules.

    def _take_frames(self, plain: bytes, now: float) -> None:
        at, end = 0, len(plain)
        while at < end:
            kind = plain[at]
            try:
                if STREAM <= kind <= STREAM_LAST:
                    at = self._take_stream(kind, plain, at + 1)
                    self.is_eliciting = True
                elif kind == ACK:
                    at = self._take_ack(plain, at + 1, now)
                elif kind == PADDING:
                    at += 1
                else:
                    self._leave(plain[at:], now)
                    return
            except BufferReadError:
                raise _encoding_error(kind, "Failed to parse frame") from None

    def _take_stream(self, kind: int, plain: bytes, at: int) -> int:
        quic = self._quic
        stream_id, at = _integer(plain, at)
        offset, length = 0, len(plain) - at
        if kind & HAS_OFFSET:
            offset, at = _integer(plain, at)
            length = len(plain) - at
        if kind & HAS_LENGTH:
            length, at = _integer(plain, at)
        stop = offset + length
        if at + length > len(plain):
            raise BufferReadError
        if stop > UINT_VAR_MAX:
            raise _encoding_error(kind, "offset + length cannot exceed 2^62 - 1")
        data = plain[at : at + length]
        at += length
        quic._assert_stream_can_receive(kind, stream_id)
        try:
            stream = quic._streams.get(stream_id) or quic._get_or_create_stream(kind, stream_id)
        except StreamFinishedError:
            return at
        receiver, limit = stream.receiver, quic._local_max_data
        new_bytes = max(0, stop - receiver.highest_offset)
        if stop > stream.max_stream_data_local or limit.used + new_bytes > limit.value:
            raise QuicConnectionError(
                QuicErrorCode.FLOW_CONTROL_ERROR, kind, "Over the limit of stream or connection"
            )
        try:
            event = receiver.handle_frame(QuicStreamFrame(data, bool(kind & IS_END), offset))
        except FinalSizeError as error:
            raise QuicConnectionError(QuicErrorCode.FINAL_SIZE_ERROR, kind, str(error)) from None
        if event is not None:
            quic._events.append(event)
        limit.used += new_bytes
        return at

    def _take_ack(self, plain: bytes, at: int, now: float) -> int:
        loss = self._quic._loss
        largest, at = _integer(plain, at)
        delay, at = _integer(plain, at)
        count, at = _integer(plain, at)
        length, at = _integer(plain, at)
        first = largest - length
        acked = RangeSet()
        acked.add(first, largest + 1)
        for _ in range(count):
            gap, at = _integer(plain, at)
            length, at = _integer(plain, at)
            last = first - gap - 2
            first = last - length
            acked.add(first, last + 1)
        if first < 0:
            raise _encoding_error(ACK, "ACK range contains a negative packet number")
        loss.peer_completed_address_validation = True
        loss.on_ack_received(
            ack_rangeset=acked,
            ack_delay=(delay << self._quic._remote_ack_delay_exponent) / 1_000_000,
            now=now,
            space=self._space,
        )
        return at

    def _leave(self, plain: bytes, now: float) -> None:
        """Let aioquic take the rest of the frames."""
        quic = self._quic
        context = QuicReceiveContext(
            epoch=Epoch.ONE_RTT,
            host_cid=quic.host_cid,
            network_path=quic._network_paths[0],
            quic_logger_frames=None,
            time=now,
            version=None,
        )
        is_eliciting, _ = quic._payload_received(context, plain)
        self.is_eliciting |= is_eliciting


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable-length integer and where it ends (RFC 9000 section 16)."""
    if at >= len(data):
        raise BufferReadError
    first = data[at]
    if first < 0x40:
        return first, at + 1
    size = 1 << (first >> 6)
    if at + size > len(data):
        raise BufferReadError
    return int.from_bytes(data[at : at + size]) & ((1 << (8 * size - 2)) - 1), at + size


def _encoding_error(kind: int, reason: str) -> QuicConnectionError:
    return QuicConnectionError(QuicErrorCode.FRAME_ENCODING_ERROR, kind, reason)
