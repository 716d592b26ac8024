"""File scenarios by name, and what is refused of them."""

from __future__ import annotations

import pytest

from livestream.errors import UsageError
from livestream.sim.filescenario import (
    FILE_SCENARIOS,
    file_scenario_named,
    is_file_scenario,
    with_file_overrides,
)

CROWD = FILE_SCENARIOS["files-crowd"]


def test_a_wrong_name_is_told_the_nearest() -> None:
    assert is_file_scenario("files-crwd")
    with pytest.raises(UsageError, match="nearest is files-crowd"):
        file_scenario_named("files-crwd")


def test_live_scenarios_are_none() -> None:
    assert not is_file_scenario("L0")
    assert not is_file_scenario("flash-crowd")


def test_keys_are_changed_and_wrong_ones_told_the_nearest() -> None:
    assert with_file_overrides(CROWD, {"viewers": 7, "loss": 0.01}, "here").viewers == 7
    with pytest.raises(UsageError, match="nearest is viewers"):
        with_file_overrides(CROWD, {"viewer": 7}, "here")


@pytest.mark.parametrize(
    "given",
    [
        {"viewers": 0},
        {"viewers": 1.5},
        {"pieces": 0},
        {"free_rider_share": 1.5},
        {"loss": 0.5},
        {"seconds": 1.0},
        {"delay_ms_max": 1.0},
        {"seed_uplink_bps": 0},
        {"uplinks": 3},
        {"name": "other"},
    ],
)
def test_what_contradicts_itself_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        with_file_overrides(CROWD, given, "here")
