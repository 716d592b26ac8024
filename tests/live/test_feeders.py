"""How a viewer finds those that feed it, and leaves those that do not."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from livestream.live.failures import (
    FEED_PATIENCE_US,
    HOP_PATIENCE_US,
    MISSED_PATIENCE_US,
    QUIET_US,
    UNHEARD_US,
)
from livestream.live.feeders import (
    AVOID_REFUSED_US,
    BETTER_EVERY,
    FIRST_AHEAD_MAX,
    LOOK_US,
    NOTICE_US_MAX,
    SEEK_US,
    Feeders,
)
from livestream.live.neighbours import ANY_HOME, FEW, Neighbours
from livestream.live.rivals import ANSWER_TIMEOUT_US, BETTER_LOOKS, CLIMB_AFTER_US
from livestream.live.selection import CLIMB_WEIGHT, CROWD, FOREIGN_AFTER_US
from livestream.live.substream import CUT_US_MAX, HEARS_AGAIN_US, STARVED_US
from livestream.machine import MILLISECOND, SECOND, Address
from livestream.swarm.peer import UNANSWERED_ROUND_TRIPS, Peer
from livestream.wire.live import (
    LAG_UNKNOWN_MS,
    PATH_MAX,
    Feed,
    LiveMessage,
    Refuse,
    Status,
    Subscribe,
    Unsubscribe,
)
from tests.live.neighbourhood import Line, make_peer

ME = b"self"
SOURCE = b"srce"
STEP_US = 10 * MILLISECOND
BETTER_US = BETTER_LOOKS * BETTER_EVERY * LOOK_US


class Search:
    """One viewer's search: neighbours that it knows, what it tells them, what it is pushed."""

    def __init__(self, substreams: int = 1, *, home: int = ANY_HOME) -> None:
        self.now = 0
        self.substreams = substreams
        self.neighbours = Neighbours()
        self.feeders = Feeders(
            ME, Random(1), self.neighbours, self._send, self._seek, turned=self._turn
        )
        self.turned: list[int] = []
        "Substreams of which those whom we feed are told."
        self.feeders.selection.home = home
        self.feeders.start(substreams, -1, 0)
        self.peers: list[Peer] = []
        self.sent: list[tuple[Peer, LiveMessage]] = []
        self.pushes: dict[int, tuple[Peer, int]] = {}
        "By substream: who pushes, and how old pieces are then."
        self.pushed = [0] * substreams
        "So many pieces of each substream."
        self.sought: list[tuple[int, int]] = []
        "(When, substream): whenever a stranger was to be called."

    def _send(self, peer: Peer, message: LiveMessage) -> None:
        self.sent.append((peer, message))

    def _turn(self, number: int, now: int) -> None:
        self.turned.append(number)

    def _seek(self, number: int, now: int) -> None:
        self.sought.append((now, number))

    def knows(
        self,
        number: int,
        *lags_ms: int,
        home: int = 0,
        spare: int = 1,
        children: int = 0,
        is_source: bool = False,
        rtt_ms: int = 20,
    ) -> Peer:
        """Add a neighbour with this status."""
        peer = make_peer(number, rtt_us=rtt_ms * MILLISECOND)
        self.peers.append(peer)
        self.says(peer, *lags_ms, home=home, spare=spare, children=children, is_source=is_source)
        return peer

    def says(
        self,
        peer: Peer,
        *lags_ms: int,
        home: int = 0,
        spare: int = 1,
        children: int = 0,
        is_source: bool = False,
    ) -> None:
        """Have a neighbour tell how it is."""
        self.neighbours.note(peer, Status(is_source, home, spare, children, lags_ms or (100,)))
        self.feeders.note_status(peer, self.now)

    def publisher(self, number: int = 90) -> Peer:
        """Add the publisher, which wants a head in each substream."""
        wanted = [0] * self.substreams
        return self.knows(number, *wanted, home=ANY_HOME, spare=9, is_source=True)

    def feed(
        self,
        peer: Peer,
        number: int = 0,
        *,
        lag_ms: int = 100,
        hops: int = 1,
        above: Address | None = None,
    ) -> bool:
        """Have a neighbour say that it feeds us, and push from now on.

        Whether those whom we feed are told.
        """
        self.turned.clear()
        path = (SOURCE, *(b"hop%d" % hop for hop in range(hops - 1)))
        self.feeders.on_feed(peer, Feed(number, lag_ms, path, above), self.now)
        self.pushes[number] = peer, lag_ms * MILLISECOND
        return bool(self.turned)

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            self.now += STEP_US
            for number, (peer, lag_us) in self.pushes.items():
                if self.now % (100 * MILLISECOND) == 0:
                    index = self.pushed[number] * self.substreams + number
                    self.pushed[number] += 1
                    self.feeders.note_pushed(index, peer, lag_us, self.now)
            self.look()

    def look(self) -> None:
        """Do what is due."""
        timer = self.feeders.get_timer()
        if timer is not None and timer <= self.now:
            self.feeders.handle_timer(self.peers, 0, self.now)

    def miss(self, pieces: int, number: int = 0, *, fetched: int = 0) -> None:
        """So many pieces of a substream are due that were not pushed; some came from elsewhere."""
        due = [-1] * self.substreams
        due[number] = (self.pushed[number] + pieces - 1) * self.substreams + number
        self.feeders.look_for_failures({number: pieces - fetched}, due, self.now)

    def asked(self, number: int = 0) -> list[Peer]:
        """Return who was asked for a substream since the last question; forgets all that was."""
        sent, self.sent = self.sent, []
        return [
            peer
            for peer, message in sent
            if isinstance(message, Subscribe) and message.substream == number
        ]

    def fed_by(
        self, peer: Peer, *, lag_ms: int = 100, hops: int = 1, above: Address | None = None
    ) -> None:
        """Get to where this neighbour feeds us."""
        self.look()
        assert self.asked() == [peer]
        self.feed(peer, lag_ms=lag_ms, hops=hops, above=above)


