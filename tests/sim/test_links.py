"""The model of lines and paths: rates, delays, loss and partitions."""

from __future__ import annotations

from random import Random

from livestream.machine import MILLISECOND, SECOND
from livestream.sim.links import Path, Paths, Uplink, reception, wire_size


def test_an_uplink_sends_at_its_rate_one_after_the_other() -> None:
    uplink = Uplink(8_000_000)  # A byte each microsecond.
    assert uplink.take(10_000, 100) == 10_100
    assert uplink.take(5_000, 100) == 15_100
    assert uplink.take(1, 20_000) == 20_001, "an idle uplink begins at once"
    assert uplink.bytes_out == 15_001


def test_a_sender_stops_when_the_queue_has_reached_its_target() -> None:
    uplink = Uplink(8_000_000)
    uplink.take(24_000, 0)
    assert uplink.has_room(0)
    uplink.take(24_000, 0)
    assert not uplink.has_room(0)
    assert uplink.has_room(uplink.room_at())
    assert not uplink.has_room(uplink.room_at() - 1)


def test_delays_belong_to_pairs_and_are_the_same_both_ways() -> None:
    paths = Paths(Path(5_000, 90_000), 7, Random(1))
    delays = [paths.base_delay_us(1, other) for other in range(2, 200)]
    assert all(5_000 <= delay <= 90_000 for delay in delays)
    assert 40_000 < sum(delays) / len(delays) < 55_000, "spread evenly"
    assert paths.base_delay_us(1, 2) == paths.base_delay_us(2, 1)
    assert Paths(Path(5_000, 90_000), 8, Random(1)).base_delay_us(1, 2) != delays[0]


def test_a_datagram_in_a_hundred_is_repeated() -> None:
    paths = Paths(Path(loss=0.01), 1, Random(5))
    repeated = sum(sum(paths.repeats(7)) for _ in range(20_000))
    share = repeated / (20_000 * 7)
    assert 0.008 < share < 0.0125
    assert Paths(Path(loss=0.0), 1, Random(5)).repeats(7) == []


def test_a_split_separates_the_sides_and_heals() -> None:
    paths = Paths(Path(), 1, Random(1))
    paths.split({3: 1, 4: 1})
    assert paths.are_joined(3, 4)
    assert paths.are_joined(1, 2)
    assert not paths.are_joined(1, 3)
    paths.heal()
    assert paths.are_joined(1, 3)


def test_what_a_message_is_on_the_wire() -> None:
    assert wire_size(1_417) == 1_417 + 55
    assert wire_size(1_418) == 1_418 + 2 * 55
    assert wire_size(8_284) == 8_284 + 6 * 55, "a piece of 8 KiB"


def test_the_target_is_that_of_live_swarms() -> None:
    assert Uplink(1).target_us == 25 * MILLISECOND < SECOND


def test_a_quick_downlink_adds_a_datagram_s_time_and_a_slow_one_what_it_takes_longer() -> None:
    size = 10 * 1_472
    whole, took, _ = reception(size, 1_000_000, 8_000_000)
    assert (whole, took) == (1_472, 14_720)
    whole, took, _ = reception(size, 8_000_000, 1_000_000)
    assert took == size * 8
    assert whole == took - 9 * 1_472, "all but the first datagram came while it was busy"
    assert reception(size, 1_000_000, None)[:2] == (0, 0)


def test_what_comes_quickly_shares_acknowledgements() -> None:
    size = 6 * 1_472
    assert reception(size, 1_000_000_000, None)[2] == 1
    assert reception(size, 1_000_000, None)[2] == 3, "60 ms, in steps of 25"
    assert reception(size, 1_000_000_000, 1_000_000)[2] == 3
    assert reception(size, 100_000, None)[2] == 6, "never more than datagrams"
    assert reception(64, 1_000, None)[2] == 1
    assert reception(40 * 1_024, 1_000_000_000, None)[2] == 5, "each 8 KiB at once"
