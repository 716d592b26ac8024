"""Candidates: whom to call next, and whom never again."""

from __future__ import annotations

from random import Random

from livestream.machine import SECOND, Address
from livestream.swarm.candidates import (
    CANDIDATES_MAX,
    FAILURES_MAX,
    HOST_CONNECTIONS_MAX,
    SOUGHT_MAX,
    SOUGHT_US,
    Candidates,
)
from livestream.swarm.priority import peer_priority

HERE = Address("127.0.0.1", 1000)


def test_an_address_is_tried_once_at_a_time_and_later_each_time_it_fails() -> None:
    candidates = Candidates(Random(1))
    candidates.add([HERE])
    waits = []
    now = 0
    for _ in range(3):
        assert candidates.next_attempts(5, now) == [HERE]
        assert candidates.next_attempts(5, now) == []
        candidates.on_lost(HERE, now, was_ready=False)
        at = candidates.next_attempt_at()
        assert at is not None
        waits.append(at - now)
        now = at
    assert waits[0] < waits[1] < waits[2]


def test_gossip_is_forgotten_after_failures_but_roots_are_called_again_for_ever() -> None:
    root = Address("127.0.0.1", 2000)
    candidates = Candidates(Random(1))
    candidates.add([HERE])
    candidates.add([root], is_root=True)
    now = 0
    for _ in range(FAILURES_MAX + 5):
        now += 100 * SECOND
        for address in candidates.next_attempts(5, now):
            candidates.on_lost(address, now, was_ready=False)
    assert len(candidates) == 1
    at = candidates.next_attempt_at()
    assert at is not None
    assert at - now <= 7 * SECOND


def test_gossip_cannot_fill_memory() -> None:
    candidates = Candidates(Random(1))
    candidates.add(Address("192.0.2.1", port) for port in range(1, 60_000))
    assert len(candidates) == CANDIDATES_MAX


def test_bans_hold_for_key_and_address_and_after_three_for_the_host() -> None:
    candidates = Candidates(Random(1))
    bad = Address("192.0.2.9", 1)
    candidates.ban(bad, b"key", 0)
    assert candidates.bans(bad, b"other", 1)
    assert candidates.bans(Address("192.0.2.8", 1), b"key", 1)
    assert not candidates.bans(Address("192.0.2.9", 2), b"other", 1)
    candidates.ban(Address("192.0.2.9", 2), b"key2", 0)
    candidates.ban(Address("192.0.2.9", 3), b"key3", 0)
    assert candidates.bans(Address("192.0.2.9", 4), b"new", 1)
    assert not candidates.bans(bad, b"key", 3_601 * SECOND)


def test_whom_both_ends_prefer_is_called_first() -> None:
    ours = Address("123.213.32.10", 6881)
    others = [Address(f"98.{number}.54.32", 6881) for number in range(1, 40)]
    candidates = Candidates(Random(1))
    candidates.add(others[:20])
    candidates.own = ours
    candidates.add(others[20:])
    ranks = [peer_priority(ours, address) or 0 for address in candidates.next_attempts(39, 0)]
    assert ranks == sorted(ranks, reverse=True)
    assert len(ranks) == 39


def test_a_host_is_not_called_at_many_ports_at_once_but_loopback_is() -> None:
    candidates = Candidates(Random(1))
    candidates.add(Address("198.51.100.1", port) for port in range(1, 40))
    candidates.add(Address("127.0.0.1", port) for port in range(1, 40))
    called = candidates.next_attempts(100, 0)
    assert sum(address.host == "198.51.100.1" for address in called) == HOST_CONNECTIONS_MAX
    assert sum(address.host == "127.0.0.1" for address in called) == 39
    assert candidates.next_attempts(100, 0) == []
    gone = next(address for address in called if address.host == "198.51.100.1")
    candidates.on_lost(gone, 0, was_ready=True)
    assert len(candidates.next_attempts(100, 0)) == 1


def test_seeds_are_not_called_while_nothing_is_wanted() -> None:
    candidates = Candidates(Random(1))
    candidates.add([HERE])
    candidates.note_seed(HERE)
    candidates.wants_seeds = False
    assert candidates.next_attempts(5, 0) == []
    candidates.wants_seeds = True
    assert candidates.next_attempts(5, 0) == [HERE]