# Whom to ask


def test_whoever_is_quickest_is_asked_first() -> None:
    search = Search()
    search.knows(1, 300)
    quick = search.knows(2, 100)
    search.knows(3, 220)
    search.look()
    assert search.asked() == [quick]


def test_the_way_to_it_counts_as_well() -> None:
    search = Search()
    search.knows(1, 50, rtt_ms=600)
    near = search.knows(2, 200)
    search.look()
    assert search.asked() == [near]


def test_how_soon_it_can_send_again_what_was_lost_counts_as_well() -> None:
    """It has pieces 160 ms sooner, and what is lost a round trip of 300 ms later."""
    search = Search()
    search.knows(1, 50, rtt_ms=300)
    near = search.knows(2, 350)
    search.look()
    assert search.asked() == [near]


def test_who_is_not_fed_itself_is_not_asked() -> None:
    search = Search()
    search.knows(1, LAG_UNKNOWN_MS)
    search.go_on(2)
    assert search.asked() == []


def test_who_has_room_is_asked_before_who_is_quicker_and_full() -> None:
    search = Search()
    full = search.knows(1, 50, spare=0)
    roomy = search.knows(2, 400)
    search.look()
    assert search.asked() == [roomy]
    search.feeders.on_gone(roomy, search.now)
    search.peers.remove(roomy)
    search.look()
    assert search.asked() == [full], "it may make room, or know of some"


def test_who_says_nothing_while_others_do_is_not_asked() -> None:
    search = Search()
    silent, other = search.knows(1, 50), search.knows(2, 200)
    silent.heard_at, other.heard_at = 0, QUIET_US + 1
    search.look()
    assert search.asked() == [other]
    search = Search()
    search.knows(1, 50).heard_at = 0
    search.go_on(QUIET_US / SECOND + 1)
    assert search.asked(), "of a neighbour alone nothing can be said"


def test_what_we_feed_to_others_is_asked_for_first() -> None:
    search = Search(3, home=2)
    search.knows(1, 100, 100, 100, home=2, spare=3)
    search.knows(2, 100, 100, 100, home=0, spare=3)
    search.knows(3, 100, 100, 100, home=1, spare=3)
    search.look()
    numbers = [message.substream for _, message in search.sent if isinstance(message, Subscribe)]
    assert numbers == [2, 0, 1]


def test_who_feeds_elsewhere_is_asked_only_once_nobody_at_home_was_found() -> None:
    search = Search()
    foreign = search.knows(1, 50, home=3)
    search.go_on((FOREIGN_AFTER_US - STEP_US) / SECOND)
    assert search.asked() == []
    search.go_on(0.3)
    assert search.asked() == [foreign]


def test_among_many_the_publisher_is_asked_at_home_only_until_we_starve() -> None:
    """It would have to refuse all others."""
    search = Search(2, home=1)
    source = search.publisher()
    for number in range(1, CROWD):
        search.knows(number, LAG_UNKNOWN_MS, LAG_UNKNOWN_MS)
    search.look()
    assert [peer for peer, message in search.sent if message == Subscribe(1, 0)] == [source]
    assert Subscribe(0, 0) not in [message for _, message in search.sent]
    search.feed(source, 1)
    search.asked()
    search.go_on((STARVED_US - STEP_US) / SECOND)
    assert search.asked(0) == []
    search.go_on(0.5)
    assert source in search.asked(0)


def refused_by_its_feeder(neighbours: int, home: int) -> tuple[Search, Peer]:
    """Return a search whose feeder let it go, beside so many others at home there; the publisher.

    We ourselves are at home in substream 1, and lost substream 0.
    """
    search = Search(2, home=1)
    feeder = search.knows(neighbours, 100, LAG_UNKNOWN_MS)
    search.look()
    search.feed(feeder)
    source = search.publisher()
    for number in range(1, neighbours - 1):
        search.knows(number, LAG_UNKNOWN_MS, LAG_UNKNOWN_MS, home=home)
    search.asked()
    search.feeders.on_refuse(feeder, Refuse(0), search.now)
    search.look()
    return search, source


def test_of_a_dozen_the_publisher_is_asked_at_once_where_nobody_else_is_at_home() -> None:
    """When whoever was at home there failed, all below it would wait for somebody to starve."""
    search, source = refused_by_its_feeder(CROWD, home=1)
    assert search.asked() == [source]
    search, source = refused_by_its_feeder(FEW - 1, home=1)
    assert search.asked() == [source]


def test_of_a_dozen_whoever_is_fed_by_the_only_one_at_home_becomes_the_second_head() -> None:
    """The publisher keeps two, so that one is there when the other fails."""
    for home, is_asked in ((1, True), (0, False)):
        search = Search(2, home=1)
        feeder = search.knows(CROWD, 400, LAG_UNKNOWN_MS)
        search.look()
        search.feed(feeder, lag_ms=400)
        source = search.publisher()
        for number in range(1, CROWD):
            search.knows(number, LAG_UNKNOWN_MS, LAG_UNKNOWN_MS, home=home)
        search.asked()
        search.go_on(BETTER_LOOKS + 1)
        assert (source in search.asked()) == is_asked


def test_the_publisher_is_left_to_whoever_is_at_home_and_among_many_there_is_somebody() -> None:
    search, _ = refused_by_its_feeder(CROWD, home=0)
    assert search.asked() == []
    search, _ = refused_by_its_feeder(FEW, home=1)
    assert search.asked() == []


def test_among_few_the_publisher_is_asked_for_all() -> None:
    search = Search(2, home=1)
    source = search.publisher()
    search.look()
    assert {peer for peer, _ in search.sent} == {source}
    assert len(search.sent) == 2


# What they answer


