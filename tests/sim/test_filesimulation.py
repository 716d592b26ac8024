"""File swarms in virtual time: real swarms, pickers and chokers against the fluid bound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from livestream.sim.fileresult import simulate_file
from livestream.sim.filescenario import FILE_SCENARIOS
from livestream.sim.filesimulation import FileSimulation

CROWD = replace(
    FILE_SCENARIOS["files-crowd"], viewers=12, pieces=32, join_s=1.0, neighbours=12, peers_max=20
)


def test_everybody_gets_the_file_and_nobody_beats_the_bound() -> None:
    result = simulate_file(CROWD, 1)
    assert result.finished_share == 1.0
    assert result.done_last_s is not None
    assert result.bounds["done_last_s"] <= result.done_last_s <= 4 * result.bounds["done_last_s"]
    assert len(result.done_s) == 12


def test_a_seed_is_a_run() -> None:
    scenario = replace(CROWD, viewers=4, pieces=8)
    hashes = [simulate_file(scenario, seed).trace_hash for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(("copies", "finished_share"), [(0.5, 0.0), (1.05, 1.0)])
def test_a_swarm_outlives_its_seed_if_that_gave_every_piece(
    copies: float, finished_share: float
) -> None:
    scenario = replace(
        CROWD,
        viewers=6,
        pieces=128,
        piece_kib=32,
        seed_leaves_copies=copies,
        seed_uplink_bps=4_000_000,
        max_up_share=0.95,
        seconds=100.0,
    )
    result = simulate_file(scenario, 1)
    assert result.finished_share == finished_share
    assert copies <= result.seed_copies <= copies + 0.1


def test_free_riders_give_next_to_nothing_and_do_not_hold_up_the_others() -> None:
    scenario = replace(CROWD, free_rider_share=0.3, uplinks=((1.0, 2_000_000),), max_up_share=0.95)
    simulation = FileSimulation(scenario, 1)
    simulation.run()
    riders = [each for each in simulation.downloaders if each.is_free_rider]
    assert len(riders) == 4
    for rider in riders:
        assert rider.swarm.stats.stream_bytes_out <= 0.05 * simulation.contents.size
    result = simulate_file(scenario, 1)
    assert result.finished_share == 1.0
    assert result.free_riders_took_p50_s is not None
    assert result.done_last_s is not None
    assert result.done_last_s <= 1.5 * result.bounds["done_last_s"]


def test_a_run_ends_when_its_time_is_over_and_says_who_is_not_done() -> None:
    result = simulate_file(replace(CROWD, seconds=2.0), 1)
    assert result.finished_share < 1.0


def test_who_leaves_with_the_file_is_missed_but_all_finish() -> None:
    stay = simulate_file(CROWD, 1)
    go = simulate_file(replace(CROWD, stays=False), 1)
    assert stay.finished_share == go.finished_share == 1.0