def test_who_is_said_to_be_a_seed_is_called_only_while_seeds_are_of_use() -> None:
    candidates = Candidates(Random(1))
    known, fresh = Address("192.0.2.1", 6881), Address("192.0.2.2", 6881)
    candidates.add([known])
    candidates.add_seeds([known, fresh])
    candidates.wants_seeds = False
    assert candidates.next_attempts(5, 0) == [known], "hearsay hides nobody who is known"
    candidates.wants_seeds = True
    assert candidates.next_attempts(5, 0) == [fresh]
    candidates.on_connected(fresh)
    candidates.on_lost(fresh, 0, was_ready=True)
    candidates.wants_seeds = False
    assert candidates.next_attempts(5, 100 * SECOND) == [fresh], "it has not said so itself"


# Who is wanted


def test_who_is_sought_is_learnt_and_called_once() -> None:
    candidates = Candidates(Random(1))
    candidates.seek([HERE], 0)
    assert len(candidates) == 1
    assert candidates.take_sought(5, 0) == [HERE]
    assert candidates.take_sought(5, 0) == []
    assert candidates.next_attempts(5, 0) == [], "it is being called"
    candidates.on_lost(HERE, 0, was_ready=False)
    assert candidates.take_sought(5, 0) == []


def test_of_those_who_are_sought_no_more_are_taken_than_there_is_room_for() -> None:
    candidates = Candidates(Random(1))
    sought = [Address("192.0.2.1", port) for port in range(1, 6)]
    candidates.seek(sought, 0)
    assert candidates.take_sought(0, 0) == []
    assert candidates.take_sought(2, 0) == sought[:2]
    assert candidates.take_sought(9, 0) == sought[2:]


def test_gossip_cannot_have_everybody_called() -> None:
    candidates = Candidates(Random(1))
    candidates.seek([Address(f"192.0.2.{n % 250}", 1 + n) for n in range(1_000)], 0)
    assert len(candidates.take_sought(1_000, 0)) == SOUGHT_MAX


def test_after_a_while_somebody_else_has_been_found() -> None:
    candidates = Candidates(Random(1))
    candidates.seek([HERE], 0)
    assert candidates.take_sought(5, SOUGHT_US) == []
    candidates.seek([HERE], SOUGHT_US)
    assert candidates.take_sought(5, 2 * SOUGHT_US - 1) == [HERE]


def test_nobody_is_sought_who_is_here_banned_ourselves_or_nowhere() -> None:
    here, banned, own, nowhere = (Address(f"192.0.2.{n}", 1_000) for n in range(1, 5))
    nowhere = nowhere._replace(port=0)
    candidates = Candidates(Random(1))
    candidates.own = own
    candidates.on_connected(here)
    candidates.ban(banned, b"key", 0)
    candidates.seek([here, banned, own, nowhere], 0)
    assert candidates.take_sought(9, 0) == []


def test_who_came_between_is_not_called_any_more() -> None:
    candidates = Candidates(Random(1))
    candidates.seek([HERE], 0)
    candidates.on_connected(HERE)
    assert candidates.take_sought(5, 0) == []


def test_who_failed_twice_is_sought_only_if_it_is_in_the_link() -> None:
    root = Address("127.0.0.1", 2000)
    candidates = Candidates(Random(1))
    candidates.add([HERE])
    candidates.add([root], is_root=True)
    for failures in range(1, 3):
        for address in (HERE, root):
            candidates.on_lost(address, 0, was_ready=False)
        candidates.seek([HERE, root], 0)
        assert candidates.take_sought(5, 0) == ([HERE, root] if failures == 1 else [root])


def test_those_in_the_link_are_sought_together_and_nobody_else() -> None:
    roots = [Address("192.0.2.1", 1_000), Address("192.0.2.2", 1_000)]
    candidates = Candidates(Random(1))
    candidates.add([HERE])
    candidates.add(roots, is_root=True)
    candidates.seek_roots(0)
    assert candidates.take_sought(5, 0) == roots
