"""What a route does to datagrams, in the long run and in order."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from livestream.machine import MILLISECOND, Address, Train
from livestream.sim.routes import Route, Weather

PEER = Address("192.0.2.1", 1)
COUNT = 40_000


def one(number: int) -> Train:
    return Train(PEER, number.to_bytes(4, "big"), 4)


def fates(weather: Weather) -> list[bool]:
    """Return whether each of many datagrams was lost."""
    rng, route = Random(1), Route(0, weather)
    return [not route.carry(one(number), number, rng) for number in range(COUNT)]


@pytest.mark.parametrize("burst", [1.0, 5.0])
def test_the_share_that_is_lost_is_the_one_that_was_asked_for(burst: float) -> None:
    assert sum(fates(Weather(loss=0.05, loss_burst=burst))) / COUNT == pytest.approx(0.05, rel=0.1)


def test_losses_come_in_bursts_of_the_length_asked_for() -> None:
    lost = fates(Weather(loss=0.05, loss_burst=5.0))
    bursts = sum(now and not before for before, now in zip([False, *lost], lost, strict=False))
    assert sum(lost) / bursts == pytest.approx(5.0, rel=0.1)


def test_jitter_never_turns_the_order_round() -> None:
    rng, route = Random(1), Route(10 * MILLISECOND, Weather(jitter_us=5 * MILLISECOND))
    times = [route.carry(one(number), 100 * number, rng)[0][0] for number in range(1_000)]
    assert times == sorted(times)
    delays = [at - 100 * number for number, at in enumerate(times)]
    assert min(delays) >= 10 * MILLISECOND
    assert max(delays) <= 15 * MILLISECOND


def test_what_is_reordered_comes_after_what_left_later() -> None:
    rng, route = Random(1), Route(0, Weather(reordered=0.1))
    arrivals = sorted(
        (at, bytes(part.data))
        for number in range(1_000)
        for at, part in route.carry(one(number), number * MILLISECOND, rng)
    )
    assert len(arrivals) == 1_000
    numbers = [data for _, data in arrivals]
    overtaken = sum(after < before for before, after in pairwise(numbers))
    assert 50 <= overtaken <= 110


def test_a_train_arrives_as_one_without_what_it_lost() -> None:
    rng = Random(1)
    rows = [bytes([number]) * 10 for number in range(20)]
    [(at, part)] = Route(7, Weather(loss=0.3)).carry(Train(PEER, b"".join(rows), 10), 100, rng)
    assert at == 107
    kept = part.datagrams()
    assert 5 < len(kept) < 20
    assert kept == [row for row in rows if row in kept]