def test_a_feed_that_nobody_asked_for_is_turned_down() -> None:
    search = Search()
    stranger = search.knows(1, 100)
    search.says(stranger, LAG_UNKNOWN_MS)
    assert not search.feed(stranger)
    assert search.sent == [(stranger, Unsubscribe(0))]
    assert not search.feeders.feeder(0)


def test_a_substream_that_does_not_exist_is_turned_down() -> None:
    search = Search()
    peer = search.knows(1, 100)
    search.feeders.on_feed(peer, Feed(200, 0, (SOURCE,)), 0)
    search.feeders.on_refuse(peer, Refuse(200), 0)
    assert not search.turned
    assert search.sent == [(peer, Unsubscribe(200))]


def test_nobody_is_fed_along_a_path_with_itself_on_it() -> None:
    search = Search()
    below = search.knows(1, 100)
    search.look()
    search.asked()
    search.feeders.on_feed(below, Feed(0, 100, (SOURCE, ME, b"hop0")), 0)
    assert search.sent == [(below, Unsubscribe(0))]
    assert not search.feeders.feeder(0)


def test_a_path_that_becomes_a_loop_ends_the_feeding() -> None:
    search = Search()
    peer = search.knows(1, 100)
    search.fed_by(peer)
    search.asked()
    search.turned.clear()
    search.feeders.on_feed(peer, Feed(0, 100, (SOURCE, ME)), 1)
    assert search.turned == [0], "those whom we feed have nothing to wait for from there"
    assert (peer, Unsubscribe(0)) in search.sent
    assert not search.feeders.feeder(0)


def test_a_path_that_has_no_end_is_none() -> None:
    search = Search()
    peer = search.knows(1, 100)
    search.look()
    search.asked()
    search.feed(peer, hops=PATH_MAX)
    assert not search.feeders.feeder(0)


def test_our_children_are_told_only_when_the_path_changes() -> None:
    search = Search()
    peer = search.knows(1, 100)
    search.look()
    assert search.feed(peer, hops=2)
    assert not search.feed(peer, hops=2)
    assert search.feed(peer, hops=3)
    assert search.feeders.path(0) == (SOURCE, b"hop0", b"hop1", ME)


def test_who_refuses_is_left_alone_for_a_while_and_another_is_asked_at_once() -> None:
    search = Search()
    first, second = search.knows(1, 50), search.knows(2, 300)
    search.look()
    assert search.asked() == [first]
    search.feeders.on_refuse(first, Refuse(0), search.now)
    search.look()
    assert search.asked() == [second]
    search.feeders.on_refuse(second, Refuse(0), search.now)
    search.says(first, 50)
    search.go_on((AVOID_REFUSED_US - STEP_US) / SECOND)
    assert search.asked() == []
    search.go_on(0.3)
    assert search.asked() == [first]


def test_who_does_not_answer_is_given_up() -> None:
    search = Search()
    search.knows(1, 50)
    second = search.knows(2, 300)
    search.look()
    search.asked()
    search.go_on((ANSWER_TIMEOUT_US - STEP_US) / SECOND)
    assert search.asked() == []
    search.go_on(STEP_US / SECOND)
    assert search.asked() == [second]


def test_when_the_feeder_leaves_another_is_asked_at_once() -> None:
    search = Search()
    first, second = search.knows(1, 50), search.knows(2, 300)
    search.fed_by(first)
    search.peers.remove(first)
    search.feeders.on_gone(first, search.now)
    assert not search.feeders.feeder(0)
    search.look()
    assert search.asked() == [second]


# Feeders that fail


def patience_us(hops: int, *, fetched: int = 0) -> int:
    """Return for how long a feeder may push nothing while pieces are overdue, or were fetched."""
    search = Search()
    peer = search.knows(1, 100)
    search.fed_by(peer, hops=hops)
    search.go_on(1)
    search.pushes.clear()
    silent_since = search.now
    while search.feeders.feeder(0):
        search.go_on(STEP_US / SECOND)
        search.miss(2, fetched=fetched)
    assert search.feeders.failovers == 1
    return search.now - silent_since


def test_a_feeder_is_left_when_pieces_are_overdue_and_it_pushes_nothing() -> None:
    assert abs(patience_us(1) - FEED_PATIENCE_US - HOP_PATIENCE_US) <= STEP_US


def test_the_longer_the_path_the_more_patience() -> None:
    """Whoever is nearest to the failure looks for a feeder: those below have not lost theirs."""
    assert abs(patience_us(5) - patience_us(1) - 4 * HOP_PATIENCE_US) <= STEP_US


def test_a_feeder_of_a_slow_channel_is_left_though_all_it_failed_to_push_was_fetched() -> None:
    """Where a substream has a piece a second, never two of them are overdue at a time."""
    expected_us = MISSED_PATIENCE_US + HOP_PATIENCE_US
    assert abs(patience_us(1, fetched=2) - expected_us) <= STEP_US


def test_who_promises_to_begin_in_a_distant_future_is_left_all_the_same() -> None:
    """Else it would have missed nothing for ever, where all of it is fetched elsewhere in time."""
    search = Search()
    liar = search.knows(1, 100)
    search.look()
    search.feeders.on_feed(liar, Feed(0, 100, (SOURCE,), first=0xFFFF_FFFF), search.now)
    assert search.feeders.feeder(0) is liar
    due = [FIRST_AHEAD_MAX + 2 * search.substreams] * search.substreams
    for _ in range(30):
        search.go_on(0.1)
        search.feeders.look_for_failures({}, due, search.now)
    assert search.feeders.feeder(0) is not liar


def two_feeders() -> tuple[Search, Peer, Peer]:
    """Return a viewer with a feeder in each of two substreams, who pushed something just now."""
    search = Search(substreams=2)
    one, other = search.knows(1, 100, 0xFFFF), search.knows(2, 0xFFFF, 100, home=1)
    search.look()
    for number, peer in ((0, one), (1, other)):
        search.feed(peer, number)
    search.go_on(1)
    search.pushes.clear()
    return search, one, other


