"""Whom a node feeds: who is taken, who takes whose place, who is let go, and what they are told."""

from __future__ import annotations

from itertools import pairwise

from livestream.config import Transport
from livestream.live.children import (
    CATCH_UP_MAX,
    HEAD_NOTICE_US,
    HEAD_UNANSWERED_US,
    NOTICE_US,
    OVERLOAD_INTERVAL_US,
    UNANSWERED_US,
)
from livestream.live.feeders import RETRY_US
from livestream.live.neighbours import FEW
from livestream.live.places import HEARD_US, STAY_US, TRIAL_US, USELESS_US
from livestream.machine import SECOND
from livestream.swarm.peer import Peer
from livestream.swarm.uploads import PUSH_WAIT_US_MAX
from livestream.wire.live import (
    LAG_UNKNOWN_MS,
    Feed,
    Goodbye,
    Refuse,
    Rooms,
    Status,
    Subscribe,
    Unsubscribe,
)
from tests.live.neighbourhood import RATE_BPS, SUBSTREAMS, UNFED, Line, Neighbourhood, fed

SOURCE = b"srce"
HOME = 3
TWO_SLOTS_X = 0.3  # Times the rate: the upload of somebody who can feed two.


def weighing(weight: int, *, children: int = 0, home: int = HOME) -> Status:
    """Return the status of somebody who can feed so many in a substream, and feeds some of them."""
    return Status(False, home, weight - children, children, fed(100))


def on_air() -> Neighbourhood:
    """Return the publisher's neighbourhood."""
    return Neighbourhood(is_source=True)


def feeding(
    *, upload_x: float = 3.0, transport: Transport = Transport.QUIC
) -> tuple[Neighbourhood, Peer]:
    """Return a viewer that is fed in its home, and may feed others there; and who feeds it."""
    here = Neighbourhood(upload_bps=int(upload_x * RATE_BPS))
    feeder = here.join(90, transport=transport)
    be_fed(here, feeder, HOME)
    for index in range(HOME, 40 * SUBSTREAMS, SUBSTREAMS):
        here.give(feeder, index)
        here.go_on(0.05)
    for child in here.channel.choker.children(HOME):
        here.tell(child, Unsubscribe(HOME))
    here.channel.choker.home = HOME
    here.heard(feeder)
    return here, feeder


def be_fed(here: Neighbourhood, feeder: Peer, number: int) -> None:
    """Have this neighbour feed a viewer in a substream, as soon as it is asked to."""
    here.tell(feeder, Status(False, number, 5, 0, fed(50, only=number)))
    here.go_on(2 * RETRY_US / SECOND)
    assert Subscribe in [type(message) for message in here.heard(feeder)]
    here.tell(feeder, Feed(number, 50, (SOURCE, feeder.node_id)))


def refused(here: Neighbourhood, peer: Peer) -> list[Refuse]:
    return [message for message in here.heard(peer) if isinstance(message, Refuse)]


def heads(here: Neighbourhood, *weights: int, children: int = 1) -> list[Peer]:
    """Let neighbours of these weights come, and subscribe to one substream of the publisher."""
    peers = [here.join(number + 1) for number in range(len(weights))]
    for peer, weight in zip(peers, weights, strict=True):
        here.tell(peer, weighing(weight, children=children))
        here.tell(peer, Subscribe(HOME, 0))
    for peer in peers:
        here.heard(peer)
    return peers


# Who is taken


def test_whoever_is_fed_is_told_the_path_and_gets_what_it_missed() -> None:
    here = on_air()
    for _ in range(30):
        here.publish()
    peer = here.join(1)
    here.heard(peer)
    here.tell(peer, Subscribe(HOME, 12))
    assert here.heard(peer) == [Feed(HOME, 0, (here.swarm.node_id,), first=12)]
    here.send()
    assert here.pushed() == [(peer, 19), (peer, 27)]
    for _ in range(10):
        here.publish()
    here.send()
    assert here.pushed() == [(peer, 35)]


def test_a_head_does_not_say_where_the_publisher_is() -> None:
    here, feeder = feeding()
    child = here.join(1)
    here.heard(child)
    here.tell(child, Subscribe(HOME, 0))
    assert [each.above for each in here.heard(child) if isinstance(each, Feed)] == [feeder.address]
    here.tell(feeder, Status(True, 0xFF, 5, 0, fed(0)))
    other = here.join(2)
    here.heard(other)
    here.tell(other, Subscribe(HOME, 0))
    assert [each.above for each in here.heard(other) if isinstance(each, Feed)] == [None]


