"""The quick way out for nearly every QUIC datagram: one 1-RTT packet of ACK and STREAM frames.

aioquic asks for each packet all that any packet could have to say. This asks first whether there is
more to say than acknowledgements and what streams carry; if not, it does to the connection's state
what `QuicConnection.datagrams_to_send` would do to it (RFC 9000 sections 12, 13 and 17.3, RFC 9001
section 5), in a third of the time. Else all is left to aioquic.
"""

from __future__ import annotations

from typing import Any, Final, cast

from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch

__all__ = ["PacketWriter"]

SHORT_HEADER: Final = 0x40
PROTECTED: Final = 0x1F
# A packet's number is cut to what tells it from all that may not have come yet: one byte for twice
# as many packets as RFC 9000 section 17.1 would have it, else two, as aioquic has it.
ONE_BYTE_UNTIL: Final = 64
SAMPLE_AT: Final = 4  # The sample begins behind the longest packet number.
SAMPLE_BYTES: Final = 16
TAG_BYTES: Final = 16
ACK: Final = 0x02  # RFC 9000 section 19.
STREAM: Final = 0x08
HAS_OFFSET: Final = 4
HAS_LENGTH: Final = 2
IS_END: Final = 1
LENGTH_BYTES: Final = 2
LENGTH_IN_TWO_BYTES: Final = 0x4000
KIND_AT: Final = -4  # Of the last STREAM frame's parts: kind, stream and offset, length, data.
LENGTH_AT: Final = -2
RANGES_MAX: Final = 16  # Of acknowledgements; for more of them aioquic sees what has room.
PINGS_EACH: Final = 8  # So many packets with gaps to tell of have a ping, and that is aioquic's.


