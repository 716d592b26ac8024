"""Losses of a full queue and losses by chance, told apart by the queue that they come with."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from livestream.machine import MILLISECOND, SECOND
from livestream.transport.losses import LossJudge

TARGET_US = 60 * MILLISECOND
STEP_US = 10 * MILLISECOND


def sawtooth(judge: LossJudge, top_us: int, seconds: int, begin: int = 0) -> Iterator[int]:
    """Let a queue grow to its top within two seconds, and shrink again; yield each moment."""
    for now in range(begin, begin + seconds * SECOND, STEP_US):
        judge.on_queue(top_us * (now % (2 * SECOND)) // (2 * SECOND), now)
        yield now


def is_top(now: int) -> bool:
    return now % (2 * SECOND) == 2 * SECOND - STEP_US


def test_losses_at_the_top_of_a_sawtooth_are_congestion() -> None:
    judge = LossJudge()
    verdicts = [
        judge.is_congestion(TARGET_US, now)
        for now in sawtooth(judge, 100 * MILLISECOND, 20)
        if is_top(now)
    ]
    assert len(verdicts) == 10
    assert all(verdicts)


def test_losses_at_any_time_are_chance_wherever_the_queue_is() -> None:
    for seed in range(5):
        judge, rng = LossJudge(), Random(seed)
        verdicts = [
            judge.is_congestion(TARGET_US, now)
            for now in sawtooth(judge, 100 * MILLISECOND, 60)
            if rng.random() < 0.03
        ]
        assert sum(verdicts[len(verdicts) // 4 :]) == 0, f"seed {seed}"


def test_a_queue_that_never_changes_is_no_evidence_of_congestion() -> None:
    judge, rng = LossJudge(), Random(1)
    for now in sawtooth(judge, 50 * MILLISECOND, 20):
        if rng.random() < 0.03:
            judge.is_congestion(TARGET_US, now)
    for now in range(20 * SECOND, 60 * SECOND, STEP_US):
        judge.on_queue(50 * MILLISECOND, now)
        if now > 24 * SECOND and now % (100 * MILLISECOND) == 0:
            assert not judge.is_congestion(TARGET_US, now)


def test_losses_without_any_queue_are_chance() -> None:
    judge = LossJudge()
    for now in range(0, 10 * SECOND, STEP_US):
        judge.on_queue(now % 3_000, now)
        assert not judge.is_congestion(TARGET_US, now)


@pytest.mark.parametrize(("top_ms", "target_ms"), [(20, 10), (50, 25), (200, 60)])
def test_half_of_a_short_buffer_is_the_target(top_ms: int, target_ms: int) -> None:
    judge = LossJudge()
    for now in sawtooth(judge, top_ms * MILLISECOND, 20):
        if is_top(now):
            judge.is_congestion(TARGET_US, now)
    target_us = judge.target_us(TARGET_US, 20 * SECOND)
    assert target_us == pytest.approx(target_ms * MILLISECOND, rel=0.02)
    assert judge.target_us(TARGET_US, 100 * SECOND) == TARGET_US, "paths change"


def test_a_path_that_becomes_congested_is_judged_anew() -> None:
    judge, rng = LossJudge(), Random(1)
    for now in sawtooth(judge, 100 * MILLISECOND, 60):
        if rng.random() < 0.03:
            judge.is_congestion(TARGET_US, now)
    verdicts = [
        judge.is_congestion(TARGET_US, now)
        for now in sawtooth(judge, 100 * MILLISECOND, 60, 60 * SECOND)
        if is_top(now)
    ]
    assert all(verdicts[15:])
