"""One µTP connection (BEP 29): carries a `Stream`'s bytes in trains of packets."""

from __future__ import annotations

from enum import Enum
from typing import Final

from livestream.machine import MILLISECOND, SECOND, Address, Train, earliest
from livestream.transport.connection import FORGOTTEN, NO_ANSWER, ConnectionState, Transport
from livestream.transport.ledbat import Ledbat
from livestream.transport.stream import Stream
from livestream.transport.utp.intake import Intake
from livestream.transport.utp.mtu import datagram_floor
from livestream.transport.utp.packet import HEADER, HEADER_BYTES, VERSION, Packet, PacketType
from livestream.transport.utp.receiving import Receiving
from livestream.transport.utp.rows import check_rows, payload_of, rows_of
from livestream.transport.utp.sender import Sender
from livestream.transport.utp.terms import Shared, Terms

__all__ = ["UtpConnection", "UtpState"]

ACK_ROWS: Final = 2  # So many rows are acknowledged at once; fewer may wait...
ACK_WAIT_US: Final = 20 * MILLISECOND  # ...so long.
HOLE_PATIENCE_US: Final = 300 * MILLISECOND  # A hole that is older, and older than so many...
HOLE_ROUND_TRIPS: Final = 4  # ...round trips, is not being filled: see `_look_at_hole`.
HOLE_AGE_MAX_US: Final = 2 * SECOND  # Then another connection is quicker than waiting...
HOLE_ROUND_TRIPS_MAX: Final = 12  # ...so many round trips, too.
# Longer than others wait before they send what is missing again; then it is named once more.
NAME_AGAIN_US: Final = 1_300 * MILLISECOND
PART_ROWS: Final = 176  # Of a train, so many are handed on at once: they stay in the cache.
KEEP_ALIVE_US: Final = 29 * SECOND  # NATs forget after 30.
SYN_TRIES_MAX: Final = 6
DATA_FIRST: Final = PacketType.DATA << 4 | VERSION  # The first byte of data.
LINGER_US: Final = 5 * SECOND  # For our last bytes and FIN to be acknowledged.


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
        self.stream.transport = Transport.UTP
        self.stream.on_reserve = self._promise
        self._shared = shared
        self._intake = Intake(shared.budget, shared.allowance, shared.waiting)
        self._window_told = 0
        self._hole_since = now
        self._is_stuck = False
        ledbat = Ledbat(datagram_floor(), shared.delay_target_us, shared.precedence)
        self._sender = Sender(address, terms.first_seq, ledbat, self._header, now)
        self._receiving = Receiving(terms.peer_seq or 0, shared.budget)
        self._our_delay = 0  # What we last measured of its packets' way, for it to know.
        self._rows_to_ack = 0
        self._ack_at: int | None = None
        self._sent_at = now
        self._end_at: int | None = None
        self._syn_at: int | None = now if is_outgoing else None
        self._syn_tries = 0
        if not is_outgoing:
            self.stream.connected(now)

    @property
    def is_over(self) -> bool:
        """Whether the endpoint may forget this connection."""
        return self.state is UtpState.CLOSED

    @property
    def has_more(self) -> bool:
        """Whether `trains_to_send` has left something that may go at once."""
        return self._sender.has_more

    # Packets in

    def receive_run(self, train: Train, now: int) -> bool:
        """Take a train of data in its turn, all rows at once; False if it is anything else."""
        data, size = train.data, train.datagram_size
        rows = rows_of(len(data), size)
        last_at = (rows - 1) * size
        first, extension, *_, seq, _ = HEADER.unpack_from(data)
        receiving = self._receiving
        if (
            first != DATA_FIRST
            or extension
            or receiving.early
            or receiving.end_seq is not None
            or seq != receiving.next_seq & 0xFFFF
            or self.state in (UtpState.SYN_SENT, UtpState.CLOSED)
            or len(data) - last_at <= HEADER_BYTES
            or not check_rows(data, size, rows, seq)
        ):
            return False
        *_, timestamp, difference, window, seq, ack = HEADER.unpack_from(data, last_at)
        last = Packet(PacketType.DATA, self.receive_id, timestamp, difference, window, seq, ack)
        if not self._take_header(last, now - train.waited_us) or not self._has_room(len(data), now):
            return True
        receiving.advance(rows)
        self._rows_to_ack += rows
        for at in range(0, len(data), PART_ROWS * size):
            part = data[at : at + PART_ROWS * size]
            self._deliver(payload_of(part, size, self._shared.scratch), now)
        return True

    def receive_packet(self, packet: Packet, now: int, arrived_at: int) -> None:
        """Take one packet, which the kernel has had since `arrived_at`."""
        if self.is_over:
            return  # Nobody would give back what were kept now.
        if self.state is UtpState.SYN_SENT:
            self._finish_syn(packet, now, arrived_at)
        elif packet.type is not PacketType.SYN and self._take_header(packet, arrived_at):
            if packet.type is PacketType.RESET:
                self._close("reset")
            elif packet.type is PacketType.DATA and packet.payload:
                self._take_data(packet, now)
            elif packet.type is PacketType.FIN:
                self._receiving.end(packet.seq)
                self._ack_at = now
            self._look_for_end()

    def _finish_syn(self, packet: Packet, now: int, arrived_at: int) -> None:
        board = self._sender.board
        if packet.ack != (board.next_seq - 1) & 0xFFFF:
            return
        if packet.type is PacketType.RESET:
            self._close("refused")
        elif packet.type is PacketType.STATE:
            # Neither libtorrent's nor libutp's STATE uses up a number: data begins with this one.
            self._receiving = Receiving(packet.seq, self._shared.budget)
            self.state = UtpState.CONNECTED
            if self._syn_tries == 1:
                board.rtt.measured(arrived_at - self._sent_at)
            self._syn_at = None
            self._take_header(packet, arrived_at)
            self.stream.connected(now)

    def _take_header(self, packet: Packet, arrived_at: int) -> bool:
        """Learn from a packet's header; False if it cannot be of this connection.

        Delays and round trips end when it came to this machine: how long the machine let it wait
        is no queue on the path.
        """
        if not self._sender.receive(packet, arrived_at):
            return False
        self._our_delay = (arrived_at - packet.timestamp) & 0xFFFFFFFF
        self.stream.rtt_measured_us = self._sender.board.rtt.smoothed_us
        self.stream.silent_since = self._sender.unanswered_at
        return True

    def _promise(self, rate_bps: int) -> None:
        self._sender.ledbat.promise(rate_bps, ACK_WAIT_US)

    def _take_data(self, packet: Packet, now: int) -> None:
        if not self._has_room(len(packet.payload), now):
            return
        receiving = self._receiving
        before, had_early = receiving.next_seq, receiving.early
        ready = receiving.take(packet.seq, packet.payload, self._intake.window_whole(self._rtt_us))
        self._rows_to_ack += 1
        is_next = receiving.next_seq != before
        is_copy = not is_next and receiving.early == had_early
        self._look_at_hole(now, is_another=is_next or not had_early)
        if is_copy or (not self._is_stuck and (had_early or receiving.early)):
            self._ack_at = now  # A hole, its end, or a copy: the sender must know at once.
        if ready:
            self._deliver(ready[0] if len(ready) == 1 else b"".join(ready), now)

    def _look_at_hole(self, now: int, *, is_another: bool) -> None:
        """Find out whether the sender has forgotten what is missing.

        libtorrent sends again a second time only when it hears nothing for a while, and what comes
        behind a hole is news to it, for seconds. Silence is what makes it think again, and data
        of ours would break it as much as an acknowledgement.
        """
        if is_another:
            self._hole_since = now
        patience_us = max(HOLE_PATIENCE_US, HOLE_ROUND_TRIPS * self._rtt_us)
        is_old = now - self._hole_since > patience_us
        self._is_stuck = is_old and bool(self._receiving.early)

    def _deliver(self, payload: bytes | memoryview, now: int) -> None:
        if self._shared.allowance is None:
            self._pass_on(payload, now)
        elif self.stream.state is ConnectionState.CONNECTED:
            self._intake.keep(bytes(payload))
            self._shared.waiting[self] = None

    def _pass_on(self, payload: bytes | memoryview, now: int) -> None:
        self.stream.rewind()
        self.stream.receive_data(payload, now)

    def hand_out(self, now: int) -> None:
        """Give the stream a share of what waits for the allowance; whoever has more, queues up."""
        allowance = self._shared.allowance
        self._shared.waiting.pop(self, None)
        if allowance is None or not self._intake.held_bytes:
            return
        share = self._intake.next_share(allowance.share_bytes)
        allowance.take(len(share), now)
        if self._intake.held_bytes:
            self._shared.waiting[self] = None
        if self._intake.is_worth_telling(self._window_told, self._window()):
            self._ack_at = now
        self._pass_on(share, now)
        self._look_for_end()

    def _look_for_end(self) -> None:
        is_ended = self._receiving.is_ended and not self._intake.held_bytes
        if is_ended and self.state is not UtpState.CLOSED:
            self.stream.lost("hung up")

    # Packets out

    def trains_to_send(self, now: int) -> list[Train]:
        """Return what must go out now; once more when `has_more`."""
        self._sender.has_more = False
        if self.state is UtpState.CLOSED:
            return []
        if self.state is UtpState.SYN_SENT:
            return self._syn(now)
        if self._silent_until is not None and now < self._silent_until:
            return []
        if self.stream.is_waiting and self._is_ack_due(now):
            self.stream.end_wait()  # Data tells what has come as well as an acknowledgement does.
        trains = self._sender.send(self.stream, now)
        self.stream.silent_since = self._sender.unanswered_at
        if self.stream.state is ConnectionState.CLOSED:
            trains += self._say_goodbye(now)
        if self._is_ack_due(now) and (not trains or self._receiving.early):
            trains.append(self._ack(now))
        if trains:
            self._sent_at = now
            self._rows_to_ack = 0
            self._ack_at = self._name_again_at(now)
        elif self._rows_to_ack and self._ack_at is None:
            self._ack_at = now + ACK_WAIT_US
        return trains

    def _say_goodbye(self, now: int) -> list[Train]:
        """The stream is over: the FIN follows what was to be said before it."""
        if self.state is UtpState.CONNECTED:
            self._stop_waiting()
            self._end_at = self._end_at or now + LINGER_US
            if not self.stream.backlog_bytes:
                self.state = UtpState.CLOSING
                return [self._sender.send_fin(now)]
        elif self.state is UtpState.CLOSING and not self._sender.board.flights:
            self._close("closed")
        return []

    def _syn(self, now: int) -> list[Train]:
        if self.stream.state is ConnectionState.CLOSED:
            self._close("closed")
            return []
        if self._syn_at is None or now < self._syn_at:
            return []
        self._syn_tries += 1
        if self._syn_tries > SYN_TRIES_MAX:
            self._close(NO_ANSWER)
            return []
        board = self._sender.board
        self._syn_at = now + board.rtt.timeout_us
        self._sent_at = now
        board.rtt.timed_out()
        packet = Packet(
            PacketType.SYN, self.receive_id, now, 0, self._window(), board.next_seq - 1, 0
        )
        return [Train(self.address, packet.to_bytes(), HEADER_BYTES)]

    def _ack(self, now: int) -> Train:
        self._window_told = self._window()
        header = now, self._our_delay, self._window_told
        seq, ack = self._sender.board.next_seq, self._receiving.next_seq - 1
        early = self._receiving.early
        data = Packet(PacketType.STATE, self.send_id, *header, seq, ack, early).to_bytes()
        return Train(self.address, data, len(data))

    def _header(self, kind: PacketType, seq: int, now: int) -> bytes:
        self._window_told = self._window()
        header = now, self._our_delay, self._window_told
        return Packet(kind, self.send_id, *header, seq, self._receiving.next_seq - 1).to_bytes()

    def _window(self) -> int:
        """How many bytes we take: less what waits for its turn or for the allowance."""
        kept = self._receiving.early_bytes + self._intake.held_bytes
        return max(0, self._intake.window_limit(self._rtt_us) - kept)

    @property
    def _rtt_us(self) -> int:
        return self._sender.board.rtt.smoothed_us or self._sender.least_echo_us

    def _has_room(self, size: int, now: int) -> bool:
        has_room = self._intake.has_room(size)
        if not has_room:
            self._ack_at = now  # It does not know our window.
        return has_room

    @property
    def _silent_until(self) -> int | None:
        """Until when we wait for the sender to notice that it hears nothing."""
        is_open = self.stream.state is ConnectionState.CONNECTED
        return self._ack_at if self._is_stuck and is_open else None

    def _is_ack_due(self, now: int) -> bool:
        is_due = self._ack_at is not None and self._ack_at <= now
        return is_due or (self._rows_to_ack >= ACK_ROWS and not self._is_stuck)

    # Time

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        if self.state is UtpState.CLOSED:
            return None
        if self.state is UtpState.SYN_SENT:
            return earliest(self._syn_at, self.stream.get_timer())
        return earliest(
            self._ack_at,
            self._given_up_at(),
            self._end_at,
            self._sent_at + KEEP_ALIVE_US,
            self._sender.get_timer(self.stream) if self._silent_until is None else None,
            self.stream.get_timer(),
        )

    def handle_timer(self, now: int) -> None:
        """Do what is due; what is to be sent then, `trains_to_send` returns."""
        self.stream.handle_timer(now)
        if self.state in (UtpState.SYN_SENT, UtpState.CLOSED):
            return
        self._sender.handle_timer(self.stream, now)
        if self._sender.is_given_up:
            self._close(NO_ANSWER)
        elif self._end_at is not None and self._end_at <= now:
            self._close("closed")
        elif self._sent_at + KEEP_ALIVE_US <= now:
            self._ack_at = now
        given_up_at = self._given_up_at()
        if given_up_at is not None and given_up_at <= now:
            self.stream.lost(FORGOTTEN)  # And so the sender gets our FIN.

    def _name_again_at(self, now: int) -> int | None:
        """When what is missing is to be named once more, unless something comes."""
        if not self._receiving.early:
            return None
        return now + max(NAME_AGAIN_US, HOLE_ROUND_TRIPS * self._rtt_us)

    def _given_up_at(self) -> int | None:
        """When what is missing has been missing for too long; libtorrent may forget it for good."""
        if not self._receiving.early or self.stream.state is ConnectionState.CLOSED:
            return None
        return self._hole_since + max(HOLE_AGE_MAX_US, HOLE_ROUND_TRIPS_MAX * self._rtt_us)

    def _close(self, reason: str) -> None:
        self.state = UtpState.CLOSED
        self._stop_waiting()
        self._receiving.close()
        self._sender.board.flights.clear()
        self.stream.lost(reason)
        self.stream.discard()

    def _stop_waiting(self) -> None:
        self._intake.close()
        self._shared.waiting.pop(self, None)
