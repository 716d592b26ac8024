"""What is asked for, when, and of whom: pieces by their deadlines."""

from __future__ import annotations

from livestream.config import LiveConfig
from livestream.live.clock import ChannelClock
from livestream.live.picker import (
    BUSY_US,
    GRACE_MIN_US,
    LINGER_US,
    REPAIR_PER_PEER_MAX,
    RETRY_MIN_US,
    SOURCE_DELAY_US,
    URGENT_US,
    DeadlinePicker,
)
from livestream.live.piece import LivePiece
from livestream.live.window import LiveWindow
from livestream.machine import MILLISECOND, SECOND
from livestream.media.records import NO_RECORD, Payload, PayloadFlags
from livestream.swarm.peer import Peer
from tests.live.neighbourhood import SIGNER, SUBSTREAMS, UNIX_OFFSET_US, make_peer

INTERVAL_US = 20 * MILLISECOND
CONFIG = LiveConfig()
STEP_US = MILLISECOND
FAR_MS = 100  # A round trip that lets nobody wait until shortly before the deadline.
RATE_BPS = 1_600_000  # Pieces of 4,000 bytes every 20 ms.


class Viewing:
    """A viewer's window, to which a piece is captured every 20 ms: piece i at i times that."""

    def __init__(self, *, tune_in: int = 0, rate_bps: int = RATE_BPS) -> None:
        """Begin; so many pieces exist already, and are wanted for the first picture."""
        self.now = max(tune_in - 1, 0) * INTERVAL_US
        self.window = LiveWindow(CONFIG.window_us)
        self.fed = dict.fromkeys(range(SUBSTREAMS), True)
        self.fed_from = dict.fromkeys(range(SUBSTREAMS), 0)
        self.sources: list[Peer] = []
        self.holders: list[Peer] = []
        clock = ChannelClock(UNIX_OFFSET_US)
        self.picker = DeadlinePicker(
            self.window,
            clock,
            CONFIG,
            lambda number: self.fed_from[number] if self.fed[number] else None,
            self.sources.__contains__,
        )
        self.window.start(1, 0, newest=tune_in - 1)
        self.picker.start(0, tune_in - 1, SUBSTREAMS, rate_bps, self.now)
        self.asked: list[tuple[int, int, Peer]] = []
        "(When, piece, whom)."

    def neighbour(self, number: int, *pieces: int, rtt_ms: int = 20) -> Peer:
        """Add somebody who holds these."""
        peer = make_peer(number, rtt_us=rtt_ms * MILLISECOND)
        for index in pieces:
            peer.held.add(index)
        self.holders.append(peer)
        return peer

    def publisher(self, *, rtt_ms: int = 5) -> Peer:
        """Add the publisher, which need not tell what it holds."""
        peer = self.neighbour(99, rtt_ms=rtt_ms)
        self.sources.append(peer)
        return peer

    def comes(self, *pieces: int) -> None:
        """Have pieces come."""
        for index in pieces:
            captured_ms = (index * INTERVAL_US + UNIX_OFFSET_US) // MILLISECOND
            payload = Payload(captured_ms, PayloadFlags(0), NO_RECORD, bytes(4_000))
            data = LivePiece.sign(SIGNER, 1, index, payload).to_bytes()
            self.window.put(index, data, self.now)
            self.picker.on_stored(index, self.now)
            for peer in self.holders:
                peer.requested.pop(index, None)

    def watch(self, until: int, *, but: tuple[int, ...] = (), age_us: int = 50_000) -> None:
        """Have all pieces up to one be pushed, each so long after its capture, but for some."""
        for index in range(until + 1):
            self.go_on_until(index * INTERVAL_US + age_us)
            if index not in but:
                self.comes(index)

    def go_on_until(self, end: int) -> None:
        """Let time pass, and ask when it is time to."""
        while self.now < end:
            self.now += STEP_US
            timer = self.picker.get_timer()
            if timer is None or timer > self.now:
                continue
            for pick in self.picker.picks(self.holders, self.now):
                pick.holder.requested[pick.index] = self.now
                self.asked.append((self.now, pick.index, pick.holder))

    def asked_for(self, index: int) -> list[tuple[int, Peer]]:
        """Return when a piece was asked for, and of whom."""
        return [(at, holder) for at, asked, holder in self.asked if asked == index]


