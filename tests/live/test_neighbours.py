"""What neighbours say of themselves, and what follows from it."""

from __future__ import annotations

from random import Random

from livestream.live.neighbours import ANY_HOME, ROOM_US, ROOMS_MAX, SLOTS_MAX, Neighbours
from livestream.wire.live import LAG_UNKNOWN_MS, Status
from tests.live.neighbourhood import make_peer

ME = make_peer(1)


def viewer(
    home: int = 0, spare: int = 1, children: int = 0, lags_ms: tuple[int, ...] = (100, 100)
) -> Status:
    return Status(False, home, spare, children, lags_ms)


def publisher(spare: int = 1) -> Status:
    return Status(True, ANY_HOME, spare, 0, (0, 0))


def test_who_said_nothing_yet_is_nothing() -> None:
    neighbours = Neighbours()
    assert not neighbours.is_source(ME)
    assert not neighbours.has_room(ME)
    assert neighbours.lag_ms(ME, 0) is None
    assert neighbours.weight(ME, 0) == 0
    neighbours.note_full(ME)
    assert not len(neighbours)


def test_the_newest_word_counts_until_they_leave() -> None:
    neighbours = Neighbours()
    neighbours.note(ME, viewer(spare=3))
    assert neighbours.has_room(ME)
    neighbours.note(ME, viewer(spare=0))
    assert not neighbours.has_room(ME)
    neighbours.drop(ME)
    assert neighbours.lag_ms(ME, 0) is None


def test_who_had_no_room_has_none_until_it_says_otherwise() -> None:
    neighbours = Neighbours()
    neighbours.note(ME, viewer(spare=2))
    neighbours.note_full(ME)
    assert not neighbours.has_room(ME)
    neighbours.note(ME, viewer(spare=1))
    assert neighbours.has_room(ME)


def test_the_publisher_keeps_its_room_for_whoever_it_wants() -> None:
    """It refuses one, and takes another that is of more use."""
    neighbours = Neighbours()
    neighbours.note(ME, publisher())
    neighbours.note_full(ME)
    assert neighbours.has_room(ME)


def test_weight_is_what_one_can_feed_at_home_and_nothing_elsewhere() -> None:
    neighbours = Neighbours()
    neighbours.note(ME, viewer(home=1, spare=3, children=5))
    assert neighbours.weight(ME, 1) == 8
    assert neighbours.weight(ME, 0) == 0


def test_nobody_weighs_more_than_anybody_can_feed() -> None:
    """Else whoever lies most goes to the top."""
    neighbours = Neighbours()
    neighbours.note(ME, viewer(spare=255, children=60_000))
    assert neighbours.weight(ME, 0) == SLOTS_MAX


def test_only_who_is_fed_has_a_lag() -> None:
    neighbours = Neighbours()
    neighbours.note(ME, viewer(lags_ms=(250, LAG_UNKNOWN_MS)))
    assert neighbours.lag_ms(ME, 0) == 250
    assert neighbours.lag_ms(ME, 1) is None
    assert neighbours.lag_ms(ME, 2) is None, "it said nothing of this one"


def test_guides_are_at_home_first_then_have_room_and_are_fed() -> None:
    neighbours = Neighbours()
    full_at_home, at_home, roomy, full, unfed, source, asker = (make_peer(n) for n in range(2, 9))
    neighbours.note(full, viewer(home=1, spare=0))
    neighbours.note(roomy, viewer(home=1, spare=4))
    neighbours.note(full_at_home, viewer(home=0, spare=0))
    neighbours.note(at_home, viewer(home=0, spare=2))
    neighbours.note(unfed, viewer(home=0, lags_ms=(LAG_UNKNOWN_MS, 100)))
    neighbours.note(source, publisher())
    neighbours.note(asker, viewer(home=0))
    among = [full, roomy, full_at_home, at_home, unfed, source, asker]
    assert neighbours.guides(0, among, asker, 9) == [at_home, full_at_home, roomy]
    assert neighbours.guides(0, among, asker, 1) == [at_home]


def test_needy_substreams_have_the_fewest_slots_not_the_fewest_peers() -> None:
    """One of two is taken: many look at the same time, and see much the same."""
    neighbours = Neighbours()
    neighbours.note(make_peer(2), viewer(home=0, spare=1, children=11))
    for number in range(3, 6):
        neighbours.note(make_peer(number), viewer(home=1, spare=1))
    neighbours.note(make_peer(6), viewer(home=2, spare=0, children=5))
    neighbours.note(make_peer(7), viewer(home=ANY_HOME, spare=50))
    assert {neighbours.neediest(3, Random(seed)) for seed in range(20)} == {1, 2}


