"""What came and what is lost: against a model with a line for each row, and by example."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from livestream.machine import MILLISECOND
from livestream.runtime.udp import TURN_BYTES
from livestream.transport.utp.flight import Flight, runs
from livestream.transport.utp.scoreboard import BEHIND_MAX, AckNews, Scoreboard

SIZE = 100


@dataclass
class Row:
    """One row as the model knows it."""

    size: int
    sent_at: list[int]
    is_acked: bool = False
    is_lost: bool = False


@dataclass
class Model:
    """Rows by number, and what was told of them."""

    rows: dict[int, Row] = field(default_factory=dict)

    def ack(self, numbers: list[int]) -> int:
        """Take rows for come; return their bytes."""
        fresh = [row for at in numbers if (row := self.rows.get(at)) and not row.is_acked]
        for row in fresh:
            row.is_acked, row.is_lost = True, False
        return sum(row.size for row in fresh)


class Scoreboards(RuleBasedStateMachine):
    """A scoreboard and its model do the same."""

    @initialize(start=st.sampled_from([0, 2, 0xFFF0, 0x1FFF8]))
    def begin(self, start: int) -> None:
        self.start = start
        self.board = Scoreboard(start)
        self.model = Model()
        self.acked_to = start
        self.now = 1_000_000

    @rule(count=st.integers(1, 12), short=st.integers(1, SIZE), is_probe=st.booleans())
    def send(self, count: int, short: int, is_probe: bool) -> None:
        count = 1 if is_probe else count
        first = self.board.next_seq
        data = bytes(SIZE * (count - 1) + short)
        size = min(SIZE, len(data))
        self.board.add(Flight(first, count, data, size, self.now, is_probe))
        for row in range(count):
            last = row == count - 1
            self.model.rows[first + row] = Row(short if last else SIZE, [self.now])

    @rule(wait_us=st.sampled_from([0, 1, 900, 5_000, 40_000, 700_000]))
    def wait(self, wait_us: int) -> None:
        self.now += wait_us

    @rule(ahead=st.integers(-3, 30), sack=st.integers(0, (1 << 40) - 1))
    def hear(self, ahead: int, sack: int) -> None:
        """Of a packet that was sent, or was not; and of any behind it."""
        number = self.acked_to - 1 + ahead
        news = self.board.on_ack(number & 0xFFFF, sack, self.now)
        if number >= max(self.model.rows, default=self.start - 1) + 1:
            assert news is None
            return
        assert news is not None
        early = [number + 2 + bit for bit in range(40) if sack >> bit & 1]
        assert news.acked_bytes == self.model.ack([*range(self.start, number + 1), *early])
        self.acked_to = max(self.acked_to, number + 1)
        self._compare_losses(news)

    @rule(ahead=st.integers(1, 30_000))
    def hear_what_was_never_sent(self, ahead: int) -> None:
        before = self.board.in_flight, self.board.lost_rows
        assert self.board.on_ack((self.board.next_seq - 1 + ahead) & 0xFFFF, 3, self.now) is None
        assert (self.board.in_flight, self.board.lost_rows) == before

    @rule(behind=st.integers(BEHIND_MAX + 1, 20_000))
    def hear_what_is_long_over(self, behind: int) -> None:
        number = self.board.acked_to - 1 - behind
        assert self.board.on_ack(number & 0xFFFF, (1 << 200) - 1, self.now) is None

    @rule()
    def look(self) -> None:
        news = AckNews()
        self.board.find_losses(self.now, news)
        self._compare_losses(news)

    @rule()
    def give_up_all(self) -> None:
        self.board.give_up_all()
        for row in self.model.rows.values():
            row.is_lost = not row.is_acked

    @rule()
    def give_up_last(self) -> None:
        self.board.give_up_last()
        still_open = [row for row in self.model.rows.values() if not row.is_acked | row.is_lost]
        if still_open:
            still_open[-1].is_lost = True

    @rule(room=st.integers(0, 30 * SIZE))
    def send_again(self, room: int) -> None:
        was_idle = not self.board.in_flight
        sent = 0
        for flight, row, count in self.board.take_lost(room, self.now):
            data = flight.cut(row, count)
            for number in range(flight.first + row, flight.first + row + count):
                model = self.model.rows[number]
                assert model.is_lost
                model.is_lost = False
                model.sent_at.append(self.now)
                sent += model.size
            room -= len(data)
        assert room >= 0 or (was_idle and sent <= SIZE)

    @invariant()
    def agree(self) -> None:
        rows = self.model.rows
        still_open = [row.size for row in rows.values() if not row.is_acked | row.is_lost]
        assert self.board.in_flight == sum(still_open)
        assert self.board.lost_rows == sum(row.is_lost for row in rows.values())
        assert self.board.acked_to == self.acked_to
        assert self.board.rows_in_flight == self.board.next_seq - self.acked_to >= 0
        for flight in self.board.flights:
            assert flight.acked & flight.lost == 0
            assert flight.acked | flight.lost | flight.open == flight.all
            for row in range(flight.rows):
                model = rows[flight.first + row]
                assert model.is_acked == bool(flight.acked >> row & 1)
                assert model.is_lost == bool(flight.lost >> row & 1)
            assert set(flight.resent) <= set(range(flight.rows))
        kept = {seq for flight in self.board.flights for seq in range(flight.first, flight.end)}
        assert all(row.is_acked for seq, row in rows.items() if seq not in kept)

    def _compare_losses(self, news: AckNews) -> None:
        """Take over what the board gave up, if something sent later had come."""
        lost = 0
        latest = max(
            ((max(row.sent_at), seq) for seq, row in self.model.rows.items() if row.is_acked),
            default=(0, 0),
        )
        for flight in self.board.flights:
            for row in range(flight.rows):
                model = self.model.rows[flight.first + row]
                if flight.lost >> row & 1 and not model.is_lost:
                    assert (model.sent_at[-1], flight.first + row) < latest, "nothing later came"
                    model.is_lost = True
                    lost += model.size
        assert lost >= news.lost_bytes >= 0
        assert lost <= news.lost_bytes + news.probe_lost or news.probe_lost


Scoreboards.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestScoreboards = Scoreboards.TestCase


# By example


def test_an_acknowledgement_is_heard_though_all_of_a_turn_was_read_before_it() -> None:
    """A turn reads a MiB; what the other side said before it had read ours may come behind that."""
    rows = TURN_BYTES // 1_448
    board = _board(rows)
    assert board.on_ack(1 + rows, 0, 0) is not None
    assert board.on_ack(1, 0, 0) is not None


def _board(rows: int, sent_at: int = 0) -> Scoreboard:
    board = Scoreboard(2)
    for row in range(rows):
        board.add(Flight(2 + row, 1, bytes(SIZE), SIZE, sent_at))
    return board


def test_a_row_is_lost_once_what_was_sent_after_it_has_come_and_it_is_late() -> None:
    board = _board(1)
    board.add(Flight(3, 1, bytes(SIZE), SIZE, 1 * MILLISECOND))
    news = board.on_ack(1, 0b1, 41 * MILLISECOND)
    assert news is not None
    assert board.lost_rows == 0, "it may only be late"
    assert board.look_at is not None
    late = AckNews()
    board.find_losses(board.look_at, late)
    assert (late.lost_bytes, board.lost_rows, board.in_flight) == (SIZE, 1, 0)


def test_reordered_rows_are_given_more_time_the_next_time() -> None:
    waits = []
    board = Scoreboard(2)
    now = 0
    for _ in range(4):
        first = board.next_seq
        for row in range(2):
            board.add(Flight(first + row, 1, bytes(SIZE), SIZE, now + row))
        now += 40 * MILLISECOND
        board.on_ack((first - 1) & 0xFFFF, 0b1, now)
        assert board.look_at is not None
        waits.append(board.look_at - now)
        now = board.look_at
        board.find_losses(now, AckNews())
        assert board.lost_rows == 1
        board.on_ack((first + 1) & 0xFFFF, 0, now)  # It had only been late.
        assert (board.lost_rows, board.in_flight) == (0, 0)
        now += 10 * MILLISECOND
    assert waits == sorted(set(waits))


def test_a_probe_that_is_lost_is_no_congestion() -> None:
    board = Scoreboard(2)
    board.add(Flight(2, 1, bytes(150), 150, 0, is_probe=True))
    board.add(Flight(3, 2, bytes(2 * SIZE), SIZE, 10))
    news = board.on_ack(1, 0b11, 300 * MILLISECOND)
    assert news is not None
    late = AckNews()
    board.find_losses(10**9, late)
    told = news if news.probe_lost else late
    assert (told.probe_lost, told.lost_bytes) == (150, 0)


def test_bits_beyond_what_was_sent_mean_nothing() -> None:
    board = _board(3)
    news = board.on_ack(1, (1 << 2_016) - 1, 50 * MILLISECOND)
    assert news is not None
    assert news.acked_bytes == 2 * SIZE, "the first is what the hole is"
    assert board.in_flight + board.lost_rows * SIZE == SIZE


def test_runs_of_a_mask() -> None:
    assert list(runs(0)) == []
    assert list(runs(0b1)) == [(0, 1)]
    assert list(runs(0b1011_0011_1000)) == [(3, 3), (8, 2), (11, 1)]
    assert list(runs((1 << 60) - 1)) == [(0, 60)]
