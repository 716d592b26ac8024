"""Scenarios by name and by file; what is wrong with one is said with the nearest right one."""

from __future__ import annotations

import pytest

from livestream.errors import UsageError
from livestream.sim.scenario import Kind
from livestream.sim.scenarios import (
    SCENARIOS,
    design_named,
    read_scenario,
    scenario_named,
    with_overrides,
)


def test_every_scenario_passes_its_own_checks() -> None:
    for name, scenario in SCENARIOS.items():
        assert scenario.name == name
        assert with_overrides(scenario, {}, "here") == scenario


@pytest.mark.parametrize(
    ("given", "nearest"), [("L00", "L0"), ("heads-dye", "heads-die"), ("flashcrowd", "flash-crowd")]
)
def test_an_unknown_scenario_names_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"The nearest is {nearest}\\."):
        scenario_named(given)


def test_an_unknown_design_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"The nearest is trees\."):
        design_named("treees")


def test_a_file_overrides_what_it_names_and_nothing_else() -> None:
    text = 'base = "churn"\nviewers = 12\nloss = 0\n[[happenings]]\nkind = "split"\nat_s = 3\n'
    scenario = read_scenario(text, "mine.toml", is_json=False)
    assert scenario.viewers == 12
    assert scenario.loss == 0.0
    assert scenario.churn_per_minute == SCENARIOS["churn"].churn_per_minute
    assert [each.kind for each in scenario.happenings] == [Kind.SPLIT]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("viewer = 3", r"The nearest is viewers\."),
        ('viewers = "many"', "is not a number"),
        ("loss = 1.5", "no share between 0 and 1"),
        ("delay_ms_min = 50\ndelay_ms_max = 10", "delay_ms_max is below delay_ms_min"),
        ("uplinks = [[0.5, 1.0]]", "do not add up to 1"),
        ("uplinks = 3", "is a list of"),
        ("polluter_share = 0.7\nliar_share = 0.7", "more than all"),
        ('[[happenings]]\nkind = "quake"\nat_s = 1', "no happening 'quake'"),
        ('[[happenings]]\nkind = "split"\nat_s = 1\nlong = 2', "no key of a happening 'long'"),
        ("happenings = [3]", "at least a kind"),
        ("viewers = ", "not TOML"),
        ("viewers = true", "is not a number"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        read_scenario(text, "mine.toml", is_json=False)


@pytest.mark.parametrize(
    "changes",
    [{"viewers": 0}, {"seconds": 0.5}, {"seconds": 4.0}, {"rate_bps": 0}, {"latency_s": 0.0}],
)
def test_contradictory_parameters_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="the command line: "):
        with_overrides(SCENARIOS["L0"], changes, "the command line")
