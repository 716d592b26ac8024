"""Rates: the meter forgets, the bucket holds."""

from __future__ import annotations

from livestream.machine import SECOND
from livestream.swarm.rates import RateMeter, TokenBucket


def test_meter_finds_a_steady_rate_and_forgets_it() -> None:
    meter = RateMeter()
    for step in range(200):
        meter.add(10_000, step * SECOND // 10)
    assert 90_000 < meter.bytes_per_second(20 * SECOND) < 110_000
    assert meter.bytes_per_second(40 * SECOND) < 500
    assert meter.total_bytes == 2_000_000


def test_bucket_never_lets_more_through_than_its_rate_and_burst() -> None:
    bucket = TokenBucket(bytes_per_second=100_000, burst_bytes=20_000)
    sent = 0
    for now in range(0, 10 * SECOND, 1_000):
        while bucket.has_tokens(now):
            bucket.take(1_500, now)
            sent += 1_500
    assert 1_000_000 <= sent <= 1_020_000 + 1_500


def test_bucket_says_when_it_has_tokens_again() -> None:
    bucket = TokenBucket(bytes_per_second=1_000, burst_bytes=100)
    bucket.take(1_100, 0)
    at = bucket.next_tokens_at(0)
    assert SECOND <= at <= SECOND + 2
    assert not bucket.has_tokens(at - 2)
    assert bucket.has_tokens(at)
