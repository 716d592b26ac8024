"""One µTP connection (BEP 29): carries a `Stream`'s bytes in trains of packets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from livestream.machine import MILLISECOND, SECOND, Address, Train, earliest
from livestream.transport.connection import ConnectionState
from livestream.transport.ledbat import Ledbat
from livestream.transport.stream import Stream
from livestream.transport.utp.delay import DelaySamples
from livestream.transport.utp.flight import Flight
from livestream.transport.utp.mtu import MtuSearch, datagram_ceiling, datagram_floor
from livestream.transport.utp.pacing import Pacer
from livestream.transport.utp.packet import HEADER, HEADER_BYTES, Packet, PacketType
from livestream.transport.utp.receiving import EarlyBudget, Receiving
from livestream.transport.utp.rows import check_rows, payload_of, rows_of, stamp_rows, write_rows
from livestream.transport.utp.sending import AckNews, Sending

__all__ = ["Shared", "Terms", "UtpConnection", "UtpState"]

TRAIN_BYTES_MAX: Final = 65_000  # Below what one GSO send takes.
ROWS_MAX: Final = 60
ROWS_IN_FLIGHT_MAX: Final = 1 << 14  # A quarter of the numbers: old ones cannot be mistaken.
WINDOW_BYTES: Final = 2 << 20  # Fits the socket's buffer, for peers that send without a pause...
WINDOW_BYTES_MAX: Final = 16 << 20  # ...and more on long paths, where it is under way...
WINDOW_RATE_BPS: Final = 1_000_000_000  # ...so that one connection reaches this.
ACK_ROWS: Final = 2  # So many rows are acknowledged at once; fewer may wait...
ACK_WAIT_US: Final = 20 * MILLISECOND  # ...so long.
KEEP_ALIVE_US: Final = 29 * SECOND  # NATs forget after 30.
SYN_TRIES_MAX: Final = 6
TIMEOUTS_MAX: Final = 5  # In a row: about half a minute.
LINGER_US: Final = 5 * SECOND  # For our last bytes and FIN to be acknowledged.


class Terms(NamedTuple):
    """What the handshake agreed on."""

    receive_id: int
    "By which the other side addresses us."
    send_id: int
    first_seq: int
    "Of our data."
    peer_seq: int | None
    "The first of theirs; None while we call."


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of an endpoint have in common."""

    budget: EarlyBudget
    delay_target_us: int
    on_change: Callable[[UtpConnection], None]
    "Called whenever there may be something to send or report."


class UtpState(Enum):
    """Where a connection is in its life; it only moves downwards."""

    SYN_SENT = "syn sent"
    CONNECTED = "connected"
    CLOSING = "closing"
    "Nothing more will be sent but what is lost; our FIN is out."
    CLOSED = "closed"