def check_that_only_one_is_left(search: Search, one: Peer, other: Peer, *, after_us: int) -> None:
    """Of two feeders, the one that is silent is left just then, if the other one is heard."""
    search.go_on(after_us / SECOND)
    other.heard_at = search.now
    search.miss(0)
    assert search.feeders.feeder(0) is one
    search.go_on(STEP_US / SECOND)
    other.heard_at = search.now
    search.miss(0)
    assert search.feeders.feeder(0) is not one
    assert search.feeders.feeder(1) is other


def test_a_feeder_that_says_nothing_while_others_do_is_left_before_pieces_are_due() -> None:
    search, one, other = two_feeders()
    one.heard_at = other.heard_at = search.now
    check_that_only_one_is_left(search, one, other, after_us=QUIET_US)


def test_when_nobody_is_heard_nobody_is_left() -> None:
    """It is our own line then."""
    search, one, other = two_feeders()
    one.heard_at = other.heard_at = search.now
    search.go_on(5)
    search.miss(0)
    assert search.feeders.feeder(0) is one
    assert search.feeders.feeder(1) is other


def line_of(peer: Peer) -> Line:
    assert isinstance(peer.connection, Line)
    return peer.connection


def test_a_feeder_that_is_not_heard_is_asked_for_a_sign_of_life_whatever_is_due() -> None:
    search, one, other = two_feeders()
    one.heard_at = search.now
    search.go_on(UNHEARD_US / SECOND)
    other.heard_at = search.now
    search.feeders.look_for_failures({}, [-1, -1], search.now)
    assert line_of(one).probes == 0
    search.go_on(STEP_US / SECOND)
    for _ in range(2):
        search.feeders.look_for_failures({}, [-1, -1], search.now)
        assert (line_of(one).probes, line_of(other).probes) == (1, 0)
    search.go_on(UNHEARD_US / SECOND)
    search.feeders.look_for_failures({}, [-1, -1], search.now)
    assert (line_of(one).probes, line_of(other).probes) == (2, 1)


def unanswered() -> tuple[Search, Peer, Peer]:
    """Return a viewer one of whose two feeders has acknowledged nothing from now on, nor said."""
    search, one, other = two_feeders()
    one.heard_at = other.heard_at = search.now
    line_of(one).silent_since = search.now
    return search, one, other


def test_a_feeder_that_acknowledges_nothing_is_left_before_anything_is_known_to_be_due() -> None:
    search, one, other = unanswered()
    check_that_only_one_is_left(search, one, other, after_us=max(UNHEARD_US, FEED_PATIENCE_US))


def test_a_feeder_that_pushes_something_else_is_there_whatever_it_acknowledges() -> None:
    search, one, other = unanswered()
    search.go_on(1)
    one.heard_at = other.heard_at = search.now
    search.miss(0)
    assert search.feeders.feeder(0) is one


def test_far_away_more_time_passes_before_a_feeder_is_taken_for_gone() -> None:
    peer = make_peer(1, rtt_us=300 * MILLISECOND)
    line_of(peer).silent_since = 0
    allowed_us = UNANSWERED_ROUND_TRIPS * 300 * MILLISECOND
    assert not peer.is_unresponsive(allowed_us, UNHEARD_US)
    assert peer.is_unresponsive(allowed_us + 1, UNHEARD_US)


def test_when_nobody_is_heard_those_who_acknowledge_nothing_are_kept() -> None:
    """What was under way when our line went is unanswered since before others were heard last."""
    search, one, other = unanswered()
    line_of(other).silent_since = search.now
    for peer in (one, other):
        peer.heard_at = search.now + 50 * MILLISECOND
    search.go_on(1)
    search.miss(0)
    assert search.feeders.feeder(0) is one
    assert search.feeders.feeder(1) is other


def test_the_only_neighbour_is_not_left_for_what_may_be_our_own_line() -> None:
    search = Search()
    only = search.knows(1, 100)
    search.fed_by(only)
    search.go_on(1)
    search.pushes.clear()
    line_of(only).silent_since = search.now
    search.go_on(5)
    search.miss(0)
    assert search.feeders.feeder(0) is only


def test_how_long_the_machine_is_up_says_nothing_of_what_is_usual() -> None:
    search = Search(substreams=2)
    search.now = 864_000 * SECOND
    search.feeders.start(2, -1, search.now)
    one, other = search.knows(1, 100, 0xFFFF), search.knows(2, 0xFFFF, 100, home=1)
    search.look()
    for number, peer in ((0, one), (1, other)):
        search.feed(peer, number)
    search.go_on(2)
    search.pushes.clear()
    search.go_on(1)
    search.miss(0)
    assert line_of(one).probes == 1


# Feeders that are not fed themselves


def cut_off() -> tuple[Search, Peer]:
    """Return a viewer whose feeder says that it is not fed at present, and that feeder."""
    search = Search()
    feeder = search.knows(1, 100)
    search.fed_by(feeder)
    search.go_on(1)
    search.pushes.clear()
    search.turned.clear()
    search.feeders.on_feed(feeder, Feed(0, LAG_UNKNOWN_MS, (b"hop0",)), search.now)
    return search, feeder


def test_who_hears_that_its_feeder_is_not_fed_tells_its_own_children_and_feeds_nobody_else() -> (
    None
):
    search, feeder = cut_off()
    assert search.turned == [0]
    assert search.feeders.path(0) == ()
    assert search.feeders.lags_ms() == (LAG_UNKNOWN_MS,)
    search.feeders.on_feed(feeder, Feed(0, LAG_UNKNOWN_MS, (b"hop0",)), search.now)
    assert search.turned == [0], "once is enough"