def deadline_us(index: int) -> int:
    return index * INTERVAL_US + CONFIG.latency_us


# When


def test_what_is_pushed_to_us_is_asked_for_only_as_its_deadline_comes_near() -> None:
    """What was lost on the way is sent again by whoever pushed it: most of it needs no asking."""
    viewing = Viewing()
    other = viewing.neighbour(1, *range(300), rtt_ms=FAR_MS)
    viewing.watch(200, but=(100,))
    ((at, holder),) = viewing.asked_for(100)[:1]
    assert holder is other
    assert 0 <= at - (deadline_us(100) - URGENT_US) <= INTERVAL_US
    assert {index for _, index, _ in viewing.asked} == {100}


def test_the_nearer_whoever_can_be_asked_the_later_it_is() -> None:
    """The push may come yet, and its answer takes no longer."""
    before_ms = []
    for rtt_ms in (20, 40, FAR_MS):
        viewing = Viewing()
        viewing.neighbour(1, *range(300), rtt_ms=FAR_MS)
        nearest = viewing.neighbour(2, *range(300), rtt_ms=rtt_ms)
        viewing.watch(110, but=(100,))
        viewing.go_on_until(deadline_us(100))
        at, holder = viewing.asked_for(100)[0]
        assert rtt_ms == FAR_MS or holder is nearest
        before_ms.append((deadline_us(100) - at) // MILLISECOND)
    assert 20 < before_ms[0] < before_ms[1] < before_ms[2] <= URGENT_US // MILLISECOND
    assert before_ms[1] - before_ms[0] == 25, "a quarter more than what its way takes longer"


def test_in_a_slow_channel_it_is_asked_for_sooner() -> None:
    """Its viewers' lines may be as slow: a piece alone takes a tenth of a second to leave them."""
    slow = Viewing(rate_bps=300_000)
    slow.neighbour(1, *range(300), rtt_ms=FAR_MS)
    slow.watch(200, but=(100,))
    ((at, _),) = slow.asked_for(100)[:1]
    before_us = deadline_us(100) - at
    assert 260 * MILLISECOND < before_us < 290 * MILLISECOND


def test_what_comes_in_time_is_never_asked_for() -> None:
    viewing = Viewing()
    viewing.neighbour(1, *range(300))
    viewing.watch(200, age_us=CONFIG.latency_us - URGENT_US - INTERVAL_US)
    assert viewing.asked == []


def test_what_a_feeder_was_not_asked_for_does_not_wait_for_it() -> None:
    """Who finds a new feeder has a gap that it does not fill."""
    viewing = Viewing()
    viewing.neighbour(1, *range(300))
    viewing.fed_from[4] = 101
    viewing.watch(110, but=(100, 108))
    assert viewing.asked_for(100)
    assert not viewing.asked_for(108)


def test_a_push_has_some_time_even_when_the_deadline_is_near() -> None:
    """Who is far down in a tree hears of pieces late, and gets them soon after."""
    viewing = Viewing()
    viewing.neighbour(1, *range(300))
    viewing.fed[5] = False
    age_us = CONFIG.latency_us - 200 * MILLISECOND
    viewing.watch(200, but=(100, 101), age_us=age_us)
    (at, _), *_ = viewing.asked_for(100)
    known_at = 102 * INTERVAL_US + age_us
    assert viewing.asked_for(101)[0][0] <= known_at + 5 * MILLISECOND, "nobody pushes that"
    assert at >= known_at + GRACE_MIN_US
    assert at < deadline_us(100)


def test_what_nobody_pushes_is_asked_for_at_once() -> None:
    viewing = Viewing()
    viewing.neighbour(1, *range(300))
    viewing.fed[4] = False
    viewing.watch(200, but=(100,))
    (at, _), *_ = viewing.asked_for(100)
    assert at - (101 * INTERVAL_US + 50_000) <= 5 * MILLISECOND


def test_what_the_first_picture_needs_is_asked_of_several_at_once() -> None:
    viewing = Viewing(tune_in=40)
    peers = [viewing.neighbour(number, *range(40)) for number in range(1, 5)]
    viewing.go_on_until(viewing.now + 10 * MILLISECOND)
    assert sorted(index for _, index, _ in viewing.asked) == list(range(40))
    assert {holder for _, _, holder in viewing.asked} == set(peers)


def test_what_is_too_late_is_not_asked_for() -> None:
    viewing = Viewing()
    viewing.watch(200, but=(100,))
    viewing.neighbour(1, *range(300))
    viewing.picker.note_holders(viewing.now)
    assert viewing.now > deadline_us(100)
    viewing.go_on_until(viewing.now + SECOND)
    assert viewing.asked == []


def test_what_is_due_is_asked_for_a_little_longer_as_a_viewer_may_wait_for_it() -> None:
    for late_us, is_asked in ((LINGER_US - INTERVAL_US, True), (LINGER_US + INTERVAL_US, False)):
        viewing = Viewing()
        viewing.watch(105, but=(100,))
        viewing.go_on_until(deadline_us(100) + late_us)
        viewing.neighbour(1, 100)
        viewing.picker.note_holders(viewing.now)
        viewing.go_on_until(viewing.now + INTERVAL_US)
        assert bool(viewing.asked_for(100)) is is_asked


def test_what_the_viewer_has_gone_on_without_is_not_asked_for_any_longer() -> None:
    for is_skipped in (False, True):
        viewing = Viewing()
        silent = [viewing.neighbour(number, 100, rtt_ms=FAR_MS) for number in (1, 2)]
        viewing.watch(105, but=(100,))
        viewing.go_on_until(deadline_us(100) - URGENT_US + 2 * INTERVAL_US)
        asked_before = viewing.asked_for(100)
        assert [holder in silent for _, holder in asked_before] == [True]
        if is_skipped:
            viewing.picker.skip(100)
            assert viewing.picker.take_given_up() == [100], "nobody owes it any longer"
        viewing.go_on_until(deadline_us(100))
        assert (viewing.asked_for(100) == asked_before) is is_skipped


def test_what_is_urgent_goes_before_what_is_not() -> None:
    viewing = Viewing()
    viewing.watch(60, but=(50, 51, 52, 55))
    viewing.neighbour(1, *range(300))
    viewing.fed.update(dict.fromkeys(range(SUBSTREAMS), False))
    viewing.picker.wake(viewing.now)
    viewing.go_on_until(viewing.now + RETRY_MIN_US // 2)
    assert [index for _, index, _ in viewing.asked] == [50, 51, 52, 55]


# Of whom


def test_whoever_is_nearest_is_asked() -> None:
    viewing = Viewing()
    viewing.fed[4] = False
    viewing.neighbour(1, *range(300), rtt_ms=200)
    near = viewing.neighbour(2, *range(300), rtt_ms=30)
    viewing.neighbour(3, *range(300), rtt_ms=90)
    viewing.watch(110, but=(100,))
    assert viewing.asked_for(100)[0][1] is near


def test_who_owes_much_already_is_not_asked_for_more() -> None:
    viewing = Viewing()
    viewing.fed.update(dict.fromkeys(range(SUBSTREAMS), False))
    near = viewing.neighbour(1, *range(300), rtt_ms=1)
    viewing.watch(130, but=tuple(range(100, 120)))
    assert len(near.requested) == REPAIR_PER_PEER_MAX


def test_who_does_not_have_it_is_not_asked() -> None:
    viewing = Viewing()
    viewing.fed[4] = False
    viewing.neighbour(1, 99, 101)
    viewing.watch(110, but=(100,))
    assert viewing.asked == []


def test_as_soon_as_somebody_tells_of_having_it_it_is_asked_for() -> None:
    viewing = Viewing()
    viewing.fed[4] = False
    late = viewing.neighbour(1, 99)
    viewing.watch(110, but=(100,))
    assert viewing.asked == []
    late.held.add(100)
    told_at = viewing.now
    viewing.picker.note_holders(viewing.now)
    viewing.go_on_until(viewing.now + SECOND // 10)
    ((at, holder),) = viewing.asked_for(100)[:1]
    assert holder is late
    assert at - told_at <= 10 * MILLISECOND


def test_who_does_not_answer_is_not_asked_again_before_others() -> None:
    viewing = Viewing()
    viewing.fed[4] = False
    first = viewing.neighbour(1, *range(300), rtt_ms=20)
    second = viewing.neighbour(2, *range(300), rtt_ms=40)
    viewing.watch(115, but=(100,))
    times = viewing.asked_for(100)
    assert [holder for _, holder in times[:3]] == [first, second, first]
    assert times[1][0] - times[0][0] >= RETRY_MIN_US


def test_who_refuses_makes_way_for_another_at_once() -> None:
    viewing = Viewing()
    viewing.fed[4] = False
    first = viewing.neighbour(1, *range(300), rtt_ms=200)
    second = viewing.neighbour(2, *range(300), rtt_ms=300)
    viewing.watch(103, but=(100,))
    assert [holder for _, holder in viewing.asked_for(100)] == [first]
    viewing.picker.on_failed(100, first, viewing.now)
    viewing.go_on_until(viewing.now + 10 * MILLISECOND)
    assert [holder for _, holder in viewing.asked_for(100)] == [first, second]


def test_who_turned_a_request_down_is_asked_for_nothing_for_a_while() -> None:
    """It has more to answer than it can in time."""
    viewing = Viewing()
    viewing.fed.update(dict.fromkeys(range(SUBSTREAMS), False))
    busy = viewing.neighbour(1, *range(300))
    viewing.watch(103, but=(100,))
    busy.requested.clear()
    viewing.picker.on_failed(100, busy, viewing.now)
    viewing.asked.clear()
    refused_at = viewing.now
    for index in range(104, 130):
        viewing.go_on_until(index * INTERVAL_US + 50_000)
        viewing.picker.note_edge(index, viewing.now)
    (at, _, _), *_ = viewing.asked
    assert BUSY_US <= at - refused_at <= BUSY_US + 60 * MILLISECOND


def test_who_is_busy_is_left_alone_though_others_are_asked_meanwhile() -> None:
    viewing = Viewing()
    viewing.fed.update(dict.fromkeys(range(SUBSTREAMS), False))
    busy = viewing.neighbour(1, *range(300), rtt_ms=1)
    other = viewing.neighbour(2, *range(300), rtt_ms=300)
    viewing.watch(101, but=(100,))
    viewing.picker.on_failed(100, busy, viewing.now)
    viewing.asked.clear()
    viewing.watch(110, but=(100, 102, 104))
    assert {holder for _, _, holder in viewing.asked} == {other}


# The publisher


def test_the_publisher_is_asked_after_viewers_though_it_is_nearer() -> None:
    viewing = Viewing()
    viewing.fed[4] = False
    viewing.publisher(rtt_ms=1)
    other = viewing.neighbour(1, *range(300), rtt_ms=200)
    viewing.watch(103, but=(100,))
    assert [holder for _, holder in viewing.asked_for(100)] == [other]


def test_the_publisher_is_not_asked_while_viewers_may_get_it_yet() -> None:
    viewing = Viewing()
    viewing.fed[4] = False
    source = viewing.publisher()
    viewing.neighbour(1, 99)
    viewing.watch(125, but=(100,))
    (at, holder), *_ = viewing.asked_for(100)
    assert holder is source
    assert at - (101 * INTERVAL_US + 50_000) > SOURCE_DELAY_US
    assert at < deadline_us(100) - URGENT_US + INTERVAL_US


def test_the_publisher_is_asked_at_once_when_there_is_nobody_else() -> None:
    viewing = Viewing()
    viewing.fed[4] = False
    source = viewing.publisher()
    viewing.watch(103, but=(100,))
    (at, holder), *_ = viewing.asked_for(100)
    assert holder is source
    assert at - (101 * INTERVAL_US + 50_000) <= 5 * MILLISECOND


# How much


def asked_bytes_per_second(viewing: Viewing) -> float:
    """Have 500 pieces be missed, and nobody give any; return what is asked for."""
    for number in range(1, 20):
        viewing.neighbour(number, *range(2_000))
    began = viewing.now
    for index in range(101, 101 + 10 * 50):
        viewing.go_on_until(index * INTERVAL_US + 50_000)
        viewing.picker.note_edge(index, viewing.now)
        for peer in viewing.holders:
            peer.requested.clear()
    return len(viewing.asked) * 4_000 * SECOND / (viewing.now - began)


def test_repair_takes_its_share_of_the_rate_and_no_more() -> None:
    """Where feeders fail, asking for everything would choke those who are asked."""
    viewing = Viewing()
    viewing.watch(100)
    share = CONFIG.repair_share * RATE_BPS / 8
    assert 0.8 * share <= asked_bytes_per_second(viewing) <= 1.15 * share


def test_what_nobody_feeds_takes_the_rate_and_no_more() -> None:
    viewing = Viewing()
    viewing.watch(100)
    viewing.fed.update(dict.fromkeys(range(SUBSTREAMS), False))
    assert 0.9 * RATE_BPS / 8 <= asked_bytes_per_second(viewing) <= 1.15 * RATE_BPS / 8


def test_what_nobody_feeds_leaves_repair_its_share() -> None:
    viewing = Viewing()
    viewing.watch(100)
    viewing.fed.update(dict.fromkeys(range(4), False))
    asked_bytes_per_second(viewing)
    repaired = [index for _, index, _ in viewing.asked if viewing.fed[index % SUBSTREAMS]]
    share = 10 * CONFIG.repair_share * RATE_BPS / 8
    assert 0.8 * share <= len(repaired) * 4_000 <= 1.15 * share


def test_overdue_is_counted_by_substream_and_only_what_should_have_come() -> None:
    viewing = Viewing()
    viewing.watch(100, but=(84, 92, 100))
    assert viewing.picker.overdue(viewing.now) in ({4: 2}, {4: 1})
    viewing.go_on_until(viewing.now + SECOND // 10)
    assert viewing.picker.overdue(viewing.now) == {4: 2}, "nobody has heard of piece 100 yet"
    viewing.comes(84, 92)
    assert viewing.picker.overdue(viewing.now) == {}


def test_due_is_what_was_known_of_before_pushes_of_it_mostly_come() -> None:
    viewing = Viewing()
    viewing.watch(100)
    known_at, due = viewing.now, viewing.picker.due(viewing.now)
    newest = max(due)
    assert newest < 100, "what is known only now may be on its way"
    while max(due) <= newest:
        viewing.now += SECOND // 100
        due = viewing.picker.due(viewing.now)
    assert due == [100] * SUBSTREAMS
    assert GRACE_MIN_US <= viewing.now - known_at <= GRACE_MIN_US + SECOND // 10


def test_what_came_from_elsewhere_was_due_all_the_same() -> None:
    viewing = Viewing()
    viewing.watch(100, but=(92,))
    for _ in range(8):
        viewing.go_on_until(viewing.now + SECOND // 10)
        viewing.comes(92)
        due = viewing.picker.due(viewing.now)
    assert due[4] >= 92
