"""The sending half of a µTP connection: when which bytes go out (`Sender`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from livestream.machine import MILLISECOND, SECOND, Address, Train, earliest
from livestream.transport.ledbat import Ledbat
from livestream.transport.stream import Stream
from livestream.transport.utp.delay import DelaySamples
from livestream.transport.utp.flight import Flight
from livestream.transport.utp.mtu import MtuSearch, datagram_ceiling, datagram_floor
from livestream.transport.utp.pacing import Pacer
from livestream.transport.utp.packet import HEADER_BYTES, Packet, PacketType
from livestream.transport.utp.rows import rows_of, stamp_rows, write_rows
from livestream.transport.utp.scoreboard import AckNews, Scoreboard

__all__ = ["Sender"]

TRAIN_BYTES_MAX: Final = 65_000  # Below what one GSO send takes.
ROWS_MAX: Final = 60
# What is made and kept as one is sent in so many parts, each as long as such a send. Longer trains
# would fall out of the cache between being written and being sent.
PARTS_MAX: Final = 4
ROWS_AT_ONCE: Final = 128  # After so many, what was made is sent before more is.
ROWS_IN_FLIGHT_MAX: Final = 1 << 14  # A quarter of the numbers: old ones cannot be mistaken.
HOLE_RESERVE_ROWS: Final = 16
OVERTAKEN_US_MAX: Final = SECOND  # A packet that is older has not been overtaken: a clock was set.
CLOCK_STEP_US: Final = 50 * MILLISECOND  # Delays beyond the round trip by more: a clock was set.
ECHO_US_MAX: Final = 16 * SECOND  # Both ways together take no longer: one of the clocks was set.
TIMEOUTS_MAX: Final = 5  # In a row, of one that says things but takes nothing: half a minute.
TIMEOUTS_SILENT_MAX: Final = 3  # In a row with not a word: as many as libtorrent and libutp bear...
SILENCE_MAX_US: Final = 8 * SECOND  # ...but not sooner than this, as where a radio was out.


class Sender:
    """Cuts a stream's bytes into trains as far as congestion control and the other side allow.

    Invariant: whatever is under way has a time at which silence about it means something.
    """

    def __init__(
        self,
        address: Address,
        first_seq: int,
        ledbat: Ledbat,
        header: Callable[[PacketType, int, int], bytes],
        now: int,
    ) -> None:
        """Take `header`, which makes one of a type, a number and the time, µs."""
        floor = datagram_floor()
        self.ledbat = ledbat
        self.board = Scoreboard(first_seq)
        self.peer_window = floor  # Until it says.
        self.is_given_up = False
        "Nothing was heard of too many bytes for too long."
        self.has_more = False
        "Something may go at once that `send` has left."
        self.least_echo_us = 0
        "The least that both ways were seen to take together; 0 until known."
        self._echo_us = 0  # What they took last.
        self._address = address
        self._header = header
        self._mtu = MtuSearch(floor, datagram_ceiling(address.host))
        self._pacer = Pacer()
        self._delays = DelaySamples()
        self._difference = 0  # The last one that was told.
        self._told_at = 0  # When the window was, by the other side's clock.
        self._told_seq: int | None = None  # The number of the packet that told of it, 16 bits.
        self._news_at = self._silent_since = now
        self._timeouts = 0
        self._has_probed = False
        self._may_knock = False
        self._recovered_at = 0  # The number up to which losses are those of the last timeout.
        self._paced_until: int | None = None

    @property
    def unanswered_at(self) -> int | None:
        """Since when nothing was heard while something was under way; None: nothing is."""
        return self._silent_since if self.board.flights else None

    # What is heard

    def receive(self, packet: Packet, now: int) -> bool:
        """Learn from a packet's header; False if it cannot be of this connection."""
        in_flight = self.board.in_flight
        news = self.board.on_ack(packet.ack, packet.sack, now)
        if news is None:
            return False
        self._silent_since = now
        self._take_window(packet)
        if packet.difference:
            self._take_echo((packet.difference + now - packet.timestamp) & 0xFFFFFFFF)
        if news.acked_bytes or packet.difference != self._difference:
            # What comes behind too many others to be named has been on its way like any other.
            self._difference = packet.difference
            self._take_delay(packet.difference, now)
        if news.acked_bytes:
            self._news_at = now
            self._timeouts = 0
            self._has_probed = False
            is_used = in_flight + 2 * self._mtu.size >= self.ledbat.window_bytes // 2
            self.ledbat.on_ack(news.acked_bytes, is_window_used=is_used, now=now)
        self._take_news(news, now)
        return True

    def _take_window(self, packet: Packet) -> None:
        """Believe it, unless what was kept there since is not in it, nor under way here any more.

        What libtorrent sends again has a new time, and the window of when it went first.
        """
        age_us = (self._told_at - packet.timestamp) & 0xFFFFFFFF
        is_again = self._told_seq is not None and (packet.seq - self._told_seq) & 0x8000
        if 0 < age_us < OVERTAKEN_US_MAX or is_again:
            return
        self._told_at, self._told_seq = packet.timestamp, packet.seq
        was_shut, self.peer_window = self._is_shut, packet.window
        if self._is_shut:
            # It is there, and takes nothing: its disk may be busy for minutes. Not so where it is
            # full of what came behind a hole, and does not take what the hole wants, either.
            self._timeouts = self._timeouts if packet.sack else 0
        elif was_shut and self._has_probed:
            self.board.give_up_all()  # What it was asked with met a shut window.

    @property
    def _is_shut(self) -> bool:
        """Whether the other side has no room for a row."""
        return self.peer_window < self._mtu.size

    def _take_echo(self, both_us: int) -> None:
        """Learn the round trip from the delays of both ways, whose clocks' offsets cancel.

        That tells it also to who only takes data, and while what comes behind a hole is not named.
        """
        if both_us <= ECHO_US_MAX:
            self._echo_us = both_us
            self.least_echo_us = min(both_us, self.least_echo_us or both_us)

    def _take_delay(self, difference: int, now: int) -> None:
        rtt, base_us = self.board.rtt, self.ledbat.base_delay_us
        queuing_us_max = rtt.longest_us + CLOCK_STEP_US
        delay_us = self._delays.unwrap(difference, base_us, queuing_us_max)
        if delay_us is not None:
            self.ledbat.on_delay(delay_us, now, self._echo_us or rtt.latest_us or rtt.timeout_us)

    def _take_news(self, news: AckNews, now: int) -> None:
        if news.probed:
            self._mtu.came(news.probed)
        if news.probe_lost:
            self._mtu.lost(news.probe_lost)
        if news.lost_bytes and self.board.acked_to >= self._recovered_at:
            self.ledbat.on_loss(now, self.board.rtt.smoothed_us or 0, news.lost_bytes)

    # What goes out

    def send(self, stream: Stream, now: int) -> list[Train]:
        """Return what is lost, and of the stream a train; call it again when `has_more`.

        A window is more than the cache holds: each train is sent before the next one is made.
        """
        self._pacer.set_rate(
            self.ledbat.window_bytes,
            self.board.rtt.smoothed_us,
            now,
            is_starting=self.ledbat.slow_start_threshold is None,
        )
        self._paced_until = None
        trains = self.send_lost(now)
        first = self.board.next_seq
        while stream.backlog_bytes:
            size, is_probe = self._mtu.size, False
            rows = self._rows_allowed(size, now)
            if not rows:
                break
            if self.board.next_seq - first >= ROWS_AT_ONCE:
                self.has_more = True
                self._paced_until = now
                break
            may_probe = stream.backlog_bytes > 2 * size and not self._is_shut
            probe = self._mtu.next_probe() if may_probe else None
            if probe is not None:
                size, rows, is_probe = probe, 1, True
            trains.append(self._cut(stream, size, rows, now, is_probe=is_probe))
        return trains

    def send_lost(self, now: int) -> list[Train]:
        """Return what is lost, as far as it may go."""
        board = self.board
        if not board.lost_rows:
            return []
        # There was room for them when they were sent first; what is kept behind is told of now.
        room = self._mtu.size if self._is_shut else self.ledbat.window_bytes
        room -= board.in_flight
        if not self._is_shut:
            # One goes even so: all that counts as under way may be there, unnamed, behind it.
            room = max(room, self._mtu.size)
        if not board.in_flight:
            self._news_at = now
        paced = self._pacer.room(now)
        if paced is not None:
            if not paced:
                self._paced_until = self._pacer.next_at(now)
                return []
            room = min(room, max(paced, self._mtu.size))
        trains: list[Train] = []
        for flight, row, count in board.take_lost(room, now):
            data = flight.cut(row, count)
            stamp_rows(data, flight.datagram_size, count, self._header(PacketType.DATA, 0, now))
            trains.append(Train(self._address, data, min(flight.datagram_size, len(data))))
            self._pacer.sent(len(data), now)
        if paced is not None and board.lost_rows:
            self._paced_until = self._pacer.next_at(now)
        return trains

    def send_fin(self, now: int) -> Train:
        """Return our last packet."""
        seq = self.board.next_seq
        header = self._header(PacketType.FIN, seq, now)
        return self._launch(Flight(seq, 1, header, HEADER_BYTES, now), now)

    def _rows_allowed(self, size: int, now: int) -> int:
        """How many rows the windows and the pacer allow; sets when to try again."""
        board = self.board
        # What fills a hole must find room, be the rest taken by what came behind it.
        reserve = HOLE_RESERVE_ROWS * size if board.has_hole else 0
        room = min(self.ledbat.window_bytes, self.peer_window - reserve) - board.in_flight
        if room < size and board.in_flight:
            return 0
        if board.lost_rows or board.rows_in_flight > ROWS_IN_FLIGHT_MAX:
            return 0
        if self._is_shut:  # No room there: a row now and then, to hear when there is.
            is_time, self._may_knock = self._may_knock, False
            return 1 if is_time else 0
        paced = self._pacer.room(now)
        if paced is not None:
            if not paced:
                self._paced_until = self._pacer.next_at(now)
                return 0
            room = min(room, paced)
        return max(1, min(room // size, PARTS_MAX * min(ROWS_MAX, TRAIN_BYTES_MAX // size)))

    def _cut(self, stream: Stream, size: int, rows: int, now: int, *, is_probe: bool) -> Train:
        width = size - HEADER_BYTES
        wanted = rows * width
        buffers: list[bytes | bytearray | memoryview] = []
        for buffer in stream.buffers_to_send():
            part = buffer if len(buffer) <= wanted else memoryview(buffer)[:wanted]
            buffers.append(part)
            wanted -= len(part)
            if not wanted:
                break
        first = self.board.next_seq
        data = write_rows(self._header(PacketType.DATA, first, now), first & 0xFFFF, buffers, width)
        stream.sent(rows * width - wanted, now)
        count = rows_of(len(data), size)
        return self._launch(Flight(first, count, data, min(size, len(data)), now, is_probe), now)

    def _launch(self, flight: Flight, now: int) -> Train:
        if not self.board.in_flight:
            self._news_at = now
        if not self.board.flights:
            self._silent_since = now
        self.board.add(flight)
        self._pacer.sent(len(flight.data), now)
        return Train(self._address, flight.data, flight.datagram_size, flight.is_probe)

    # Time

    def get_timer(self, stream: Stream) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return earliest(self._paced_until, self.board.look_at, self._silence_at(stream))

    def handle_timer(self, stream: Stream, now: int) -> None:
        """Find what is lost by now; `send` sends it again."""
        look_at = self.board.look_at
        if look_at is not None and look_at <= now:
            news = AckNews()
            self.board.find_losses(now, news)
            self._take_news(news, now)
        silence_at = self._silence_at(stream)
        if silence_at is not None and silence_at <= now:
            self._on_silence(now)

    def _silence_at(self, stream: Stream) -> int | None:
        """When the lack of news means something."""
        is_stuck = bool(stream.backlog_bytes) and self._is_shut
        if not self.board.flights and not is_stuck:
            return None
        rtt = self.board.rtt
        at = self._news_at + (rtt.timeout_us if self._has_probed else rtt.probe_us)
        if self._timeouts < TIMEOUTS_SILENT_MAX:
            return at
        return max(self._news_at, min(at, self._silent_since + SILENCE_MAX_US))

    def _on_silence(self, now: int) -> None:
        """First send the last row again; then take all for lost."""
        self._mtu.heard_nothing()
        if not self._has_probed:
            self._has_probed = True
            self.board.give_up_last()
            return
        self._news_at = now
        self.board.rtt.timed_out()
        if not self.board.flights:
            self._may_knock = True
            return
        self._timeouts += 1
        is_silent = self._timeouts > TIMEOUTS_SILENT_MAX
        is_silent = is_silent and now - self._silent_since >= SILENCE_MAX_US
        self.is_given_up = is_silent or self._timeouts > TIMEOUTS_MAX
        self.board.give_up_all()
        if self._is_shut:
            return  # That is no congestion.
        if self._timeouts > 1:
            self._mtu.start_again()
        self._recovered_at = self.board.next_seq
        self.ledbat.on_timeout()
