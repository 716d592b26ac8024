"""Tiers: which tracker is asked, and when the next one is."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from livestream.discovery.announce import LIVE, TORRENT, Announcer
from livestream.discovery.tiers import TRACKERS_MAX, Tier, make_tiers
from livestream.discovery.udp_tracker import Progress
from livestream.errors import StateError
from livestream.machine import SECOND
from livestream.wire import bencode

HASH = bytes(20)
ANSWER = bencode.encode({b"interval": 1800, b"peers": b""})


def announcer(url: str, left: list[int] | None = None) -> Announcer:
    counter = left or [1]
    return Announcer(url, HASH, b"%020d" % 1, 5, lambda: Progress(left=counter[0]), pace=TORRENT)


def tier_of(*urls: str, left: list[int] | None = None) -> Tier:
    return Tier([announcer(url, left) for url in urls], Random(4))


def ask(tier: Tier, now: int, working: set[str]) -> list[str]:
    """Ask until nobody is left to ask; returns whom, with the event of each."""
    asked = []
    while (each := tier.next_announcer(now)) is not None:
        event = each.query(now).partition("&event=")[2]
        asked.append(f"{each.url} {event}".strip())
        each.receive(ANSWER if each.url in working else None, now)
        tier.settle(each)
    return asked


def test_in_a_tier_trackers_are_asked_until_one_answers_and_that_one_is_kept_to() -> None:
    tier = tier_of("a", "b", "c", "d")
    order = [each.url for each in tier.announcers]
    good = order[2]
    assert ask(tier, 0, {good}) == [f"{url} started" for url in order[:3]]
    assert tier.announcers[0].url == good
    assert ask(tier, 1799 * SECOND, {good, *order}) == []
    assert ask(tier, tier.get_timer(), {good, *order}) == [good]


def test_when_the_tracker_in_use_falls_silent_another_takes_over_at_once() -> None:
    tier = tier_of("a", "b")
    ask(tier, 0, {"a", "b"})
    first, second = (each.url for each in tier.announcers)
    now = tier.get_timer()
    assert ask(tier, now, {second}) == [first, f"{second} started"]
    assert ask(tier, tier.get_timer(), {first, second}) == [second]


def test_when_all_are_silent_each_is_tried_again_less_and_less_often() -> None:
    tier = tier_of("a", "b")
    times = []
    now = 0
    for _ in range(10):
        assert len(ask(tier, now, set())) == 2
        times.append(now // SECOND)
        now = tier.get_timer()
    waits = [after - before for before, after in pairwise(times)]
    assert waits == [15, 37, 94, 234, 586, 1465, 3600, 3600, 3600]
    ask(tier, now, {"a", "b"})
    assert not tier.failure


def test_order_is_shuffled_once_and_by_the_generator_given() -> None:
    urls = [str(number) for number in range(10)]
    orders = {
        tuple(each.url for each in Tier([announcer(url) for url in urls], Random(seed)).announcers)
        for seed in (1, 1, 2)
    }
    assert len(orders) == 2
    assert all(sorted(order) == urls for order in orders)


def test_completion_is_told_once_to_a_tier_and_again_only_if_it_was_not_heard() -> None:
    left = [10]
    tier = tier_of("a", "b", left=left)
    ask(tier, 0, {"a", "b"})
    first, second = (each.url for each in tier.announcers)
    left[0] = 0
    now = 60 * SECOND
    due = [tier.is_completion_due]
    assert ask(tier, now, {second}) == [
        f"{first} completed",
        f"{second} started",
        f"{second} completed",
    ]
    due.append(tier.is_completion_due)
    assert due == [True, False]
    later = tier.get_timer()
    assert ask(tier, later, {first}) == [second, first]


def test_a_torrent_that_was_complete_at_the_start_never_completes() -> None:
    tier = tier_of("a", left=[0])
    assert ask(tier, 0, {"a"}) == ["a started"]
    assert ask(tier, tier.get_timer(), {"a"}) == ["a"]


def test_only_the_tracker_in_use_is_told_goodbye() -> None:
    tier = tier_of("a", "b")
    assert tier.to_leave() is None
    ask(tier, 0, {"a"})
    leaving = tier.to_leave()
    assert leaving is not None
    assert leaving.url == "a"
    ask(tier, tier.get_timer(), set())
    assert tier.to_leave() is None


def test_urls_that_are_no_trackers_or_come_twice_or_never_end_are_left_out() -> None:
    many = [f"http://t{number}/announce" for number in range(300)]
    listed = [["http://a/announce", "wss://b"], ["http://a/announce"], ["udp://c:1"], many]
    tiers = make_tiers(listed, announcer, Random(1))
    urls = [[each.url for each in tier.announcers] for tier in tiers]
    assert urls[:2] == [["http://a/announce"], ["udp://c:1"]]
    assert sum(map(len, urls)) == TRACKERS_MAX
    with pytest.raises(StateError):
        Tier([], Random(1))


# How often


def interval_after(answer: dict[bytes, bencode.Value], *, is_inside: bool) -> int:
    one = announcer("http://t/announce")
    one.query(0)
    one.receive(bencode.encode({**answer, b"peers": b""}), 0, is_inside=is_inside)
    return one.get_timer() // SECOND


@pytest.mark.parametrize(
    ("interval", "least", "outside", "inside"),
    [
        (30, 0, 300, 30),
        (1800, 0, 1800, 1800),
        (0, 0, 300, 5),
        (30, 600, 600, 600),
        (10**12, 10**12, 3600, 3600),
        (-1, -1, 300, 5),
    ],
)
def test_on_the_internet_five_minutes_pass_and_a_closed_network_sets_its_own_pace(
    interval: int, least: int, outside: int, inside: int
) -> None:
    said: dict[bytes, bencode.Value] = {b"interval": interval, b"min interval": least}
    assert interval_after(said, is_inside=False) == outside
    assert interval_after(said, is_inside=True) == inside


@pytest.mark.parametrize(
    ("least", "is_inside", "wait_s"),
    [(0, False, 120), (30, False, 60), (900, False, 900), (5, True, 10), (0, True, 10)],
)
def test_who_knows_nobody_asks_sooner_but_not_below_the_min_interval(
    least: int, is_inside: bool, wait_s: int
) -> None:
    is_alone = [True]
    one = Announcer(
        "http://t/announce", HASH, bytes(20), 5, pace=TORRENT, is_hungry=lambda: is_alone[0]
    )
    one.query(0)
    body: dict[bytes, bencode.Value] = {b"interval": 1800, b"min interval": least, b"peers": b""}
    one.receive(bencode.encode(body), 0, is_inside=is_inside)
    assert one.get_timer() == wait_s * SECOND
    is_alone[0] = False
    assert one.get_timer() == 1800 * SECOND


def test_a_live_channels_tracker_is_found_again_within_a_minute() -> None:
    one = Announcer("http://t/announce", HASH, bytes(20), 5, pace=LIVE)
    now = 0
    for _ in range(12):
        one.query(now)
        one.receive(None, now)
        assert one.get_timer() - now <= 60 * SECOND
        now = one.get_timer()


def test_a_tracker_id_is_said_again_and_a_refusal_reaches_no_terminal_raw() -> None:
    one = announcer("http://t/announce")
    body = bencode.encode({b"interval": 60, b"peers": b"", b"tracker id": b"\x00&x"})
    assert "trackerid" not in one.query(0)
    one.receive(body, 0)
    assert one.query(0).endswith("&trackerid=%00%26x")
    one.receive(bencode.encode({b"failure reason": b"no\x1b[2J\xc2\x9b way" + b"!" * 999}), 0)
    assert one.failure.startswith("the tracker refuses: no[2J way!")
    assert one.failure.isprintable()
    assert len(one.failure) < 150