class UtpConnection:
    """Drives a stream over datagrams, as a socket's driver does over TCP.

    What the stream wants to send is cut into rows of a train; what comes in its turn is handed to
    the stream in one piece a train.

    Invariant: `Connected` is reported once, and `Disconnected` last; after CLOSED nothing is sent.
    """

    def __init__(self, address: Address, terms: Terms, shared: Shared, now: int) -> None:
        self.address = address
        self.receive_id, self.send_id = terms.receive_id, terms.send_id
        is_outgoing = terms.peer_seq is None
        self.state = UtpState.SYN_SENT if is_outgoing else UtpState.CONNECTED
        self.stream = Stream(
            address, lambda _: shared.on_change(self), now, is_outgoing=is_outgoing
        )
        self._budget = shared.budget
        floor = datagram_floor()
        self.ledbat = Ledbat(floor, shared.delay_target_us)
        self._mtu = MtuSearch(floor, datagram_ceiling(address.host))
        self._pacer = Pacer()
        self._sending = Sending(terms.first_seq)
        self._receiving = Receiving(terms.peer_seq or 0, self._budget)
        self._delays = DelaySamples()
        self._peer_window = 0 if is_outgoing else self._mtu.size  # Until it says.
        self._our_delay = 0  # What we last measured of its packets' way, for it to know.
        self._rows_to_ack = 0
        self._ack_at: int | None = None
        self._timeouts = 0
        self._news_at = now
        self._has_probed = False
        self._may_knock = False
        self._sent_at = now
        self._paced_until: int | None = None
        self._end_at: int | None = None
        self._syn_at: int | None = now if is_outgoing else None
        self._syn_tries = 0
        if not is_outgoing:
            self.stream.connected(now)

    @property
    def is_over(self) -> bool:
        """Whether the endpoint may forget this connection."""
        return self.state is UtpState.CLOSED

    # Packets in

    def receive_run(self, train: Train, now: int) -> bool:
        """Take a train of data in its turn, all rows at once; False if it is anything else."""
        data, size = train.data, train.datagram_size
        rows = rows_of(len(data), size)
        tail = len(data) - (rows - 1) * size
        first, extension, *_, seq, _ = HEADER.unpack_from(data)
        receiving = self._receiving
        if (
            first >> 4 != PacketType.DATA
            or extension
            or receiving.early
            or receiving.end_seq is not None
            or seq != receiving.next_seq & 0xFFFF
            or self.state is UtpState.SYN_SENT
            or tail <= HEADER_BYTES
            or not check_rows(data, size, rows, seq)
        ):
            return False
        *_, timestamp, difference, window, seq, ack = HEADER.unpack_from(data, (rows - 1) * size)
        last = Packet(PacketType.DATA, self.receive_id, timestamp, difference, window, seq, ack)
        if not self._take_header(last, now):
            return True
        receiving.advance(rows)
        self._rows_to_ack += rows
        self._deliver(payload_of(data, size), now)
        return True

    def receive_packet(self, packet: Packet, now: int) -> None:
        """Take one packet."""
        if self.state is UtpState.SYN_SENT:
            self._finish_syn(packet, now)
            return
        if packet.type is PacketType.SYN:
            return  # Again: the endpoint has answered it.
        if not self._take_header(packet, now):
            return
        if packet.type is PacketType.RESET:
            self._close("reset")
        elif packet.type is PacketType.DATA and packet.payload:
            before = self._receiving.next_seq
            ready = self._receiving.take(packet.seq, packet.payload, self._window())
            self._rows_to_ack += 1
            if self._receiving.early or self._receiving.next_seq == before:
                self._ack_at = now  # A hole, or a copy: the sender must know at once.
            for payload in ready:
                self._deliver(payload, now)
        elif packet.type is PacketType.FIN:
            self._receiving.end(packet.seq)
            self._ack_at = now
        if self._receiving.is_ended and self.state is not UtpState.CLOSED:
            self.stream.lost("hung up")

    def _finish_syn(self, packet: Packet, now: int) -> None:
        if packet.ack != (self._sending.next_seq - 1) & 0xFFFF:
            return
        if packet.type is PacketType.RESET:
            self._close("refused")
        elif packet.type is PacketType.STATE:
            # Neither libtorrent's nor libutp's STATE uses up a number: data begins with this one.
            self._receiving = Receiving(packet.seq, self._budget)
            self.state = UtpState.CONNECTED
            if self._syn_tries == 1 and self._syn_at is not None:
                self._sending.rtt.measured(now - self._sent_at)
            self._syn_at = None
            self._take_header(packet, now)
            self.stream.connected(now)

    def _take_header(self, packet: Packet, now: int) -> bool:
        """Learn from a packet's header; False if it cannot be of this connection."""
        sending = self._sending
        in_flight = sending.in_flight
        news = sending.on_ack(packet.ack, packet.sack, now)
        if news is None:
            return False
        self._our_delay = (now - packet.timestamp) & 0xFFFFFFFF
        self._peer_window = packet.window
        if news.acked_bytes:
            self._news_at = now
            self._timeouts = 0
            self._has_probed = False
            self._take_delay(packet.difference, now)
            is_used = in_flight + 2 * self._mtu.size >= self.ledbat.window_bytes // 2
            self.ledbat.on_ack(news.acked_bytes, is_window_used=is_used, now=now)
        self._take_news(news, now)
        return True

    def _take_delay(self, difference: int, now: int) -> None:
        delay_us = self._delays.unwrap(difference)
        if delay_us is not None:
            rtt_us = self._sending.rtt.smoothed_us
            self.ledbat.on_delay(delay_us, now, rtt_us or self._sending.rtt.timeout_us)

    def _take_news(self, news: AckNews, now: int) -> None:
        if news.probed:
            self._mtu.came(news.probed)
        if news.probe_lost:
            self._mtu.lost(news.probe_lost)
        if news.lost_bytes:
            self.ledbat.on_loss(now, self._sending.rtt.smoothed_us or 0)

    def _deliver(self, payload: bytes | memoryview, now: int) -> None:
        self.stream.rewind()  # What the last bytes told was taken by now.
        self.stream.receive_data(payload, now)

    # Packets out

    def trains_to_send(self, now: int) -> list[Train]:
        """Return what must go out now."""
        if self.state is UtpState.CLOSED:
            return []
        if self.state is UtpState.SYN_SENT:
            return self._syn(now)
        self._pacer.set_rate(
            self.ledbat.window_bytes,
            self._sending.rtt.smoothed_us,
            is_starting=self.ledbat.slow_start_threshold is None,
        )
        trains = self._resend(now)
        if self.state is UtpState.CONNECTED:
            trains += self._send_new(now)
            if self.stream.state is ConnectionState.CLOSED:
                trains.append(self._fin(now))
        elif not self._sending.flights:
            self.state = UtpState.CLOSED
        if self._is_ack_due(now) and (not trains or self._receiving.early):
            trains.append(self._state(now))
        if trains:
            self._sent_at = now
            self._rows_to_ack = 0
            self._ack_at = None
        elif self._rows_to_ack and self._ack_at is None:
            self._ack_at = now + ACK_WAIT_US
        return trains

    def _syn(self, now: int) -> list[Train]:
        if self.stream.state is ConnectionState.CLOSED:
            self.state = UtpState.CLOSED
            return []
        if self._syn_at is None or now < self._syn_at:
            return []
        self._syn_tries += 1
        self._syn_at = now + self._sending.rtt.timeout_us
        self._sent_at = now
        if self._syn_tries > SYN_TRIES_MAX:
            self._close("no answer")
            return []
        self._sending.rtt.timed_out()
        seq = self._sending.next_seq - 1
        packet = Packet(PacketType.SYN, self.receive_id, now, 0, self._window(), seq, 0)
        return [Train(self.address, packet.to_bytes(), HEADER_BYTES)]

    def _send_new(self, now: int) -> list[Train]:
        trains: list[Train] = []
        self._paced_until = None
        while self.stream.backlog_bytes:
            size, is_probe = self._mtu.size, False
            rows = self._rows_allowed(size, now)
            if not rows:
                break
            probe = self._mtu.next_probe() if self.stream.backlog_bytes > 2 * size else None
            if probe is not None:
                size, rows, is_probe = probe, 1, True
            trains.append(self._data(size, rows, now, is_probe=is_probe))
        return trains

    def _rows_allowed(self, size: int, now: int) -> int:
        """How many rows the windows and the pacer allow; sets when to try again."""
        sending = self._sending
        window = min(self.ledbat.window_bytes, self._peer_window)
        room = window - sending.in_flight
        if room < size and sending.in_flight:
            return 0
        if sending.lost_rows or sending.rows_in_flight > ROWS_IN_FLIGHT_MAX:
            return 0
        if self._peer_window < size:  # No room there: a row now and then, to hear when there is.
            is_time, self._may_knock = self._may_knock, False
            return 1 if is_time and not sending.in_flight else 0
        paced = self._pacer.room(now)
        if paced is not None:
            if not paced:
                self._paced_until = self._pacer.next_at(now)
                return 0
            room = min(room, paced)
        return max(1, min(room // size, ROWS_MAX, TRAIN_BYTES_MAX // size))

    def _data(self, size: int, rows: int, now: int, *, is_probe: bool) -> Train:
        width = size - HEADER_BYTES
        wanted = rows * width
        buffers: list[bytes | bytearray | memoryview] = []
        for buffer in self.stream.buffers_to_send():
            part = buffer if len(buffer) <= wanted else memoryview(buffer)[:wanted]
            buffers.append(part)
            wanted -= len(part)
            if not wanted:
                break
        first = self._sending.next_seq
        data = write_rows(self._header(PacketType.DATA, first, now), first & 0xFFFF, buffers, width)
        self.stream.sent(rows * width - wanted, now)
        count = rows_of(len(data), size)
        return self._launch(Flight(first, count, data, min(size, len(data)), now, is_probe), now)

    def _fin(self, now: int) -> Train:
        self.state = UtpState.CLOSING
        self._end_at = now + LINGER_US
        seq = self._sending.next_seq
        data = self._header(PacketType.FIN, seq, now)
        return self._launch(Flight(seq, 1, data, HEADER_BYTES, now), now)

    def _launch(self, flight: Flight, now: int) -> Train:
        if not self._sending.in_flight:
            self._news_at = now
        self._sending.add(flight)
        self._pacer.sent(len(flight.data), now)
        return Train(self.address, flight.data, flight.datagram_size, flight.is_probe)

    def _resend(self, now: int) -> list[Train]:
        sending = self._sending
        if not sending.lost_rows:
            return []
        room = min(self.ledbat.window_bytes, max(self._peer_window, self._mtu.size))
        room -= sending.in_flight
        if not sending.in_flight:
            room = max(room, self._mtu.size)
            self._news_at = now
        trains: list[Train] = []
        for flight, row, count in sending.take_lost(room, now):
            data = flight.cut(row, count)
            header = self._header(PacketType.DATA, 0, now)
            stamp_rows(data, flight.datagram_size, count, header)
            trains.append(Train(self.address, data, min(flight.datagram_size, len(data))))
            self._pacer.sent(len(data), now)
        return trains

    def _state(self, now: int) -> Train:
        header = self._fields(now)
        seq, ack = self._sending.next_seq, self._receiving.next_seq - 1
        early = self._receiving.early
        packet = Packet(PacketType.STATE, self.send_id, *header, seq, ack, early)
        data = packet.to_bytes()
        return Train(self.address, data, len(data))

    def _header(self, kind: PacketType, seq: int, now: int) -> bytes:
        ack = self._receiving.next_seq - 1
        return Packet(kind, self.send_id, *self._fields(now), seq, ack).to_bytes()

    def _fields(self, now: int) -> tuple[int, int, int]:
        return now, self._our_delay, self._window()

    def _window(self) -> int:
        """How many bytes we take: more on long paths, less what waits for its turn."""
        rtt_us = self._sending.rtt.smoothed_us or 0
        wanted = min(WINDOW_RATE_BPS // 8 * rtt_us // SECOND, WINDOW_BYTES_MAX)
        return max(wanted, WINDOW_BYTES) - self._receiving.early_bytes

    def _is_ack_due(self, now: int) -> bool:
        is_due = self._ack_at is not None and self._ack_at <= now
        return is_due or self._rows_to_ack >= ACK_ROWS

    # Time

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        if self.state is UtpState.CLOSED:
            return None
        if self.state is UtpState.SYN_SENT:
            return earliest(self._syn_at, self.stream.get_timer())
        return earliest(
            self._ack_at,
            self._paced_until,
            self._sending.look_at,
            self._end_at,
            self._silence_at(),
            self._sent_at + KEEP_ALIVE_US,
            self.stream.get_timer(),
        )

    def handle_timer(self, now: int) -> None:
        """Do what is due; what is to be sent then, `trains_to_send` returns."""
        stream_at = self.stream.get_timer()
        if stream_at is not None and stream_at <= now:
            self.stream.handle_timer(now)
        if self.state in (UtpState.SYN_SENT, UtpState.CLOSED):
            return
        if self._end_at is not None and self._end_at <= now:
            self._close("closed")
            return
        look_at = self._sending.look_at
        if look_at is not None and look_at <= now:
            news = AckNews()
            self._sending.find_losses(now, news)
            self._take_news(news, now)
        silence_at = self._silence_at()
        if silence_at is not None and silence_at <= now:
            self._on_silence(now)
        if self._sent_at + KEEP_ALIVE_US <= now:
            self._ack_at = now

    def _silence_at(self) -> int | None:
        """When the lack of news means something."""
        is_stuck = bool(self.stream.backlog_bytes) and self._peer_window < self._mtu.size
        if not self._sending.flights and not is_stuck:
            return None
        rtt = self._sending.rtt
        return self._news_at + (rtt.timeout_us if self._has_probed else rtt.probe_us)

    def _on_silence(self, now: int) -> None:
        """First send the last row again; then take all for lost."""
        if not self._has_probed:
            self._has_probed = True
            self._sending.give_up_last()
            return
        self._news_at = now
        if not self._sending.flights:
            self._sending.rtt.timed_out()
            self._may_knock = True
            return
        self._timeouts += 1
        if self._timeouts > TIMEOUTS_MAX:
            self._close("no answer")
            return
        if self._timeouts > 1:
            self._mtu.start_again()
        self._sending.give_up_all()
        self._sending.rtt.timed_out()
        self.ledbat.on_timeout()

    def _close(self, reason: str) -> None:
        self.state = UtpState.CLOSED
        self._receiving.close()
        self._sending.flights.clear()
        self.stream.lost(reason)