def test_a_new_child_is_sent_the_newest_of_what_it_missed_and_asks_for_the_rest() -> None:
    """Many who come together would fill the line with what others can give them."""
    here = on_air()
    for _ in range(8 * SUBSTREAMS):
        here.publish()
    peer = here.join(1)
    here.tell(peer, Subscribe(HOME, 0))
    here.send()
    newest = 8 * SUBSTREAMS - 1
    span = range(newest - CATCH_UP_MAX, newest + 1)
    assert here.pushed() == [(peer, index) for index in span if index % SUBSTREAMS == HOME]


def test_a_substream_that_does_not_exist_is_refused() -> None:
    here = on_air()
    peer = here.join(1)
    here.heard(peer)
    here.tell(peer, Subscribe(200, 0))
    here.tell(peer, Unsubscribe(200))
    assert here.heard(peer) == [Refuse(200)]


def test_who_is_refused_hears_of_those_who_are_fed_and_have_room() -> None:
    here = on_air()
    first, second = heads(here, 4, 4)
    third = here.join(3)
    here.tell(first, Status(False, HOME, 0, 4, fed(100)))
    here.heard(third)
    here.tell(third, Subscribe(HOME, 0))
    assert refused(here, third) == [Refuse(HOME, (second.address, first.address))]
    assert here.channel.choker.children(HOME) == [first, second]


def test_nobody_is_sent_to_where_nobody_listens() -> None:
    """Whoever called us over TCP said where from, and that is no address to call."""
    here = on_air()
    hidden = here.join(1, transport=Transport.TCP)
    seen = here.join(2)
    for peer in (hidden, seen):
        here.tell(peer, weighing(5, children=1))
        here.tell(peer, Subscribe(HOME, 0))
    third = here.join(3)
    here.heard(third)
    here.tell(third, Subscribe(HOME, 0))
    assert refused(here, third) == [Refuse(HOME, (seen.address,))]


def test_a_displaced_child_is_not_sent_to_where_nobody_listens() -> None:
    here = on_air()
    lesser, least = heads(here, 9, 4)
    large = here.join(3, transport=Transport.TCP)
    here.tell(large, weighing(20))
    here.go_on(STAY_US / SECOND)
    here.tell(large, Subscribe(HOME, 0))
    (answer,) = refused(here, least)
    assert answer.alternatives == (lesser.address,)


def test_who_is_not_fed_feeds_nobody() -> None:
    here, feeder = feeding()
    peer = here.join(1)
    here.heard(peer)
    here.tell(peer, Subscribe(HOME + 1, 0))
    here.tell(peer, Subscribe(HOME, 0))
    told = here.heard(peer)
    assert isinstance(told[0], Refuse)
    path = (SOURCE, feeder.node_id, here.swarm.node_id)
    assert told[1] == Feed(HOME, 50, path, feeder.address)


def test_who_feeds_us_is_not_fed_by_us() -> None:
    here, feeder = feeding()
    here.tell(feeder, Subscribe(HOME, 0))
    (answer,) = here.heard(feeder)
    assert isinstance(answer, Refuse)
    assert here.channel.choker.used_slots == 0


# Who takes whose place


