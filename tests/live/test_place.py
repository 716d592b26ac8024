"""Where a node is of use: whom it listens to, where it feeds others, and whom it lets go."""

from __future__ import annotations

from livestream.config import SwarmConfig
from livestream.live.choker import RECOVERY_US
from livestream.live.neighbours import ANY_HOME
from livestream.live.place import (
    FOLLOWED_MAX,
    HOME_STAY_US,
    IDLE_AT_ONCE,
    IDLE_MAX,
    IDLE_US,
    PROBATION_US,
    STANDBY_MAX,
)
from livestream.live.reports import WINDOW_INTERVAL_US
from livestream.machine import SECOND, Address
from livestream.swarm.peer import Peer
from livestream.wire.live import Refuse, Status, Subscribe, WindowUpdate
from livestream.wire.messages import Interested, NotInterested
from tests.live.neighbourhood import RATE_BPS, SUBSTREAMS, UNFED, Neighbourhood

ROOT = Address("198.51.100.1", 4000)


def leaf(home: int = ANY_HOME, *, children: int = 1) -> Status:
    """Return the status of somebody that is fed nothing, and can feed no more than it does."""
    return Status(False, home, 0, children, UNFED)


def viewer(*, upload_x: float = 3.0, seed: int = 1) -> Neighbourhood:
    return Neighbourhood(upload_bps=int(upload_x * RATE_BPS), seed=seed)


def crowd(here: Neighbourhood, count: int, *, first: int = 1) -> list[Peer]:
    """Let so many come that have nothing to give to us."""
    peers = [here.join(first + number) for number in range(count)]
    for peer in peers:
        here.tell(peer, leaf())
    return peers


def followed(here: Neighbourhood, peers: list[Peer]) -> list[Peer]:
    """Return who has been asked for its window since this was asked last."""
    return [peer for peer in peers if Interested() in here.heard_plainly(peer)]


def statuses(here: Neighbourhood, peer: Peer) -> list[Status]:
    return [message for message in here.heard(peer) if isinstance(message, Status)]


def windows(here: Neighbourhood, peer: Peer) -> list[WindowUpdate]:
    return [message for message in here.heard(peer) if isinstance(message, WindowUpdate)]


# Whom we listen to


def test_some_neighbours_are_asked_for_their_windows_not_all() -> None:
    here = viewer()
    peers = crowd(here, 20)
    here.go_on(3)
    chosen = followed(here, peers)
    assert len(chosen) == FOLLOWED_MAX
    here.go_on(2)
    assert followed(here, peers) == [], "once is enough"


def test_who_can_feed_nobody_is_not_asked_for_its_window() -> None:
    here = viewer()
    peers = crowd(here, 4)
    here.tell(peers[0], leaf(children=0))
    here.go_on(3)
    assert followed(here, peers) == peers[1:]


def test_when_one_that_is_listened_to_leaves_another_is() -> None:
    here = viewer()
    peers = crowd(here, FOLLOWED_MAX + 1)
    here.go_on(1.1)
    chosen = followed(here, peers)
    here.leave(chosen[0])
    here.go_on(1.1)
    (other,) = followed(here, peers)
    assert other not in chosen


def test_windows_are_told_to_those_who_want_them_as_long_as_they_do() -> None:
    here = Neighbourhood(is_source=True)
    eager, other = here.join(1), here.join(2)
    here.say(eager, Interested())
    for peer in (eager, other):
        windows(here, peer)
    here.publish()
    here.go_on(WINDOW_INTERVAL_US / SECOND + 0.05)
    assert windows(here, eager) == [WindowUpdate(0, 0, 1)]
    assert windows(here, other) == []
    here.say(eager, NotInterested())
    here.publish()
    here.go_on(WINDOW_INTERVAL_US / SECOND + 0.05)
    assert windows(here, eager) == []


def test_only_what_is_new_is_told() -> None:
    here = Neighbourhood(is_source=True)
    eager = here.join(1)
    here.say(eager, Interested())
    for _ in range(3):
        here.publish()
    here.go_on(WINDOW_INTERVAL_US / SECOND + 0.05)
    windows(here, eager)
    here.publish()
    here.publish()
    here.go_on(WINDOW_INTERVAL_US / SECOND + 0.05)
    assert windows(here, eager) == [WindowUpdate(0, 3, 0b11)]