def test_a_feeder_that_is_not_fed_is_given_time_to_be() -> None:
    search, feeder = cut_off()
    search.go_on((CUT_US_MAX - STEP_US) / SECOND)
    search.miss(2)
    assert search.feeders.feeder(0) is feeder
    search.go_on(2 * STEP_US / SECOND)
    search.miss(2)
    assert search.feeders.feeder(0) is not feeder


def test_a_feeder_that_says_again_and_again_that_it_is_not_fed_wins_no_more_time() -> None:
    """Nor by bringing a piece now and then."""
    search, feeder = cut_off()
    began = search.now
    while search.feeders.feeder(0) and search.now < 20 * SECOND:
        search.go_on(0.1)
        search.feed(feeder)
        search.pushes.clear()
        if search.now % SECOND == 0:
            search.feeders.note_pushed(search.pushed[0], feeder, 0, search.now)
        search.feeders.on_feed(feeder, Feed(0, LAG_UNKNOWN_MS, (b"hop0",)), search.now)
        search.miss(2)
    assert search.now - began <= CUT_US_MAX + SECOND


def test_who_feeds_us_says_at_most_twice_a_second_that_it_is_not_fed() -> None:
    """All below us are told."""
    search, feeder = cut_off()
    search.feed(feeder)
    search.pushes.clear()
    search.turned.clear()
    for _ in range(100):
        search.feeders.on_feed(feeder, Feed(0, LAG_UNKNOWN_MS, (b"hop0",)), search.now)
        search.feeders.on_feed(feeder, Feed(0, 100, (SOURCE,)), search.now)
    assert not search.turned
    search.go_on(HEARS_AGAIN_US / SECOND)
    for _ in range(100):
        search.feeders.on_feed(feeder, Feed(0, LAG_UNKNOWN_MS, (b"hop0",)), search.now)
        search.feeders.on_feed(feeder, Feed(0, 100, (SOURCE,)), search.now)
    assert search.turned == [0, 0]


def test_who_says_that_it_is_not_fed_and_pushes_is_a_feeder_again() -> None:
    search, feeder = cut_off()
    search.pushes[0] = feeder, 0
    for _ in range(20):
        search.go_on(0.1)
        search.miss(0)
    assert search.feeders.path(0)


def test_who_was_cut_off_by_its_own_word_is_no_liar() -> None:
    search = Search()
    feeder = search.knows(1, 100)
    search.fed_by(feeder)
    search.pushes.clear()
    search.feeders.on_feed(feeder, Feed(0, LAG_UNKNOWN_MS, (b"hop0",)), search.now)
    while search.now < 30 * SECOND and feeder not in search.asked():
        search.go_on(0.1)
        search.miss(2)
    assert search.now < 15 * SECOND, "avoided, not distrusted"


def test_after_the_publishers_restart_feeders_have_all_the_time_again() -> None:
    search = Search()
    feeder = search.knows(1, 100)
    search.fed_by(feeder)
    search.go_on(1)
    search.pushes.clear()
    search.go_on(5)
    search.feeders.start(1, 1_000, search.now)
    search.go_on(FEED_PATIENCE_US / SECOND)
    search.feeders.look_for_failures({0: 2}, [1_002], search.now)
    assert search.feeders.feeder(0) is feeder


def test_a_feeder_that_is_fed_again_is_one_as_before() -> None:
    search, feeder = cut_off()
    search.go_on(0.5)
    assert search.feed(feeder), "our children are told, though the path is the same"
    assert search.feeders.path(0) == (SOURCE, ME)
    search.pushes.clear()
    assert search.feeders.failovers == 0


def test_who_sees_that_nothing_comes_has_its_children_wait_until_something_does() -> None:
    """Else all below a failure would leave feeders that are looking for one themselves."""
    search = Search()
    feeder = search.knows(1, 100)
    search.fed_by(feeder, hops=9)
    search.go_on(1)
    pushes = dict(search.pushes)
    search.pushes.clear()
    search.go_on((FEED_PATIENCE_US + STEP_US) / SECOND)
    search.turned.clear()
    search.miss(2)
    assert search.turned == [0]
    assert search.feeders.path(0) == ()
    search.pushes = pushes
    search.go_on(0.1)
    assert search.turned == [0, 0]
    assert search.feeders.feeder(0) is feeder
    assert search.feeders.path(0)[-1] == ME


def test_a_promise_to_feed_us_later_is_no_feed() -> None:
    search = Search()
    peer = search.knows(1, 100)
    search.look()
    search.feeders.on_feed(peer, Feed(0, LAG_UNKNOWN_MS, (b"hop0",)), search.now)
    assert not search.feeders.feeder(0)
    assert not search.turned


def test_one_overdue_piece_is_no_failure_nor_are_many_while_it_pushes() -> None:
    search = Search()
    search.fed_by(search.knows(1, 100))
    search.go_on(1)
    search.miss(50)
    assert search.feeders.feeder(0)
    search.pushes.clear()
    search.go_on(1)
    search.miss(1)
    assert search.feeders.feeder(0)


def distrusted_us(search: Search, peer: Peer) -> int:
    """Have somebody promise, and push nothing; return for how long it is not asked then."""
    search.feed(peer)
    search.pushes.clear()
    search.go_on(0.5)
    search.miss(2)
    assert not search.feeders.feeder(0)
    search.asked()
    left_at = search.now
    while search.asked() != [peer]:
        search.go_on(STEP_US / SECOND)
    return search.now - left_at


def test_who_promises_and_never_pushes_is_distrusted_longer_each_time() -> None:
    search = Search()
    liar = search.knows(1, 10)
    search.look()
    assert search.asked() == [liar]
    waits = [distrusted_us(search, liar) for _ in range(3)]
    assert [round(wait / SECOND) for wait in waits] == [20, 40, 80]


