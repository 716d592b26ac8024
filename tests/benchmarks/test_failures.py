"""What a failure meant for whom is reckoned from the router's counters and the viewers' own."""

from __future__ import annotations

import pytest

from benchmarks.broadcast import Watched
from benchmarks.failures import Effect, Failure, children_of, claims, effect_on, whole_after_s
from benchmarks.star import Sample
from tests.benchmarks.test_broadcast import sample

RATE_BPS = 800_000
SUBSTREAM_BYTES = RATE_BPS // 8 // 8
"In a second."
VICTIM, CHILD, STRANGER, OTHER = 1, 2, 3, 4
FAILS_S = 20.0


def samples(fails_s: float, mends_s: float) -> list[Sample]:
    """The child gets four substreams of the victim and four of another, and later all of those.

    The stranger gets no more of the victim than acknowledgements.
    """
    got = {CHILD: {VICTIM: 0.0, OTHER: 0.0}, STRANGER: {VICTIM: 0.0, OTHER: 0.0}}
    rows = []
    for step in range(300):
        at_s = step / 5
        rows.append(
            sample(
                at_s,
                {
                    number: {source: int(count) for source, count in each.items()}
                    for number, each in {VICTIM: {}, OTHER: {}, **got}.items()
                },
            )
        )
        got[CHILD][VICTIM] += 4 * SUBSTREAM_BYTES / 5 if at_s < fails_s else 0
        got[CHILD][OTHER] += (8 if at_s >= mends_s else 4) * SUBSTREAM_BYTES / 5
        got[STRANGER][VICTIM] += 0.2 * SUBSTREAM_BYTES / 5
        got[STRANGER][OTHER] += 8 * SUBSTREAM_BYTES / 5
    return rows


def test_children_are_those_that_got_a_good_part_of_a_substream() -> None:
    rows = samples(FAILS_S, 22.0)
    everybody = [VICTIM, CHILD, STRANGER, OTHER]
    assert children_of(rows, VICTIM, everybody, RATE_BPS, FAILS_S) == (CHILD,)
    assert children_of(rows, OTHER, everybody, RATE_BPS, FAILS_S) == (CHILD, STRANGER)
    assert children_of(rows, VICTIM, everybody, RATE_BPS, 30.0) == ()


def test_a_child_is_whole_once_others_give_it_what_all_gave_before() -> None:
    # Nine tenths of its rate within a second: that is 0.8 s after the other one gives all.
    after_s = whole_after_s(samples(FAILS_S, 22.0), CHILD, VICTIM, FAILS_S, 30.0)
    assert after_s == pytest.approx(2.8, abs=0.21)
    never = whole_after_s(samples(FAILS_S, 99.0), CHILD, VICTIM, FAILS_S, 30.0)
    assert never == float("inf")
    assert whole_after_s(samples(FAILS_S, 22.0), STRANGER, VICTIM, FAILS_S, 30.0) < 0.3


def test_an_effect_is_of_the_ten_seconds_that_follow() -> None:
    rows = [
        {
            "at_s": float(at),
            "lag_s": 9.0 if at == 19 else 3.0 if at == 24 else 0.6,
            "pieces_late": 50.0 + 2 * (at > 22) + 100 * (at > 32),
            "pieces_received": 10.0 * at,
        }
        for at in range(40)
    ]
    released_s = [step / 10 for step in range(400) if not 220 <= step < 235]
    watched = {CHILD: Watched(rows, released_s)}
    failure = Failure("killed", FAILS_S, VICTIM, (CHILD,))
    effect = effect_on(failure.children, watched, samples(FAILS_S, 22.0), failure)
    assert (effect.viewers, effect.late, effect.late_worst) == (1, 2, 2)
    assert effect.late_share == pytest.approx(0.02)
    assert effect.lag_s == 3.0
    assert effect.gap_s == pytest.approx(1.6)
    assert effect.victims_share == pytest.approx(0.5)


def test_what_does_not_hold_is_said() -> None:
    failure = Failure("killed", FAILS_S, VICTIM, (CHILD,))
    good = Effect(1, 2, 2, 0.01, 1.1, 0.8, 1.5, 0.5)
    assert claims(failure, good) == []
    assert len(claims(failure, Effect(1, 2, 2, 0.01, 1.3, 0.8, 1.5, 0.5))) == 1
    assert len(claims(failure, Effect(1, 9, 9, 0.05, 1.3, 0.8, 1.5, 0.5))) == 2
    assert len(claims(Failure("killed", FAILS_S, VICTIM, ()), good)) == 1, "nothing was shown"
