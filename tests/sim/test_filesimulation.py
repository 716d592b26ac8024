"""File swarms in virtual time: real swarms, pickers and chokers against the fluid bound."""

from __future__ import annotations

from dataclasses import replace

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


def test_a_seed_that_leaves_after_one_copy_leaves_a_whole_file_behind() -> None:
    scenario = replace(CROWD, seed_leaves_copies=1.0, seed_uplink_bps=4_000_000)
    simulation = FileSimulation(scenario, 1)
    simulation.run()
    copies = simulation.origin.swarm.stats.stream_bytes_out / simulation.contents.size
    assert simulation.origin.left_at is not None
    assert 1.0 <= copies < 1.4  # It answers what was asked when its time came.
    stores = [each.store for each in simulation.downloaders]
    assert all(any(index in store.held for store in stores) for index in range(32))
    assert simulation.is_over


def test_free_riders_are_served_last() -> None:
    scenario = replace(CROWD, free_rider_share=0.3, seed_uplink_bps=4_000_000)
    result = simulate_file(scenario, 1)
    assert result.finished_share == 1.0
    assert result.took_p50_s is not None
    assert result.free_riders_took_p50_s is not None
    assert result.free_riders_took_p50_s > result.took_p50_s


def test_free_riders_give_nothing() -> None:
    scenario = replace(CROWD, viewers=6, pieces=16, free_rider_share=0.34)
    simulation = FileSimulation(scenario, 1)
    simulation.run()
    given = {
        each.is_free_rider: each.swarm.stats.stream_bytes_out for each in simulation.downloaders
    }
    assert set(given) == {True, False}
    riders = [each for each in simulation.downloaders if each.is_free_rider]
    assert sum(each.swarm.stats.stream_bytes_out for each in riders) == 0


def test_a_run_ends_when_its_time_is_over_and_says_who_is_not_done() -> None:
    result = simulate_file(replace(CROWD, seconds=2.0), 1)
    assert result.finished_share < 1.0


def test_who_leaves_with_the_file_is_missed_but_all_finish() -> None:
    stay = simulate_file(CROWD, 1)
    go = simulate_file(replace(CROWD, stays=False), 1)
    assert stay.finished_share == go.finished_share == 1.0