def test_who_pushed_and_then_failed_is_no_liar() -> None:
    search = Search()
    peer = search.knows(1, 10)
    search.fed_by(peer)
    search.go_on(1)
    search.pushes.clear()
    search.go_on(0.5)
    search.miss(2)
    search.go_on(11)
    assert search.asked() == [peer]


def test_the_publisher_is_never_distrusted() -> None:
    search = Search()
    source = search.publisher()
    search.look()
    search.feed(source)
    search.pushes.clear()
    search.go_on(0.5)
    search.miss(2)
    search.asked()
    search.go_on(1)
    assert source in search.asked()


# Better ones


def test_a_feeder_that_is_much_better_for_some_time_takes_over() -> None:
    search = Search()
    old = search.knows(1, 400)
    search.fed_by(old, lag_ms=400)
    better = search.knows(2, 100)
    search.go_on((BETTER_US - SECOND) / SECOND)
    assert search.asked() == [], "it may be better by chance"
    search.go_on(1.1)
    assert search.sent == [(better, Subscribe(0, 0, is_fed=True))]
    search.sent.clear()
    assert search.feeders.feeder(0) is old, "until the other feeds us"
    search.feed(better)
    assert search.sent == [(old, Unsubscribe(0))]
    assert search.feeders.feeder(0) is better


def test_the_old_feeder_goes_on_up_to_where_the_new_one_begins() -> None:
    search, old, rival = rivals()
    search.feeders.on_feed(rival, Feed(0, 100, (SOURCE,), first=80), search.now)
    assert search.sent == [(old, Unsubscribe(0, 80))]


def test_of_two_that_bring_pieces_as_soon_the_one_that_sends_again_sooner_takes_over() -> None:
    search = Search()
    far = search.knows(1, 50, rtt_ms=300)
    search.fed_by(far, lag_ms=200)
    near = search.knows(2, 190)
    search.go_on((BETTER_US + SECOND) / SECOND)
    assert near in search.asked()


def test_a_little_better_is_not_worth_it() -> None:
    search = Search()
    old = search.knows(1, 400)
    search.fed_by(old, lag_ms=400)
    search.knows(2, 330)
    search.go_on(3 * BETTER_US / SECOND)
    assert search.asked() == []


def test_better_now_and_then_is_not_better() -> None:
    search = Search()
    old = search.knows(1, 400)
    search.fed_by(old, lag_ms=400)
    other = search.knows(2, 100)
    for _ in range(6):
        search.go_on(2.5)
        search.says(other, 400)
        search.go_on(1.5)
        search.says(other, 100)
    assert search.asked() == []


def test_who_is_at_home_takes_over_from_who_is_not() -> None:
    search = Search()
    foreign = search.knows(1, 100, home=3)
    search.go_on(FOREIGN_AFTER_US / SECOND + 0.3)
    assert search.asked() == [foreign]
    search.feed(foreign)
    at_home = search.knows(2, 150)
    search.go_on(BETTER_US / SECOND + 0.1)
    assert search.asked() == [at_home]


def rivals() -> tuple[Search, Peer, Peer]:
    """Return a search in which a better feeder has been asked."""
    search = Search()
    old = search.knows(1, 400)
    search.fed_by(old, lag_ms=400)
    rival = search.knows(2, 100)
    search.go_on(BETTER_US / SECOND + 0.1)
    assert search.asked() == [rival]
    return search, old, rival


def test_a_rival_that_refuses_changes_nothing() -> None:
    search, old, rival = rivals()
    search.feeders.on_refuse(rival, Refuse(0), search.now)
    assert search.feeders.feeder(0) is old
    assert search.sent == []
    assert not search.feeders.asked(rival, 0)


def test_a_rival_that_we_feed_changes_nothing() -> None:
    search, old, rival = rivals()
    search.feeders.on_feed(rival, Feed(0, 100, (SOURCE, ME)), search.now)
    assert search.feeders.feeder(0) is old
    assert search.sent == [(rival, Unsubscribe(0))]


def test_a_rival_takes_over_from_nobody_when_the_feeder_left_meanwhile() -> None:
    search, old, rival = rivals()
    search.peers.remove(old)
    search.feeders.on_gone(old, search.now)
    search.feed(rival)
    assert search.feeders.feeder(0) is rival


def test_who_feeds_many_asks_further_up_even_where_there_is_no_room() -> None:
    """It takes the place of somebody who feeds fewer."""
    asked = {}
    for weight in (0, 24):
        search = Search(home=0)
        search.feeders.selection.weight = weight
        search.fed_by(search.knows(1, 400), lag_ms=400)
        full = search.knows(2, 100, spare=0)
        search.go_on(BETTER_US / SECOND + 0.1)
        asked[weight] = full in search.asked()
    assert asked == {0: False, 24: True}


def test_a_feeder_that_brings_pieces_too_late_is_left_after_one_look() -> None:
    asked = {}
    for lag_ms in (680, 720):
        search = Search()
        search.fed_by(search.knows(1, lag_ms), lag_ms=lag_ms)
        search.go_on(1)
        better = search.knows(2, 100)
        search.go_on((LOOK_US + STEP_US) / SECOND)
        asked[lag_ms] = search.asked() == [better]
    assert asked == {680: False, 720: True}


# Strangers


def test_an_orphan_with_room_at_home_calls_no_stranger() -> None:
    search = Search()
    search.knows(1, 100)
    search.go_on(0.4)
    assert search.sought == []


def test_an_orphan_that_knows_of_no_room_at_home_calls_a_stranger_and_soon_another() -> None:
    for spare, home in ((0, 0), (5, 3)):
        search = Search(2)
        search.knows(1, LAG_UNKNOWN_MS, 100, home=1, spare=9)
        search.knows(2, 100, LAG_UNKNOWN_MS, home=home, spare=spare)
        search.look()
        assert search.sought == [(0, 0)], "at once, and for substream 1 there is room"
        search.go_on(2)
        times = [at for at, number in search.sought if number == 0]
        gaps_us = [later - sooner for sooner, later in pairwise(times)]
        assert min(gaps_us) >= SEEK_US
        assert len(times) >= 3