def test_of_equally_needy_substreams_chance_takes_one() -> None:
    """Else all who come together would take the same."""
    neighbours = Neighbours()
    neighbours.note(make_peer(2), viewer(home=0))
    assert {neighbours.neediest(3, Random(seed)) for seed in range(20)} == {1, 2}


# Strangers


def test_of_strangers_with_room_the_one_of_whom_we_heard_last_comes_first_and_once() -> None:
    neighbours = Neighbours()
    first, second = ME.address, make_peer(2).address
    for at, address in enumerate((first, second, first)):
        neighbours.note_room(4, address, at)
    neighbours.note_room(5, make_peer(3).address, 9)
    assert [neighbours.take_room(4, 9) for _ in range(3)] == [first, second, None]


def test_what_was_said_of_a_stranger_does_not_stay_true_for_long() -> None:
    neighbours = Neighbours()
    neighbours.note_room(4, ME.address, 0)
    neighbours.note_room(4, make_peer(2).address, 1)
    assert neighbours.take_room(4, ROOM_US) == make_peer(2).address
    assert neighbours.take_room(4, ROOM_US) is None


def test_of_too_many_strangers_the_newest_are_remembered() -> None:
    neighbours = Neighbours()
    addresses = [make_peer(number).address for number in range(ROOMS_MAX + 5)]
    for at, address in enumerate(addresses):
        neighbours.note_room(4, address, at)
    found = [neighbours.take_room(4, 99) for _ in range(ROOMS_MAX + 1)]
    assert found == [*reversed(addresses[5:]), None]


def test_where_most_strangers_have_room_comes_first() -> None:
    neighbours = Neighbours()
    for number, home in enumerate((1, 6, 6, 6, 2, 2)):
        neighbours.note_room(home, make_peer(number).address, 0)
    assert neighbours.roomy() == [6, 2, 1]


def test_one_of_each_substream_with_room_is_told_of_and_nobody_who_cannot_feed() -> None:
    neighbours = Neighbours()
    roomy, roomy_too, elsewhere, full, unfed, source, lost = (make_peer(n) for n in range(2, 9))
    neighbours.note(roomy, viewer(home=0, spare=2))
    neighbours.note(roomy_too, viewer(home=0, spare=9))
    neighbours.note(elsewhere, viewer(home=1, spare=1))
    neighbours.note(full, viewer(home=1, spare=0, children=9))
    neighbours.note(unfed, viewer(home=1, spare=3, lags_ms=(100, LAG_UNKNOWN_MS)))
    neighbours.note(source, Status(True, 1, 9, 0, (0, 0)))
    neighbours.note(lost, viewer(home=ANY_HOME, spare=9))
    told = [dict(neighbours.rooms(Random(seed), 4)) for seed in range(20)]
    assert all(rooms.keys() == {0, 1} and rooms[1] is elsewhere for rooms in told)
    assert {rooms[0] for rooms in told} == {roomy, roomy_too}, "not always the same one"
    assert {len(neighbours.rooms(Random(seed), 1)) for seed in range(20)} == {1}


# The publisher's word, and what one can feed


def test_the_publisher_says_in_which_substreams_it_wants_heads() -> None:
    neighbours = Neighbours()
    neighbours.note(ME, Status(True, ANY_HOME, 2, 14, (1, 0)))
    assert not neighbours.wants_head(ME, 0)
    assert neighbours.wants_head(ME, 1)
    assert not neighbours.wants_head(ME, 2), "it has no such substream"
    neighbours.note(ME, Status(True, ANY_HOME, 0, 16, (1, 0)))
    assert not neighbours.wants_head(ME, 1), "it has no slot"


def test_viewers_want_no_heads() -> None:
    neighbours = Neighbours()
    assert not neighbours.wants_head(ME, 0)
    neighbours.note(ME, viewer(spare=5, lags_ms=(0, 0)))
    assert not neighbours.wants_head(ME, 0)


def test_capacity_is_what_one_can_feed_wherever_that_is() -> None:
    neighbours = Neighbours()
    assert neighbours.capacity(ME) == 0
    neighbours.note(ME, viewer(home=ANY_HOME, spare=3, children=5))
    assert neighbours.capacity(ME) == 8
    neighbours.note(ME, viewer(spare=255, children=60_000))
    assert neighbours.capacity(ME) == SLOTS_MAX