class PacketWriter:
    """Writes the usual packets of one connection whose handshake is confirmed.

    Invariant: what was written is on record for acknowledgements and losses.
    """

    def __init__(self, connection: QuicConnection) -> None:
        """Take aioquic's connection, of whose inner state this knows more than it should."""
        self._quic = cast(Any, connection)
        self._pair = self._quic._cryptos[Epoch.ONE_RTT]
        self._space = self._quic._spaces[Epoch.ONE_RTT]
        self._crypto_stream = self._quic._crypto_streams[Epoch.ONE_RTT]

    def is_usual(self, now: float) -> bool:
        """Whether nothing is to be said but what was received, and what streams carry."""
        quic = self._quic
        path = quic._network_paths[0]
        if (
            quic._state is not QuicConnectionState.CONNECTED
            or quic._close_pending
            or quic._probe_pending
            or quic._ping_pending
            or quic._handshake_done_pending
            or quic._retire_connection_ids
            or quic._streams_blocked_pending
            or quic._datagrams_pending
            or quic._remote_preferred_address is not None
            or len(quic._network_paths) > 1
            or not path.is_validated
            or path.remote_challenges
            or self._pair._update_key_requested
            or not self._crypto_stream.sender.buffer_is_empty
        ):
            return False
        for connection_id in quic._host_cids:
            if not connection_id.was_sent:
                return False
        return not self.has_limits and self._has_usual_acks(now) and self._has_usual_streams()

    @property
    def has_limits(self) -> bool:
        """Whether the other side is to be given more room."""
        quic = self._quic
        data = quic._local_max_data
        if data.used * 2 > data.value or data.sent != data.value:
            return True
        for limit in (quic._local_max_streams_bidi, quic._local_max_streams_uni):
            more = limit.value - limit.sent
            if more and limit.sent - limit.used < more:
                return True
        return False

    def _has_usual_acks(self, now: float) -> bool:
        space = self._space
        if space.ack_at is None:
            return True
        ranges = len(space.ack_queue)
        is_pinged = ranges > 1 and self._quic._packet_number % PINGS_EACH == 0
        return 0 < ranges <= RANGES_MAX and not (is_pinged and space.ack_at <= now)

    def _has_usual_streams(self) -> bool:
        for stream in self._quic._streams.values():
            room = stream.max_stream_data_local
            if room != stream.max_stream_data_local_sent or (
                room and stream.receiver.highest_offset * 2 > room
            ):
                return False
            if stream.receiver.stop_pending or stream.sender.reset_pending:
                return False
        return True

    def write(self, now: float) -> list[bytes]:
        """Return datagrams, as congestion control allows."""
        quic, space, loss = self._quic, self._space, self._quic._loss
        flight_bytes = loss.congestion_window - loss.bytes_in_flight
        datagrams: list[bytes] = []
        quic._pacing_at = None
        while True:
            if space.ack_at is None or space.ack_at >= now:
                quic._pacing_at = loss._pacer.next_send_time(now=now)
                if quic._pacing_at is not None:
                    break
            packet = QuicSentPacket(
                Epoch.ONE_RTT,
                in_flight=False,
                is_ack_eliciting=False,
                is_crypto_packet=False,
                packet_number=quic._packet_number,
                packet_type=QuicPacketType.ONE_RTT,
                sent_time=now,
            )
            number_bytes = self._number_bytes()
            overhead_bytes = 1 + len(quic._peer_cid.cid) + number_bytes + TAG_BYTES
            room_bytes = quic._max_datagram_size - overhead_bytes
            free_bytes = min(room_bytes, flight_bytes - overhead_bytes)
            frames, has_discarded = self._fill(packet, free_bytes, room_bytes, now)
            if frames:
                datagrams.append(self._seal(b"".join(frames), packet, number_bytes, now))
                flight_bytes -= packet.sent_bytes if packet.in_flight else 0
                loss._pacer.update_after_send(now=now)
            elif not has_discarded:
                break
        return datagrams

    # Frames

    def _fill(
        self, packet: QuicSentPacket, free_bytes: int, room_bytes: int, now: float
    ) -> tuple[list[bytes], bool]:
        """Return the packet's frames, and whether any stream was done with.

        Args:
            packet: It is told what it carries.
            free_bytes: Of the packet, for what congestion control counts.
            room_bytes: Of the packet, for all.
            now: Machine time, s.
        """
        ack_at = self._space.ack_at
        ack = b"" if ack_at is None else self._ack(now)
        has_ack = ack_at is not None and ack_at <= now
        frames = [ack] if has_ack else []
        has_discarded = self._add_streams(frames, packet, free_bytes - sum(map(len, frames)))
        if packet.is_ack_eliciting:  # The last frame ends with the packet, and says no length.
            frames[KIND_AT] = bytes((frames[KIND_AT][0] & ~HAS_LENGTH,))
            frames[LENGTH_AT] = b""
        # What goes anyway takes it along, but must not become two datagrams by that.
        if ack and frames and not has_ack and sum(map(len, frames)) + len(ack) <= room_bytes:
            frames.insert(0, ack)
            has_ack = True
        if has_ack:
            self._note_acked(packet)
        return frames, has_discarded

    def _ack(self, now: float) -> bytes:
        quic, space = self._quic, self._space
        delay = int((now - space.largest_received_time) * 1_000_000)
        ranges = space.ack_queue
        newest = ranges[-1]
        parts = [
            bytes((ACK,)),
            _integer(newest.stop - 1),
            _integer(delay >> quic._local_ack_delay_exponent),
            _integer(len(ranges) - 1),
            _integer(newest.stop - 1 - newest.start),
        ]
        start = newest.start
        for number in range(len(ranges) - 2, -1, -1):
            older = ranges[number]
            parts += (_integer(start - older.stop - 1), _integer(older.stop - older.start - 1))
            start = older.start
        return b"".join(parts)

    def _note_acked(self, packet: QuicSentPacket) -> None:
        space = self._space
        space.ack_at = None
        delivered = self._quic._on_ack_delivery, (space, space.largest_received_packet)
        packet.delivery_handlers.append(delivered)

    def _add_streams(self, frames: list[bytes], packet: QuicSentPacket, free_bytes: int) -> bool:
        """Take in turns what streams have to send. Returns whether any of them was done with."""
        quic = self._quic
        sent: list[QuicStream] = []
        discarded: list[QuicStream] = []
        for stream in quic._streams_queue:
            if stream.receiver.is_finished and stream.sender.is_finished:
                discarded.append(stream)
            elif not stream.is_blocked and not stream.sender.buffer_is_empty:
                used_bytes = self._add_stream(stream, frames, packet, free_bytes)
                free_bytes -= used_bytes
                if used_bytes:
                    sent.append(stream)
        for stream in discarded:
            self._discard(stream)
        if sent or discarded:  # Who was served is behind the others then.
            moved = {*sent, *discarded}
            queue = [stream for stream in quic._streams_queue if stream not in moved]
            quic._streams_queue = queue + sent
        return bool(discarded)

    def _add_stream(
        self, stream: QuicStream, frames: list[bytes], packet: QuicSentPacket, free_bytes: int
    ) -> int:
        """Take what there is room for. Returns the bytes that its frame takes, or two more."""
        quic, sender = self._quic, stream.sender
        next_offset = sender.next_offset
        head = _integer(stream.stream_id or 0)
        if next_offset:
            head += _integer(next_offset)
        highest = sender.highest_offset
        allowed = highest + quic._remote_max_data - quic._remote_max_data_used
        head_bytes = 1 + len(head)
        frame = sender.get_frame(
            free_bytes - head_bytes, min(allowed, stream.max_stream_data_remote)
        )
        if frame is None:
            return 0
        length = len(frame.data)
        kind = STREAM | HAS_LENGTH | (HAS_OFFSET if frame.offset else 0) | frame.fin
        frames += (
            bytes((kind,)),
            head,
            (length | LENGTH_IN_TWO_BYTES).to_bytes(LENGTH_BYTES),
            frame.data,
        )
        packet.in_flight = packet.is_ack_eliciting = True
        packet.delivery_handlers.append(
            (sender.on_data_delivery, (frame.offset, frame.offset + length, frame.fin))
        )
        quic._remote_max_data_used += sender.highest_offset - highest
        # Without room for its length it is the last one, and has none.
        return head_bytes + LENGTH_BYTES + length

    def _discard(self, stream: QuicStream) -> None:
        quic, stream_id = self._quic, stream.stream_id or 0
        quic._streams.pop(stream_id)
        if bool(stream_id & 1) is quic._is_client:  # It was opened by the other side.
            quic._stream_limit(stream_id).value += 1

    # Packets

    def _number_bytes(self) -> int:
        under_way = self._quic._packet_number - self._space.largest_acked_packet
        return 1 if under_way < ONE_BYTE_UNTIL else 2

    def _seal(self, plain: bytes, packet: QuicSentPacket, number_bytes: int, now: float) -> bytes:
        """Protect it (RFC 9001 section 5), and put it on record."""
        quic, crypto = self._quic, self._pair.send
        number = packet.packet_number
        first = SHORT_HEADER | (quic._spin_bit << 5) | (crypto.key_phase << 2) | (number_bytes - 1)
        middle = quic._peer_cid.cid
        short = number & ((1 << 8 * number_bytes) - 1)
        header = bytes((first,)) + middle + short.to_bytes(number_bytes)
        payload = crypto.aead.encrypt(plain, header, number)
        sample_at = SAMPLE_AT - number_bytes
        mask = crypto.hp._mask(payload[sample_at : sample_at + SAMPLE_BYTES])
        short ^= int.from_bytes(mask[1 : 1 + number_bytes])
        datagram = b"".join(
            (
                bytes((first ^ (mask[0] & PROTECTED),)),
                middle,
                short.to_bytes(number_bytes),
                payload,
            )
        )
        packet.sent_bytes = len(datagram)
        quic._packet_number = number + 1
        quic._network_paths[0].bytes_sent += len(datagram)
        quic._loss.on_packet_sent(packet=packet, space=self._space)
        if packet.is_ack_eliciting and not quic._ack_eliciting_sent_since_receipt:
            quic._close_at = now + quic._idle_timeout()
            quic._ack_eliciting_sent_since_receipt = True
        return datagram


def _integer(value: int) -> bytes:
    """Return it as a variable-length integer (RFC 9000 section 16)."""
    if value < 0x40:
        return bytes((value,))
    if value < 0x4000:
        return (value | 0x4000).to_bytes(2)
    if value < 0x4000_0000:
        return (value | 0x8000_0000).to_bytes(4)
    return (value | 0xC000_0000_0000_0000).to_bytes(8)
