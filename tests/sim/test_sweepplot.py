"""The picture of several runs: where they stand in it, and through what its lines go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from livestream.errors import DiskError, UsageError
from livestream.sim.result import Result
from livestream.sim.run import simulate
from livestream.sim.scenarios import SCENARIOS, design_named
from livestream.sim.sweepplot import Positions, Run, curve_of, draw_runs, positions_of


@pytest.fixture(scope="module")
def result() -> Result:
    scenario = replace(SCENARIOS["still"], viewers=2, seconds=6.0, rate_bps=300_000)
    return simulate(scenario, design_named("trees"), 1)


def test_runs_stand_by_the_number_that_was_swept(result: Result) -> None:
    runs = [({"viewers": count}, result) for count in (10, 100, 10, 100)]
    assert positions_of(runs) == Positions("viewers", [10.0, 100.0, 10.0, 100.0], [])


def test_runs_that_differ_in_nothing_else_stand_by_their_seeds(result: Result) -> None:
    runs: list[Run] = [({}, replace(result, seed=seed)) for seed in (3, 1)]
    assert positions_of(runs) == Positions("seed", [3.0, 1.0], [])


def test_runs_of_several_keys_stand_in_order_under_their_names(result: Result) -> None:
    runs = [({"loss": loss, "viewers": 5}, result) for loss in (0.1, 0.2, 0.1)]
    names = ["0.1, 5", "0.2, 5", "0.1, 5"]
    assert positions_of(runs) == Positions("loss, viewers", [0.0, 1.0, 0.0], names)


def test_a_line_goes_through_the_medians_of_seeds_from_left_to_right(result: Result) -> None:
    shares = {200: (0.9, 0.5, 0.7), 100: (1.0, 0.98)}
    runs = [
        ({"viewers": count}, replace(result, continuity=share))
        for count, each in shares.items()
        for share in each
    ]
    curve = curve_of("continuity", runs, positions_of(runs))
    assert curve == [(100.0, pytest.approx(0.99)), (200.0, 0.7)]


def test_runs_without_a_figure_have_no_dot(result: Result) -> None:
    runs = [({"loss": 0.5}, replace(result, lag_p50_s=None)), ({"loss": 0.1}, result)]
    curve = curve_of("lag_p50_s", runs, positions_of(runs))
    assert curve == [(0.1, result.lag_p50_s)]


@pytest.mark.parametrize("counts", [(10, 5_000), (10, 11)])
def test_the_picture_is_drawn(result: Result, tmp_path: Path, counts: tuple[int, ...]) -> None:
    picture = tmp_path / "a.png"
    draw_runs([({"viewers": count}, result) for count in counts], str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


def test_a_picture_that_cannot_be_is_refused(result: Result, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PNG"):
        draw_runs([({}, result)], str(tmp_path / "a.jpg"))
    with pytest.raises(DiskError, match="cannot be written"):
        draw_runs([({}, result)], str(tmp_path / "no" / "a.png"))