def test_who_is_fed_calls_no_strangers() -> None:
    search = Search()
    search.fed_by(search.knows(1, 100))
    search.sought.clear()
    search.go_on(3)
    assert search.sought == []


# Notice


def noticed(notice_ms: int = 1_500) -> tuple[Search, Peer]:
    """Return a search whose feeder has given notice."""
    search = Search()
    old = search.knows(1, 100)
    search.fed_by(old)
    search.go_on(1)
    search.asked()
    search.feeders.on_refuse(old, Refuse(0, (), notice_ms), search.now)
    return search, old


def test_a_feeder_that_gives_notice_feeds_us_until_another_does() -> None:
    search, old = noticed()
    other = search.knows(2, 300)
    search.look()
    assert search.asked() == [other], "at once"
    assert search.feeders.feeder(0) is old
    search.feed(other, lag_ms=300)
    assert search.sent == [(old, Unsubscribe(0))]
    assert search.feeders.feeder(0) is other
    search.go_on(3)
    assert search.feeders.feeder(0) is other, "the notice was the old one's"


def test_at_the_end_of_the_notice_a_substream_without_a_feeder_is_an_orphan_and_starves() -> None:
    search, old = noticed()
    search.go_on(1.5 - STEP_US / SECOND)
    assert search.feeders.feeder(0) is old
    assert search.sought, "strangers are called meanwhile"
    assert search.feeders.starved(search.now) == []
    search.go_on(2 * STEP_US / SECOND)
    assert not search.feeders.feeder(0)
    assert search.feeders.starved(search.now) == [0], "it has looked for so long already"
    assert search.asked() == [], "not the one that let us go"


def test_nobody_is_believed_to_feed_us_for_long_after_its_notice() -> None:
    search, _ = noticed(0xFFFF)
    search.go_on(NOTICE_US_MAX / SECOND - 0.1)
    assert search.feeders.feeder(0)
    search.go_on(0.2)
    assert not search.feeders.feeder(0)


def test_when_the_one_asked_during_the_notice_refuses_the_next_is_asked_at_once() -> None:
    search, old = noticed()
    quick, slow = search.knows(2, 100), search.knows(3, 400)
    search.look()
    assert search.asked() == [quick]
    search.feeders.on_refuse(quick, Refuse(0), search.now)
    search.look()
    assert search.asked() == [slow]
    assert search.feeders.feeder(0) is old


def test_who_does_not_answer_during_the_notice_is_given_up() -> None:
    search, old = noticed()
    search.knows(2, 100)
    slow = search.knows(3, 400)
    search.look()
    search.asked()
    search.go_on((ANSWER_TIMEOUT_US - STEP_US) / SECOND)
    assert search.asked() == []
    search.go_on(2 * STEP_US / SECOND)
    assert search.asked() == [slow]
    assert search.feeders.feeder(0) is old


def test_a_feeder_that_leaves_before_its_notice_is_over_leaves_an_orphan() -> None:
    search, old = noticed()
    search.peers.remove(old)
    search.feeders.on_gone(old, search.now)
    assert not search.feeders.feeder(0)
    other = search.knows(2, 300)
    search.look()
    assert search.asked() == [other]


def test_notice_by_who_does_not_feed_us_yet_is_a_refusal() -> None:
    search = Search()
    first, second = search.knows(1, 50), search.knows(2, 300)
    search.look()
    assert search.asked() == [first]
    search.feeders.on_refuse(first, Refuse(0, (), 1_500), search.now)
    search.look()
    assert search.asked() == [second]
    assert not search.feeders.asked(first, 0)


# Silence


def silent_search(*, home: int = 0) -> tuple[Search, list[Peer]]:
    """Return a search with three substreams, each fed by another neighbour."""
    search = Search(3, home=home)
    peers = [search.knows(number + 1, 100, 100, 100, home=number) for number in range(3)]
    search.look()
    for number, peer in enumerate(peers):
        search.feed(peer, number)
    search.go_on(1)
    search.asked()
    return search, peers


def test_silence_is_when_nothing_comes_in_several_substreams() -> None:
    search, _ = silent_search()
    del search.pushes[0]
    search.go_on(0.8)
    assert not search.feeders.is_silent(search.now), "one may have an unlucky feeder"
    del search.pushes[1]
    search.go_on(0.5)
    assert not search.feeders.is_silent(search.now)
    search.go_on(0.3)
    assert search.feeders.is_silent(search.now)


def test_in_silence_those_at_home_are_to_ask_the_publisher_first_if_there_are_any() -> None:
    for home, is_first in ((2, False), (0, True)):
        search, _ = silent_search()
        for number in range(CROWD):
            search.knows(number + 10, *[LAG_UNKNOWN_MS] * 3, home=home)
        source = search.publisher()
        search.feeders.selection.home = 1
        search.pushes.clear()
        search.go_on(1)
        assert search.asked(2) == ([source] if is_first else [])
        search.go_on(0.5)
        assert search.asked(2) == [source], "again, as it has not answered"


def test_in_silence_who_is_at_home_asks_the_publisher_and_is_fed_until_that_feeds_it() -> None:
    search, peers = silent_search()
    for number in range(CROWD):
        search.knows(number + 10, *[LAG_UNKNOWN_MS] * 3)
    source = search.publisher()
    search.feeders.selection.home = 1
    search.pushes.clear()
    search.go_on(1)
    assert search.asked(1) == [source]
    assert search.feeders.feeder(1) is peers[1]
    search.feed(source, 1)
    assert search.feeders.feeder(1) is source