def test_a_window_goes_with_each_status_and_once_in_between() -> None:
    """In one datagram: most of what a quiet neighbour costs is datagrams, and answers to them."""
    here = Neighbourhood(is_source=True)
    eager = here.join(1)
    here.say(eager, Interested())
    here.go_on(0.5)
    here.heard(eager)
    told: list[tuple[int, int]] = []
    for _ in range(40):
        here.publish()
        here.go_on(0.1)
        heard = [type(message) for message in here.heard(eager)]
        told.append((heard.count(Status), heard.count(WindowUpdate)))
    assert sum(statuses for statuses, _ in told) == 4
    assert all(windows == 1 for statuses, windows in told if statuses)
    assert sum(windows for _, windows in told) in {8, 9}


# Where we feed


def test_who_has_received_for_a_while_may_feed_others_and_says_so_at_once() -> None:
    here = viewer()
    giver, other = here.join(1), here.join(2)
    here.go_on(1.5)
    assert all(status.spare_slots == 0 for status in statuses(here, other))
    here.give(giver, 0)
    here.go_on((PROBATION_US - SECOND // 10) / SECOND)
    assert all(status.spare_slots == 0 for status in statuses(here, other))
    here.go_on(0.15)
    assert [status.spare_slots for status in statuses(here, other)] == [20]


def test_a_home_is_where_the_fewest_can_feed() -> None:
    homes = []
    for seed in range(12):
        here = viewer(seed=seed)
        for number in range(SUBSTREAMS):
            if number != 5:
                here.tell(here.join(number + 1), Status(False, number, 2, 2, UNFED))
        here.go_on(1.1)
        homes.append(here.channel.choker.home)
    assert homes.count(5) >= 4, "one of the two neediest"


def test_without_an_upload_there_is_no_home() -> None:
    here = viewer(upload_x=0.05)
    crowd(here, 3)
    here.go_on(10)
    assert here.channel.choker.home == ANY_HOME


def settled(*, upload_x: float = 3.0) -> tuple[Neighbourhood, Peer]:
    """Return a viewer that one neighbour feeds all it wants, and that neighbour."""
    here = viewer(upload_x=upload_x)
    feeder = here.join(90)
    here.serve(feeder)
    here.go_on(3)
    assert all(here.channel.feeders.feeder(number) for number in range(SUBSTREAMS))
    return here, feeder


def test_who_is_asked_elsewhere_twice_as_much_is_at_home_there() -> None:
    here, _ = settled()
    children = crowd(here, 3)
    here.channel.choker.home = 6
    here.tell(children[0], Subscribe(6, 0))
    here.tell(children[1], Subscribe(2, 0))
    here.go_on(2)
    assert here.channel.choker.home == 6, "as much is not twice as much"
    here.tell(children[2], Subscribe(2, 0))
    here.go_on(1.1)
    assert here.channel.choker.home == 2


def test_after_an_overload_a_slot_comes_back_in_time() -> None:
    here, _ = settled()
    choker = here.channel.choker
    before = choker.slots
    choker.note_overload(here.now)
    assert choker.slots < before
    here.go_on(RECOVERY_US * (before + 1) / SECOND)
    assert choker.slots == before


def lacking(
    number: int, *, upload_x: float, children: int, strangers: int = 0
) -> tuple[Neighbourhood, Peer]:
    """Return a viewer at home in substream 0, for which nobody feeds another, and its feeder.

    It has children there, and strangers in substream 2.
    """
    here, feeder = settled(upload_x=upload_x)
    for turn, child in enumerate(crowd(here, children + strangers)):
        here.tell(child, Subscribe(0 if turn < children else 2, 0))
    here.channel.choker.home = 0
    lags_ms = tuple(0xFFFF if each == number else 50 for each in range(SUBSTREAMS))
    here.tell(feeder, Status(False, ANY_HOME, 20, 0, lags_ms))
    here.tell(feeder, Refuse(number))
    here.go_on(8)
    return here, feeder


def test_who_has_room_takes_up_a_substream_that_nobody_feeds() -> None:
    here, _ = lacking(7, upload_x=3.0, children=4)
    assert here.channel.feeders.starved(here.now) == [7]
    assert here.channel.choker.home == 7


def test_who_is_busy_at_home_stays_there() -> None:
    here, _ = lacking(7, upload_x=1.0, children=4)
    assert here.channel.feeders.starved(here.now) == [7]
    assert here.channel.choker.home == 0


def test_who_is_at_home_where_hardly_anybody_is_fed_stays_though_it_finds_children_elsewhere() -> (
    None
):
    """Else what few are fed in would be left by those who could feed it."""
    here, _ = lacking(7, upload_x=1.0, children=4)
    here.channel.choker.home = 7
    here.go_on(5)
    assert here.channel.feeders.starved(here.now) == [7]
    assert here.channel.choker.home == 7


def test_who_feeds_mostly_outside_of_its_home_takes_up_a_substream_that_nobody_feeds_in_time() -> (
    None
):
    """Where uploads are scarce nobody is idle, and a whole substream would be without a home."""
    here, _ = lacking(7, upload_x=1.0, children=3, strangers=3)
    here.go_on(60)
    assert here.channel.feeders.starved(here.now) == [7]
    assert here.channel.choker.used_slots == 6, "nobody was let go for it"
    assert here.channel.choker.home == 7


def test_who_feeds_mostly_at_home_stays_there_however_long_it_starves() -> None:
    here, _ = lacking(7, upload_x=1.0, children=4, strangers=2)
    here.go_on(60)
    assert here.channel.choker.home == 0


def test_whoever_moved_home_stays_there_until_it_is_found() -> None:
    """It has more children elsewhere at first, and would go back to those at once."""
    here, feeder = lacking(7, upload_x=1.0, children=3, strangers=3)
    for _ in range(60):
        if here.channel.choker.home == 7:
            break
        here.go_on(1)
    here.serve(feeder)
    here.go_on(4)
    assert not here.channel.feeders.starved(here.now)
    assert here.channel.choker.home == 7
    here.go_on(HOME_STAY_US / SECOND)
    assert here.channel.choker.home == 0, "nobody came"


def headless(here: Neighbourhood, *wanted: int) -> None:
    """Let the publisher come, who wants heads in these; elsewhere there is more need of others."""
    source = here.join(91)
    lags_ms = tuple(int(number not in wanted) for number in range(SUBSTREAMS))
    here.tell(source, Status(True, ANY_HOME, 2, 14, lags_ms))
    for number in wanted:
        here.tell(here.join(100 + number), Status(False, number, 40, 0, UNFED))


def test_who_is_idle_and_in_touch_with_the_publisher_goes_where_it_wants_heads() -> None:
    here, _ = settled()
    here.channel.choker.home = 0
    headless(here, 5)
    here.go_on(8)
    assert here.channel.choker.home == 5


def test_who_is_at_home_where_heads_are_wanted_stays_there() -> None:
    """Else all would go from one to the next for ever."""
    here, _ = settled()
    headless(here, 2, 5)
    here.channel.choker.home = 2
    homes = []
    for _ in range(10):
        here.go_on(1)
        homes.append(here.channel.choker.home)
    assert homes == [2] * 10


def test_who_is_busy_stays_though_heads_are_wanted_elsewhere() -> None:
    here, _ = settled(upload_x=1.0)
    for child in crowd(here, 4):
        here.tell(child, Subscribe(0, 0))
    here.channel.choker.home = 0
    headless(here, 5)
    here.go_on(8)
    assert here.channel.choker.home == 0


# Whom we let go


def test_neighbours_that_are_of_no_use_are_let_go_but_for_some() -> None:
    here = viewer()
    peers = crowd(here, FOLLOWED_MAX + IDLE_MAX + 6)
    here.go_on(IDLE_US / SECOND)
    assert len(here.swarm.ready) == len(peers), "they may be looking around yet"
    here.go_on(0.5)
    assert len(here.swarm.ready) == len(peers) - IDLE_AT_ONCE, "not all at once"
    here.go_on(5)
    assert len(here.swarm.ready) == FOLLOWED_MAX + IDLE_MAX


def test_who_listens_to_us_is_fed_or_feeds_us_is_kept() -> None:
    here = viewer()
    crowd(here, FOLLOWED_MAX, first=80)
    here.go_on(1.1)  # To these we listen.
    feeder = here.join(90)
    here.serve(feeder)
    here.go_on(3)
    listeners = crowd(here, 4, first=40)
    children = crowd(here, 4, first=50)
    for peer in listeners:
        here.say(peer, Interested())
    for peer in children:
        here.tell(peer, Subscribe(0, 0))
    crowd(here, 30)
    here.go_on(20)
    assert len(here.swarm.ready) < 30
    assert {feeder, *listeners, *children} <= set(here.swarm.ready)


def test_viewers_keep_the_publisher() -> None:
    here = viewer()
    source = here.join(90)
    here.tell(source, Status(True, ANY_HOME, 0, 16, (0,) * SUBSTREAMS))
    crowd(here, 40)
    here.go_on(20)
    assert len(here.swarm.ready) <= 1 + FOLLOWED_MAX + IDLE_MAX
    assert source in here.swarm.ready


def test_the_publisher_keeps_more_to_have_heads_when_it_needs_them() -> None:
    here = Neighbourhood(is_source=True)
    crowd(here, STANDBY_MAX + 10)
    here.go_on(20)
    assert len(here.swarm.ready) == STANDBY_MAX


def test_the_publisher_lets_those_go_first_who_can_feed_fewest() -> None:
    """The others are to be at hand when it needs heads."""
    here = Neighbourhood(is_source=True)
    capacities = [number * 7 % 31 for number in range(1, STANDBY_MAX + 7)]
    for number, capacity in enumerate(capacities):
        here.tell(here.join(number + 1), Status(False, ANY_HOME, capacity, 0, UNFED))
    here.go_on(20)
    left = [here.channel.neighbours.capacity(peer) for peer in here.swarm.ready]
    assert sorted(left) == sorted(capacities)[-STANDBY_MAX:]


# When nobody feeds us


def called_within(here: Neighbourhood, seconds: int) -> bool:
    """Whether the address from the link is called within this time, whoever else is there."""
    for _ in range(seconds):
        here.go_on(1)
        if ROOT in here.swarm.next_attempts(here.now):
            return True
    return False


def test_who_is_cut_off_calls_the_publisher_however_many_neighbours_there_are() -> None:
    here = viewer()
    crowd(here, SwarmConfig().neighbours_wanted + 2)
    here.swarm.candidates.add([ROOT], is_root=True)
    assert ROOT not in here.swarm.next_attempts(here.now), "there are enough neighbours"
    assert called_within(here, 15)


def test_who_is_fed_does_not_call_it() -> None:
    here, _ = settled()
    crowd(here, SwarmConfig().neighbours_wanted + 2)
    here.swarm.candidates.add([ROOT], is_root=True)
    assert not called_within(here, 10)


def test_who_is_fed_nothing_any_more_calls_it_though_its_feeders_are_there() -> None:
    """Perhaps the heads died: those who feed us get nothing themselves."""
    here, feeder = settled()
    crowd(here, SwarmConfig().neighbours_wanted + 2)
    here.swarm.candidates.add([ROOT], is_root=True)
    here.dry_up(feeder)
    assert called_within(here, 15)
    assert feeder in here.swarm.ready


def test_who_is_cut_off_does_not_call_each_second() -> None:
    """A crowd that lost its heads must not drown the publisher."""
    times = []
    for seed in range(30):
        here = viewer(seed=seed)
        crowd(here, SwarmConfig().neighbours_wanted + 2)
        here.swarm.candidates.add([ROOT], is_root=True)
        here.go_on(1)
        times.append(next(n for n in range(60) if called_within(here, 1)))
    assert len(set(times)) > 2
