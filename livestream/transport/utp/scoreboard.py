"""What a µTP connection has under way: what came, what is lost (`Scoreboard`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from livestream.machine import MILLISECOND
from livestream.transport.utp.flight import Flight, runs
from livestream.transport.utp.packet import unwrap
from livestream.transport.utp.rtt import RoundTrip

__all__ = ["BEHIND_MAX", "AckNews", "Scoreboard"]

# An acknowledgement so far behind is no late one (others: 3 packets; ours are for a turn of the
# driver, up to a MiB).
BEHIND_MAX: Final = 768
REORDER_SHARES_MAX: Final = 8  # In quarters of the least round trip (RFC 8985 section 6.2).
REORDER_MIN_US: Final = 1 * MILLISECOND


@dataclass(slots=True)
class AckNews:
    """What an acknowledgement told."""

    acked_bytes: int = 0
    lost_bytes: int = 0
    "Of rows that count as congestion."
    probed: int = 0
    "The size of a probe that came."
    probe_lost: int = 0
    "The size of one that did not."


class Scoreboard:
    """Finds losses by time (RACK, RFC 8985): lost is what was sent well before something that came.

    Invariant: `flights` are in the order of their numbers and first sendings; `in_flight` is the
    size of all their open rows, `lost_rows` the number of the lost ones.
    """

    def __init__(self, next_seq: int) -> None:
        self.next_seq = next_seq
        self.acked_to = next_seq
        "All below came."
        self.flights: deque[Flight] = deque()
        self.in_flight = 0
        self.lost_rows = 0
        self.rtt = RoundTrip()
        self.look_at: int | None = None
        "When something will have been missing for long enough."
        self._newest = (-1, -1)  # When what came was sent, and its number: the latest such.
        self._reorder_shares = 1

    @property
    def rows_in_flight(self) -> int:
        """Sequence numbers that are not free yet."""
        return self.next_seq - self.acked_to

    @property
    def has_hole(self) -> bool:
        """Whether something came that was sent after what is missing."""
        return self._newest[1] > self.acked_to

    def add(self, flight: Flight) -> None:
        """A train goes out."""
        self.flights.append(flight)
        self.next_seq = flight.end
        self.in_flight += len(flight.data)

    def on_ack(self, ack: int, sack: int, now: int) -> AckNews | None:
        """Take an acknowledgement, 16 bits; None if it cannot be meant for us."""
        number = unwrap(ack, self.acked_to - 1)
        if not self.acked_to - 1 - BEHIND_MAX <= number < self.next_seq:
            return None
        news = AckNews()
        samples: list[int] = []
        flights = self.flights
        # What was behind a hole came when it did, and not now (Karn's rule, for all that is acked).
        is_hole_filled = False
        while flights and flights[0].end <= number + 1:
            flight = flights.popleft()
            is_hole_filled = is_hole_filled or bool(flight.resent)
            self._settle(flight, flight.all, now, news, samples)
        if flights and flights[0].first <= number:
            mask = (1 << (number + 1 - flights[0].first)) - 1
            is_hole_filled = is_hole_filled or bool(flights[0].resent)
            self._settle(flights[0], mask, now, news, samples)
        self.acked_to = max(self.acked_to, number + 1)
        if sack:
            self._settle_early(number + 2, sack, now, news, samples)
        if samples and not is_hole_filled:
            self.rtt.measured(now - max(samples))
        if self._newest[1] >= self.acked_to or self.look_at is not None:
            self.find_losses(now, news)
        return news

    def find_losses(self, now: int, news: AckNews) -> None:
        """Give up what was sent long enough before something that came."""
        self.look_at = None
        newest_at, newest_seq = self._newest
        wait_us = self.rtt.latest_us + self._reorder_us()
        for flight in self.flights:
            if not flight.resent and (flight.sent_at, flight.first) > self._newest:
                break
            mask = flight.open
            if not mask:
                continue
            for row in [row for row in flight.resent if mask >> row & 1]:
                sent_at = flight.resent[row]
                mask &= ~(1 << row)
                if (sent_at, flight.first + row) < self._newest:
                    self._judge(flight, 1 << row, sent_at + wait_us, now, news)
            if flight.sent_at == newest_at:
                mask &= (1 << max(0, newest_seq - flight.first)) - 1
            if mask and flight.sent_at <= newest_at:
                self._judge(flight, mask, flight.sent_at + wait_us, now, news)

    def give_up_all(self) -> None:
        """Nothing was heard for too long: all that is under way is lost."""
        for flight in self.flights:
            self._lose(flight, flight.open)

    def give_up_last(self) -> None:
        """Send the last row again, so that its acknowledgement tells what is missing."""
        for flight in reversed(self.flights):
            if mask := flight.open:
                self._lose(flight, 1 << (mask.bit_length() - 1))
                return

    def take_lost(self, room: int, now: int) -> Iterator[tuple[Flight, int, int]]:
        """Yield (flight, first row, rows) to be sent again, as far as there is room in bytes.

        One row goes in any case when nothing is under way: rows stay as large as they were made,
        and a window may be smaller now.
        """
        if not self.lost_rows:
            return
        for flight in self.flights:
            for row, count in runs(flight.lost):
                fit = min(count, max(room // flight.datagram_size, 0 if self.in_flight else 1))
                if fit < 1:
                    return
                mask = ((1 << fit) - 1) << row
                flight.lost &= ~mask
                self.lost_rows -= fit
                size = flight.bytes_of(mask)
                self.in_flight += size
                room -= size
                flight.resent.update(dict.fromkeys(range(row, row + fit), now))
                yield flight, row, fit

    # Helpers

    def _settle_early(
        self, base: int, sack: int, now: int, news: AckNews, samples: list[int]
    ) -> None:
        for flight in self.flights:
            shift = flight.first - base
            if shift >= sack.bit_length():
                break
            mask = (sack >> shift if shift >= 0 else sack << -shift) & flight.all
            self._settle(flight, mask, now, news, samples)

    def _settle(
        self, flight: Flight, mask: int, now: int, news: AckNews, samples: list[int]
    ) -> None:
        """Some rows came; `samples` gets the time of their only sending."""
        fresh = mask & ~flight.acked
        if not fresh:
            return
        news.acked_bytes += flight.bytes_of(fresh)
        self.in_flight -= flight.bytes_of(fresh & ~flight.lost)
        given_up = fresh & flight.lost
        if given_up:
            self.lost_rows -= given_up.bit_count()
            flight.lost &= ~given_up
            self._was_reordered()
        flight.acked |= fresh
        if flight.is_probe and not flight.resent:
            news.probed = len(flight.data)
        if flight.resent:
            for row in [row for row in flight.resent if fresh >> row & 1]:
                sent_at = flight.resent.pop(row)
                fresh &= ~(1 << row)
                if now - sent_at >= (self.rtt.least_us or 0):
                    self._newest = max(self._newest, (sent_at, flight.first + row))
                else:  # That was the first one, which had only been late.
                    self._was_reordered()
        if fresh:
            last = flight.first + fresh.bit_length() - 1
            self._newest = max(self._newest, (flight.sent_at, last))
            samples.append(flight.sent_at)

    def _judge(self, flight: Flight, mask: int, due: int, now: int, news: AckNews) -> None:
        if due > now:
            self.look_at = due if self.look_at is None else min(self.look_at, due)
            return
        if flight.is_probe and not flight.resent:
            news.probe_lost = len(flight.data)
        else:
            news.lost_bytes += flight.bytes_of(mask)
        self._lose(flight, mask)

    def _lose(self, flight: Flight, mask: int) -> None:
        flight.lost |= mask
        self.in_flight -= flight.bytes_of(mask)
        self.lost_rows += mask.bit_count()

    def _was_reordered(self) -> None:
        self._reorder_shares = min(self._reorder_shares + 1, REORDER_SHARES_MAX)

    def _reorder_us(self) -> int:
        share_us = (self.rtt.least_us or 0) * self._reorder_shares // 4
        return max(REORDER_MIN_US, min(share_us, self.rtt.smoothed_us or share_us))