def test_starved_is_what_found_no_feeder_in_good_time() -> None:
    search, peers = silent_search()
    search.peers.remove(peers[1])
    search.feeders.on_gone(peers[1], search.now)
    search.neighbours.drop(peers[1])
    for peer in (peers[0], peers[2]):
        search.says(peer, 100, LAG_UNKNOWN_MS, 100)
    search.go_on((STARVED_US) / SECOND)
    assert search.feeders.starved(search.now) == []
    search.go_on(0.1)
    assert search.feeders.starved(search.now) == [1]


def test_promises_do_not_hide_that_a_substream_starves() -> None:
    """Each of them fed us by its own word, and brought nothing."""
    search = Search()
    for number in range(4):
        peer = search.knows(number + 1, 100)
        search.go_on(0.2)
        assert search.asked() == [peer]
        search.feeders.on_feed(peer, Feed(0, 100, (SOURCE,)), search.now)
        search.go_on(0.2)
        search.peers.remove(peer)
        search.feeders.on_gone(peer, search.now)
    assert search.feeders.starved(search.now) == [0]


# Further up


def fed_below(above: Peer, *, slots: int) -> Search:
    """Return who can feed so many, and is fed by somebody whom this one feeds."""
    search = Search(home=0)
    search.feeders.selection.weight = slots
    feeder = search.knows(1, 200)
    search.look()
    assert search.asked() == [feeder]
    search.feed(feeder, lag_ms=200, hops=3, above=above.address)
    return search


def test_who_feeds_many_calls_whoever_feeds_its_feeder_and_asks_for_a_place_there() -> None:
    above = make_peer(9)
    search = fed_below(above, slots=CLIMB_WEIGHT)
    search.go_on(CLIMB_AFTER_US / SECOND + 1)
    assert search.sought
    assert search.neighbours.take_room(0, search.now) == above.address
    search.peers.append(above)
    search.says(above, 100, spare=0)
    search.go_on(1)
    assert search.asked() == [above], "room or not: it may take somebody's place"
    search.feed(above, lag_ms=100)
    assert search.feeders.feeder(0) is above


def test_a_heads_heir_is_not_asked_while_the_head_is_there() -> None:
    """It gets its pieces from where we do."""
    search, heir = Search(home=0), make_peer(9)
    search.feeders.selection.weight = CLIMB_WEIGHT
    search.fed_by(search.knows(1, 200), lag_ms=200, hops=2, above=heir.address)
    search.go_on(CLIMB_AFTER_US / SECOND + 1)
    assert not search.sought


def test_who_loses_its_feeder_calls_whoever_is_above_or_takes_its_place() -> None:
    for hops in (2, 3):
        search, above = Search(), make_peer(9)
        feeder = search.knows(1, 200)
        search.fed_by(feeder, lag_ms=200, hops=hops, above=above.address)
        search.go_on(0.5)
        search.peers.remove(feeder)
        search.feeders.on_gone(feeder, search.now)
        search.look()
        assert search.sought == [(search.now, 0)]
        assert search.neighbours.take_room(0, search.now) == above.address


def test_who_feeds_few_stays_where_it_is() -> None:
    above = make_peer(9)
    search = fed_below(above, slots=CLIMB_WEIGHT - 1)
    search.go_on(CLIMB_AFTER_US / SECOND + 1)
    assert not search.sought
    search.peers.append(above)
    search.says(above, 100, spare=0)
    search.go_on(5)
    assert search.asked() == []


def test_whoever_feeds_our_feeder_is_asked_if_it_is_so_near_that_it_sends_again_sooner() -> None:
    for rtt_ms, is_asked in ((20, False), (100, True)):
        above, search = make_peer(9), Search(home=0)
        feeder = search.knows(1, 200, rtt_ms=rtt_ms)
        search.feeders.selection.weight = CLIMB_WEIGHT
        search.fed_by(feeder, lag_ms=200, hops=3, above=above.address)
        search.peers.append(above)
        search.says(above, 190, spare=0)
        search.go_on(CLIMB_AFTER_US / SECOND + 1)
        assert (above in search.asked()) is is_asked


def test_whoever_feeds_our_feeder_is_not_asked_if_it_would_bring_nothing_sooner() -> None:
    above = make_peer(9)
    search = fed_below(above, slots=CLIMB_WEIGHT)
    search.peers.append(above)
    search.says(above, 190, spare=0)
    search.go_on(5)
    assert search.asked() == []


# What is told of it


def test_pieces_from_the_future_leave_a_lag_that_can_be_told() -> None:
    """Where clocks disagree, a piece may seem to come before its capture."""
    search = Search()
    source = search.publisher()
    search.look()
    assert search.feed(source, lag_ms=0)
    search.feeders.note_pushed(0, source, -20 * SECOND, 2)
    assert search.feeders.lags_ms() == (0,)
    assert Status(False, 0xFF, 5, 0, search.feeders.lags_ms()).to_bytes()


def test_the_lag_that_is_told_follows_what_comes() -> None:
    search = Search()
    search.fed_by(search.knows(1, 100), lag_ms=100)
    assert search.feeders.lags_ms() == (110,), "what was promised, and half a round trip"
    search.pushes[0] = (search.peers[0], 500 * MILLISECOND)
    search.go_on(5)
    assert search.feeders.lags_ms()[0] in range(490, 501)
    search.peers[0:] = []
    search.feeders.on_gone(search.pushes.pop(0)[0], search.now)
    assert search.feeders.lags_ms() == (LAG_UNKNOWN_MS,)


def test_a_new_epoch_keeps_those_who_feed_us() -> None:
    """The publisher was restarted: all follow it at once, and the trees are as they were."""
    search = Search()
    peer = search.knows(1, 100)
    search.fed_by(peer)
    search.feeders.start(1, -1, search.now)
    assert search.feeders.feeder(0) is peer
    search.feeders.start(2, -1, search.now)
    assert not search.feeders.feeder(0), "other substreams are other trees"