def test_who_can_feed_more_than_twice_as_many_takes_the_place_of_the_least() -> None:
    here = on_air()
    lesser, least = heads(here, 9, 4)
    large = here.join(3)
    here.tell(large, weighing(20))
    here.go_on(STAY_US / SECOND)
    here.tell(large, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == [lesser, large]
    (answer,) = refused(here, least)
    assert answer.alternatives[0] == large.address, "it can feed whom it displaced"
    assert refused(here, lesser) == []


def test_nobodys_place_is_taken_within_two_seconds() -> None:
    """Each change leaves a gap: in a crowd the first heads changed several times a second."""
    here = on_air()
    before = heads(here, 9, 4)
    large = here.join(3)
    here.tell(large, weighing(40))
    here.go_on((STAY_US - SECOND // 10) / SECOND)
    here.tell(large, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == before
    assert refused(here, large)[0].notice_ms == 0
    here.go_on(0.1)
    here.tell(large, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == [before[0], large]


def displaced() -> tuple[Neighbourhood, Peer]:
    """Return the publisher, and a head whose place somebody has just taken."""
    here = on_air()
    _, least = heads(here, 9, 4)
    large = here.join(3)
    here.tell(large, weighing(20))
    here.go_on(STAY_US / SECOND)
    here.heard(least)
    here.tell(large, Subscribe(HOME, 0))
    (answer,) = refused(here, least)
    assert answer.notice_ms * 1_000 == HEAD_NOTICE_US
    return here, least


def is_pushed_to(here: Neighbourhood, peer: Peer) -> bool:
    """Publish a piece of each substream; whether this neighbour gets one of them."""
    here.pushed()
    for _ in range(SUBSTREAMS):
        here.publish()
    here.send()
    given = [index for each, index in here.pushed() if each is peer]
    assert {index % SUBSTREAMS for index in given} <= {HOME}
    return bool(given)


def test_the_displaced_is_fed_until_its_notice_is_over() -> None:
    here, least = displaced()
    here.go_on(HEAD_NOTICE_US / SECOND - 0.1)
    assert is_pushed_to(here, least)
    here.go_on(0.1)
    assert not is_pushed_to(here, least)


def test_the_displaced_is_fed_no_more_once_it_has_found_another() -> None:
    here, least = displaced()
    assert is_pushed_to(here, least)
    here.tell(least, Unsubscribe(HOME))
    assert not is_pushed_to(here, least)


def test_who_can_feed_only_some_more_does_not() -> None:
    """Else two of a kind would take each other's place for ever."""
    here = on_air()
    before = heads(here, 10, 10)
    other = here.join(3)
    here.tell(other, weighing(20))
    here.tell(other, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == before
    assert len(refused(here, other)) == 1


def test_what_one_can_feed_elsewhere_does_not_count() -> None:
    here = on_air()
    before = heads(here, 4, 4)
    other = here.join(3)
    here.tell(other, weighing(40, home=HOME + 1))
    here.tell(other, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == before


def test_at_home_a_viewer_lets_those_go_whom_it_feeds_elsewhere() -> None:
    here, feeder = feeding(upload_x=TWO_SLOTS_X)
    stranger, other, wanted = here.join(1), here.join(2), here.join(3)
    for peer in (stranger, other):
        here.tell(peer, weighing(9))
        here.tell(peer, Subscribe(HOME, 0))
    assert here.channel.choker.spare_slots == 0
    tree = HOME + 1
    be_fed(here, feeder, tree)
    here.channel.choker.home = tree
    here.heard(stranger)
    here.tell(wanted, weighing(1, home=tree))
    here.tell(wanted, Subscribe(tree, 0))
    assert here.channel.choker.children(tree) == [wanted]
    assert len(refused(here, stranger)) == 1


# Heads that feed nobody


def test_a_head_that_found_no_children_in_time_gives_way_to_anybody() -> None:
    here = on_air()
    busy, idle = heads(here, 9, 9)
    here.tell(idle, weighing(9, children=0))
    other = here.join(3)
    here.tell(other, weighing(1))
    here.go_on((TRIAL_US - SECOND // 10) / SECOND)
    here.tell(other, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == [busy, idle]
    here.go_on(0.2)
    here.tell(other, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == [busy, other]


def after_a_trial(newcomer: Status) -> tuple[Neighbourhood, Peer, Peer, Peer]:
    """Return a publisher whose second head says that it could feed 40, and found none in time.

    Then somebody asked for a place. Returns the busy head, the idle one, and the newcomer, too.
    """
    here = on_air()
    busy, idle = heads(here, 9, 9)
    here.tell(idle, weighing(40, children=0))
    other = here.join(3)
    here.tell(other, newcomer)
    here.go_on(TRIAL_US / SECOND + 0.1)
    here.tell(other, Subscribe(HOME, 0))
    return here, busy, idle, other


def test_a_head_that_gave_way_is_remembered_for_a_minute() -> None:
    here, busy, idle, other = after_a_trial(weighing(1, children=1))
    here.tell(idle, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == [busy, other], "it says that it could feed 40"
    here.go_on(USELESS_US / SECOND)
    here.tell(idle, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == [busy, idle]


def test_who_gave_way_to_somebody_from_elsewhere_does_not_come_back_at_once() -> None:
    here, busy, idle, other = after_a_trial(weighing(1, home=HOME + 1))
    assert here.channel.choker.children(HOME) == [busy, other]
    here.tell(idle, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == [busy, other]


def test_a_head_that_feeds_nobody_does_not_give_way_to_who_can_feed_nobody_either() -> None:
    here, busy, idle, _ = after_a_trial(weighing(0))
    assert here.channel.choker.children(HOME) == [busy, idle]


def orphaned(
    weight: int, *, home: int, is_fed: bool = False, stays_s: float = 2.1, others: int = 0
) -> list[int]:
    """Return the heads of a substream after an orphan asked for a place: 3; 1 and 2 were there.

    The orphan is at home elsewhere and can feed so many, 1 is at home where a test says.
    """
    here = on_air()
    for number in range(others):
        here.tell(here.join(100 + number), weighing(1, home=HOME + 1))
    astray, busy = heads(here, 9, 9)
    here.tell(astray, weighing(9, children=9, home=home))
    orphan = here.join(3)
    here.tell(orphan, weighing(weight, home=HOME + 1))
    here.go_on(stays_s)
    here.heard(astray)
    here.tell(orphan, Subscribe(HOME, 0, is_fed))
    is_told = bool(refused(here, astray))
    named = {astray: 1, busy: 2, orphan: 3}
    order = sorted(here.channel.choker.children(HOME), key=lambda peer: named[peer])
    assert is_told == (astray not in order)
    return [named[peer] for peer in order]


def test_a_head_that_is_at_home_elsewhere_gives_way_to_an_orphan_with_room() -> None:
    """Those who are at home there may all have failed."""
    assert orphaned(1, home=HOME + 2) == [2, 3]
    assert orphaned(1, home=HOME) == [1, 2], "it feeds others"
    assert orphaned(0, home=HOME + 2) == [1, 2], "who asks can feed nobody"
    assert orphaned(1, home=HOME + 2, is_fed=True) == [1, 2], "who asks has a feeder"
    assert orphaned(1, home=HOME + 2, stays_s=1.9) == [1, 2], "it is new"
    assert orphaned(1, home=HOME + 2, others=FEW - 4) == [2, 3]
    assert orphaned(1, home=HOME + 2, others=FEW - 3) == [1, 2], "others are at home there"


def test_a_head_that_says_nothing_gives_way_before_it_is_known_to_be_gone() -> None:
    here = on_air()
    alive, dead = heads(here, 9, 9)
    other = here.join(3)
    here.tell(other, weighing(1, home=HOME + 1))
    here.mute(dead)
    here.go_on((HEARD_US - SECOND // 10) / SECOND)
    here.tell(other, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == [alive, dead]
    here.go_on(0.2)
    here.tell(other, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == [alive, other]
    assert dead in here.swarm.ready


def test_the_publisher_tells_how_many_heads_it_would_replace() -> None:
    """Else nobody who can be of use would ask while all places are taken."""
    here = on_air()
    first, _ = heads(here, 9, 9)
    here.tell(first, weighing(9, children=0))
    assert here.channel.children.places.count_replaceable(here.now) == 0
    here.go_on(TRIAL_US / SECOND + 0.1)
    assert here.channel.children.places.count_replaceable(here.now) == 1


def wanted(here: Neighbourhood, peer: Peer) -> list[int]:
    """Return in which substreams the publisher wants heads, by what it says next."""
    here.heard(peer)
    here.go_on(1)
    *_, told = [message for message in here.heard(peer) if isinstance(message, Status)]
    assert told.is_source
    assert set(told.lags_ms) <= {0, 1}
    return [number for number, is_crowded in enumerate(told.lags_ms) if not is_crowded]


def test_the_publisher_tells_where_it_wants_heads() -> None:
    """Else those who could be some do not know in which substream they are needed."""
    here = on_air()
    first, second = heads(here, 9, 9)
    others = [number for number in range(SUBSTREAMS) if number != HOME]
    assert wanted(here, first) == others
    here.tell(second, Unsubscribe(HOME))
    assert HOME in wanted(here, first)


def test_the_publisher_wants_a_head_where_one_feeds_nobody() -> None:
    here = on_air()
    first, second = heads(here, 9, 9)
    assert HOME not in wanted(here, first)
    here.tell(second, weighing(9, children=0))
    here.go_on(TRIAL_US / SECOND)
    assert HOME in wanted(here, first)


def test_a_viewer_keeps_children_that_feed_nobody() -> None:
    here, _ = feeding(upload_x=TWO_SLOTS_X)
    leaf, second, other = here.join(1), here.join(2), here.join(3)
    for peer in (leaf, second, other):
        here.tell(peer, weighing(0))
    for peer in (leaf, second):
        here.tell(peer, Subscribe(HOME, 0))
    here.go_on(TRIAL_US / SECOND + 0.1)
    here.tell(other, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == [leaf, second]


def full_of_takers() -> tuple[Neighbourhood, Peer, list[Peer]]:
    """Return a viewer without room, who feeds it, and its two children, who feed nobody."""
    here, feeder = feeding(upload_x=TWO_SLOTS_X)
    takers = [here.join(1), here.join(2)]
    for peer in takers:
        here.tell(peer, weighing(0))
        here.tell(peer, Subscribe(HOME, 0))
    return here, feeder, takers


def stay(here: Neighbourhood, feeder: Peer) -> None:
    """Let those stay whom we feed until somebody may take their place."""
    step_s = 0.25
    for number in range(int(STAY_US / SECOND / step_s)):
        one_more(here, feeder, number)
        here.go_on(step_s)


def test_who_feeds_others_elsewhere_takes_the_place_of_who_feeds_nobody() -> None:
    here, feeder, takers = full_of_takers()
    giver = here.join(3)
    here.tell(giver, weighing(5, children=1, home=HOME + 1))
    here.tell(giver, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == takers, "not at once: each change leaves a gap"
    stay(here, feeder)
    for peer in takers:
        here.heard(peer)
    here.tell(giver, Subscribe(HOME, 0))
    first, second = here.channel.choker.children(HOME)
    assert first in takers
    assert second is giver
    (displaced,) = (peer for peer in takers if peer is not first)
    assert refused(here, displaced)[0].notice_ms * 1_000 == NOTICE_US


def test_nobody_takes_the_place_of_who_feeds_others_elsewhere() -> None:
    here, feeder, givers = full_of_takers()
    for peer in givers:
        here.tell(peer, weighing(5, children=1, home=HOME + 1))
    other = here.join(3)
    here.tell(other, weighing(9, children=9, home=HOME + 1))
    stay(here, feeder)
    here.heard(other)
    here.tell(other, Subscribe(HOME, 0))
    assert here.channel.choker.children(HOME) == givers
    assert refused(here, other)


# What children are told


def test_when_its_path_changes_a_node_tells_its_children_and_lets_go_who_is_on_it() -> None:
    here, feeder = feeding()
    child, grandparent = here.join(1), here.join(2)
    for peer in (child, grandparent):
        here.tell(peer, Subscribe(HOME, 0))
        here.heard(peer)
    here.tell(feeder, Feed(HOME, 50, (SOURCE, grandparent.node_id, feeder.node_id)))
    path = (SOURCE, grandparent.node_id, feeder.node_id, here.swarm.node_id)
    (told,) = here.heard(child)
    assert isinstance(told, Feed)
    assert told.path == path
    assert len(refused(here, grandparent)) == 1
    assert here.channel.choker.children(HOME) == [child]


def test_a_node_that_lost_its_feeder_keeps_its_children_and_gives_them_what_it_fetches() -> None:
    here, feeder = feeding()
    child, neighbour = here.join(1), here.join(2)
    here.tell(child, Subscribe(HOME, 40 * SUBSTREAMS))
    here.send()
    here.heard(child)
    here.pushed()
    here.leave(feeder)
    assert refused(here, child) == []
    assert here.channel.choker.children(HOME) == [child]
    index = 40 * SUBSTREAMS + HOME
    here.give(neighbour, index)
    here.send()
    assert here.pushed() == [(child, index)]


# Who takes over from another


def test_who_is_fed_by_somebody_else_begins_with_our_next_piece() -> None:
    here, _ = feeding()
    child = here.join(1)
    here.heard(child)
    here.tell(child, Subscribe(HOME, 0, is_fed=True))
    (told,) = [message for message in here.heard(child) if isinstance(message, Feed)]
    assert told.first == 39 * SUBSTREAMS + HOME + 1
    here.send()
    assert here.pushed() == [], "it gets those from whoever feeds it"


def test_who_is_ahead_of_us_begins_where_it_is() -> None:
    here, _ = feeding()
    child = here.join(1)
    here.heard(child)
    here.tell(child, Subscribe(HOME, 60 * SUBSTREAMS, is_fed=True))
    (told,) = [message for message in here.heard(child) if isinstance(message, Feed)]
    assert told.first == 60 * SUBSTREAMS


def one_more(here: Neighbourhood, feeder: Peer, number: int) -> int:
    """Get the piece of our home that comes so many after those that we hold."""
    index = (40 + number) * SUBSTREAMS + HOME
    here.give(feeder, index)
    here.send()
    return index


def test_who_was_taken_over_is_fed_up_to_where_the_other_begins() -> None:
    here, feeder = feeding()
    child = here.join(1)
    here.tell(child, Subscribe(HOME, 40 * SUBSTREAMS))
    here.tell(child, Unsubscribe(HOME, 42 * SUBSTREAMS))
    assert here.channel.choker.children(HOME) == [], "its slot is free"
    brought = [one_more(here, feeder, number) for number in range(3)]
    assert here.pushed() == [(child, brought[0]), (child, brought[1])]


def test_who_was_taken_over_is_not_fed_for_ever() -> None:
    here, feeder = feeding()
    child = here.join(1)
    here.tell(child, Subscribe(HOME, 40 * SUBSTREAMS))
    here.tell(child, Unsubscribe(HOME, 99 * SUBSTREAMS))
    here.go_on(NOTICE_US / SECOND)
    one_more(here, feeder, 0)
    assert here.pushed() == []


def test_who_was_no_child_is_not_fed_by_leaving() -> None:
    here, feeder = feeding()
    stranger = here.join(1)
    here.tell(stranger, Unsubscribe(HOME, 99 * SUBSTREAMS))
    here.tell(stranger, Unsubscribe(200, 99 * SUBSTREAMS))
    one_more(here, feeder, 0)
    assert here.pushed() == []


def test_what_is_queued_for_a_child_that_leaves_is_not_sent() -> None:
    here, feeder = feeding()
    child = here.join(1)
    here.tell(child, Subscribe(HOME, 40 * SUBSTREAMS))
    stuck(here, child)
    index = one_more(here, feeder, 0)
    assert here.swarm.uploads.length(child) == 1
    here.tell(child, Unsubscribe(HOME, index))
    assert here.swarm.uploads.length(child) == 0


# Who had better be a head


def heir_of(weight: int) -> tuple[Neighbourhood, Peer]:
    """Return a viewer with a child of this weight, and that child."""
    here, _ = feeding(upload_x=1.0)
    child = here.join(1)
    here.tell(child, weighing(weight))
    here.tell(child, Subscribe(HOME, 40 * SUBSTREAMS))
    return here, child


def test_a_child_that_can_feed_others_is_our_heir() -> None:
    here, child = heir_of(1)
    assert here.channel.children.places.name_heir(HOME) is child
    here, _ = heir_of(0)
    assert here.channel.children.places.name_heir(HOME) is None


def test_the_heir_is_another_once_that_can_feed_more_than_twice_as_many() -> None:
    here, child = heir_of(4)
    other = here.join(2)
    here.tell(other, weighing(8))
    here.tell(other, Subscribe(HOME, 40 * SUBSTREAMS))
    assert here.channel.children.places.name_heir(HOME) is other
    here.tell(child, weighing(16))
    assert here.channel.children.places.name_heir(HOME) is other, (
        "or two of a kind would take turns"
    )
    here.tell(child, weighing(17))
    assert here.channel.children.places.name_heir(HOME) is child
    here.tell(child, Unsubscribe(HOME))
    assert here.channel.children.places.name_heir(HOME) is other


def test_children_of_a_head_hear_who_its_heir_is() -> None:
    here, publisher = feeding()
    here.tell(publisher, Status(True, 0xFF, 5, 0, fed(0)))
    heir, leaf = here.join(1), here.join(2)
    for peer, weight in ((heir, 9), (leaf, 0)):
        here.tell(peer, weighing(weight))
        here.tell(peer, Subscribe(HOME, 40 * SUBSTREAMS))
        here.heard(peer)
    assert here.channel.children.name_heirs(publisher) == [(HOME, heir)]
    told = [message for message in here.heard(leaf) if isinstance(message, Feed)]
    assert [feed.above for feed in told] == [heir.address]
    told = [message for message in here.heard(heir) if isinstance(message, Feed)]
    assert [feed.above for feed in told] == [None]


def test_a_head_elsewhere_than_at_home_names_an_heir_who_is_at_home_there() -> None:
    """It weighs nothing there: the publisher is to hear of somebody better."""
    here, feeder = feeding()
    be_fed(here, publisher := here.join(91), HOME + 1)
    for source in (feeder, publisher):
        here.tell(source, Status(True, 0xFF, 5, 0, fed(0)))
    here.channel.choker.open()
    heir, passer_by = here.join(1), here.join(2)
    for peer, home in ((heir, HOME + 1), (passer_by, HOME)):
        here.tell(peer, weighing(4, home=home))
        here.tell(peer, Subscribe(HOME + 1, 40 * SUBSTREAMS))
    here.heard(publisher)
    here.go_on(1.1)
    told = [each.rooms for each in here.heard(publisher) if isinstance(each, Rooms)]
    assert told == [((HOME + 1, heir.address),)]


def test_who_leaves_tells_its_children_who_fed_it() -> None:
    here, feeder = feeding()
    child, stranger = here.join(1), here.join(2)
    here.tell(child, Subscribe(HOME, 0))
    for peer in (child, stranger):
        here.heard(peer)
    here.channel.say_goodbye()
    assert here.heard(child) == [Goodbye(feeder.address)]
    assert here.heard(stranger) == []


def test_who_leaves_does_not_name_a_feeder_that_nobody_can_call() -> None:
    here, _ = feeding(transport=Transport.TCP)
    child = here.join(1)
    here.tell(child, Subscribe(HOME, 0))
    here.heard(child)
    here.channel.say_goodbye()
    assert here.heard(child) == [Goodbye(None)]


def test_a_connection_is_promised_the_share_of_the_rate_that_it_carries() -> None:
    here = on_air()
    peer = here.join(1)
    for number in (0, 1, 2):
        here.tell(peer, Subscribe(number, 0))
    assert isinstance(peer.connection, Line)
    assert peer.connection.reserved_bps == RATE_BPS * 3 // SUBSTREAMS
    here.tell(peer, Unsubscribe(1))
    here.go_on(1)
    assert peer.connection.reserved_bps == RATE_BPS * 2 // SUBSTREAMS


# Pushing


def test_whoever_feeds_most_gets_a_piece_first_and_nobody_gets_back_its_own() -> None:
    here, feeder = feeding()
    leaf, middle, large, giver = (here.join(number) for number in (1, 2, 3, 4))
    here.tell(leaf, weighing(0))
    here.tell(middle, weighing(2))
    here.tell(large, weighing(9))
    here.tell(giver, weighing(5, children=5, home=HOME + 1))
    for peer in (leaf, middle, large, giver):
        here.tell(peer, Subscribe(HOME, 40 * SUBSTREAMS))
    here.send()
    here.pushed()
    first, second = (40 * SUBSTREAMS + HOME + SUBSTREAMS * number for number in range(2))
    here.give(feeder, first)
    here.give(middle, second)
    here.send()
    assert here.pushed() == [
        (large, first),
        (middle, first),
        (giver, first),
        (leaf, first),
        (large, second),
        (giver, second),
        (leaf, second),
    ]


def test_who_acknowledges_nothing_is_let_go_and_the_publisher_wants_heads_at_once() -> None:
    here = on_air()
    gone, other = heads(here, 5, 5)
    assert isinstance(gone.connection, Line)
    gone.connection.silent_since = here.now
    here.go_on(HEAD_UNANSWERED_US / SECOND)
    assert here.channel.choker.children(HOME) == [gone, other]
    here.heard(other)
    here.go_on(0.01)
    here.tell(other, weighing(5, children=1))
    here.go_on(0.1)
    assert here.channel.choker.children(HOME) == [other]
    *_, told = [message for message in here.heard(other) if isinstance(message, Status)]
    assert told.lags_ms[HOME] == 0, "a head is wanted"


def test_when_its_own_line_is_gone_for_a_while_the_publisher_keeps_its_heads() -> None:
    here = on_air()
    peers = heads(here, 5, 5)
    for peer in peers:
        assert isinstance(peer.connection, Line)
        peer.connection.silent_since = here.now
        here.mute(peer)
    here.go_on(3 * HEAD_UNANSWERED_US / SECOND)
    assert here.channel.choker.children(HOME) == peers


def test_a_child_whose_line_has_a_hiccup_is_not_let_go_by_all_its_feeders() -> None:
    here, _ = feeding()
    child = here.join(1)
    here.tell(child, weighing(2))
    here.tell(child, Subscribe(HOME, 0))
    assert isinstance(child.connection, Line)
    child.connection.silent_since = here.now
    here.go_on(UNANSWERED_US / SECOND)
    assert here.channel.choker.is_child(child, HOME)
    here.go_on(1)
    assert not here.channel.choker.is_child(child, HOME)
    here.tell(child, Subscribe(HOME, 0))
    assert refused(here, child), "until it answers"


def test_neighbours_hear_at_once_that_there_is_room_again_but_not_each_time() -> None:
    here, feeder = feeding()
    watcher = here.join(7)
    here.go_on(0.1)
    told = 0
    for _ in range(20):
        here.heard(watcher)
        here.tell(feeder, Feed(HOME, LAG_UNKNOWN_MS, (feeder.node_id,)))
        here.tell(feeder, Feed(HOME, 50, (SOURCE, feeder.node_id)))
        told += sum(isinstance(message, Status) for message in here.heard(watcher))
        here.go_on(0.1)
    assert 2 <= told <= 5, "each 0.5 s in two seconds"


def test_neighbours_hear_at_once_that_nothing_reaches_us_at_home() -> None:
    """Orphans would ask us in vain until they hear of it."""
    here, feeder = feeding()
    watcher = here.join(7)
    for feed, is_fed in (
        (Feed(HOME, LAG_UNKNOWN_MS, (feeder.node_id,)), False),
        (Feed(HOME, 50, (SOURCE, feeder.node_id)), True),
    ):
        here.heard(watcher)
        here.tell(feeder, feed)
        (status,) = (each for each in here.heard(watcher) if isinstance(each, Status))
        assert (status.lags_ms[HOME] != LAG_UNKNOWN_MS) is is_fed


def test_children_hear_when_nothing_reaches_their_feeder_and_when_it_does_again() -> None:
    here, feeder = feeding()
    child = here.join(1)
    here.tell(child, weighing(2))
    here.tell(child, Subscribe(HOME, 0))
    here.heard(child)
    here.tell(feeder, Feed(HOME, LAG_UNKNOWN_MS, (feeder.node_id,)))
    feeds = [message for message in here.heard(child) if isinstance(message, Feed)]
    assert [each.lag_ms for each in feeds] == [LAG_UNKNOWN_MS]
    newcomer = here.join(2)
    here.tell(newcomer, Subscribe(HOME, 0))
    assert refused(here, newcomer)
    here.tell(feeder, Feed(HOME, 50, (SOURCE, feeder.node_id)))
    feeds = [message for message in here.heard(child) if isinstance(message, Feed)]
    assert [each.path[0] for each in feeds] == [SOURCE]
    assert here.channel.choker.is_child(child, HOME)


def stuck(here: Neighbourhood, *peers: Peer) -> None:
    """Have connections take nothing more."""
    for peer in peers:
        assert isinstance(peer.connection, Line)
        peer.connection.is_stuck = True


def push_until_it_waits(here: Neighbourhood, feeder: Peer, start: int) -> int:
    """Have pieces come until those that cannot be passed on have waited too long."""
    index = start
    for _ in range(PUSH_WAIT_US_MAX // (SECOND // 20) + 3):
        here.give(feeder, index)
        here.go_on(0.05)
        index += SUBSTREAMS
    return index


def test_one_child_that_is_too_slow_is_let_go_and_the_slots_stay() -> None:
    here, feeder = feeding()
    slots = here.channel.choker.slots
    peers = [here.join(number) for number in range(1, 5)]
    for peer in peers:
        here.tell(peer, Subscribe(HOME, 40 * SUBSTREAMS))
        here.heard(peer)
    stuck(here, peers[1])
    push_until_it_waits(here, feeder, 40 * SUBSTREAMS + HOME)
    assert here.channel.choker.children(HOME) == [peers[0], *peers[2:]]
    assert len(refused(here, peers[1])) == 1
    assert here.channel.choker.slots == slots


def overloaded(here: Neighbourhood, feeder: Peer, *weights: int) -> tuple[list[Peer], int]:
    """Let children of these weights come, none of whom takes any piece, so that one has to go.

    Returns them, and the next piece.
    """
    peers = [here.join(number + 1) for number in range(len(weights))]
    for peer, weight in zip(peers, weights, strict=True):
        here.tell(peer, weighing(weight))
        here.tell(peer, Subscribe(HOME, 40 * SUBSTREAMS))
        here.heard(peer)
    stuck(here, *peers)
    return peers, push_until_it_waits(here, feeder, 40 * SUBSTREAMS + HOME)


def test_when_many_wait_those_who_feed_fewest_go_first_and_twice_as_many_each_time() -> None:
    here, feeder = feeding()
    peers, index = overloaded(here, feeder, 7, 3, 9, 1, 5)
    choker = here.channel.choker
    assert choker.children(HOME) == [peers[0], peers[1], peers[2], peers[4]]
    assert choker.slots < len(peers)
    here.go_on(OVERLOAD_INTERVAL_US / SECOND)
    here.give(feeder, index)
    assert choker.children(HOME) == [peers[0], peers[2]]
    here.go_on(OVERLOAD_INTERVAL_US / SECOND)
    here.give(feeder, index + SUBSTREAMS)
    assert choker.children(HOME) == []


def test_the_publisher_lets_one_head_go_at_a_time_however_often_too_many_wait() -> None:
    here = on_air()
    peers = [here.join(number + 1) for number in range(SUBSTREAMS)]
    for number, peer in enumerate(peers):
        here.tell(peer, weighing(1, children=1, home=number))
        here.tell(peer, Subscribe(number, 0))
        here.heard(peer)
    stuck(here, *peers)
    choker, left = here.channel.choker, [len(peers)]
    while here.now < 4 * OVERLOAD_INTERVAL_US + 2 * PUSH_WAIT_US_MAX:
        here.publish()
        here.go_on(0.02)
        left.append(sum(len(choker.children(number)) for number in range(SUBSTREAMS)))
    assert left[-1] <= len(peers) - 3
    assert {before - after for before, after in pairwise(left)} == {0, 1}


def test_an_overload_some_time_after_another_begins_with_one_again() -> None:
    here, feeder = feeding()
    peers, index = overloaded(here, feeder, 7, 3, 9, 1, 5)
    here.go_on(2 * OVERLOAD_INTERVAL_US / SECOND)
    here.give(feeder, index)
    assert here.channel.choker.children(HOME) == [peers[0], peers[2], peers[4]]


def test_who_is_let_go_is_sent_nothing_of_what_waits() -> None:
    """The line is wanted for those that stay; what is missed will be asked for elsewhere."""
    here, feeder = feeding()
    peers, _ = overloaded(here, feeder, 7, 3, 9, 1, 5)
    assert [here.swarm.uploads.length(peer) > 0 for peer in peers] == [
        True,
        True,
        True,
        False,
        True,
    ]


def test_the_publisher_says_at_once_when_it_lost_a_head() -> None:
    """Without heads nobody gets anything: those who wait must not wait for its next word."""
    here = on_air()
    head, other = here.join(1), here.join(2)
    here.tell(head, Status(False, HOME, 2, 2, fed(100)))
    here.tell(other, Status(False, HOME, 2, 0, UNFED))
    here.tell(head, Subscribe(HOME, 0))
    here.go_on(1.5)
    here.heard(other)
    here.leave(head)
    here.go_on(0.02)
    assert any(isinstance(message, Status) for message in here.heard(other))
