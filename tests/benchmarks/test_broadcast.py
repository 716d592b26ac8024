"""What viewers of a channel in a star went through is reckoned as it was."""

from __future__ import annotations

import pytest

from benchmarks.broadcast import Watched, counted, gap_s, moved_bps
from benchmarks.star import HostCounters, Sample
from livestream.machine import SECOND


def sample(at_s: float, received: dict[int, dict[int, int]]) -> Sample:
    """Return a row of the router's: what each host has received, by sender."""
    hosts = {
        number: HostCounters(0, sum(each.values()), 0, 0, each) for number, each in received.items()
    }
    return Sample(int(at_s * SECOND), 0, hosts)


@pytest.mark.parametrize(
    ("released_s", "expected"),
    [
        ([9.5, 10.5, 11.0, 12.0, 14.0, 21.0], 6.0),  # Its end is outside.
        ([9.5, 10.5, 19.5, 25.0], 9.0),
        ([5.0, 15.0, 19.0], 10.0),  # It began before.
        ([], 10.0),
        ([11.0, 25.0], 9.0),
    ],
)
def test_a_picture_stands_still_between_what_moves_it(
    released_s: list[float], expected: float
) -> None:
    assert gap_s(released_s, 10.0, 20.0) == pytest.approx(expected)


def test_a_counter_grows_from_its_last_row_before_to_its_last_row_within() -> None:
    rows = [{"at_s": float(at), "late": float(at * at)} for at in range(6)]
    assert counted(rows, "late", 2.5, 4.5) == 16 - 4
    assert counted(rows, "late", -1.0, 2.0) == 4
    assert counted([], "late", 0.0, 9.0) == 0


def test_a_rate_is_of_the_senders_and_receivers_named_within_the_time() -> None:
    samples = [
        sample(0, {1: {}, 2: {}}),
        sample(10, {1: {0: 1_000, 3: 5}, 2: {0: 10}}),
        sample(12, {1: {0: 3_000, 3: 500_005}, 2: {0: 500_010}}),
        sample(20, {1: {0: 9_000_000}, 2: {}}),
    ]
    assert moved_bps(samples, [0], [1], 9.0, 13.0) == 8 * 2_000 / 2
    assert moved_bps(samples, [0, 3], [1, 2], 9.0, 13.0) == 8 * 1_002_000 / 2
    assert moved_bps(samples, [0], [1], 11.0, 13.0) == 0.0


def test_what_was_seen_can_be_counted_from_another_moment() -> None:
    watched = Watched([{"at_s": 12.0, "lag_s": 0.5}], [11.0, 13.0]).since(10.0)
    assert watched.rows == [{"at_s": 2.0, "lag_s": 0.5}]
    assert watched.released_s == [1.0, 3.0]
