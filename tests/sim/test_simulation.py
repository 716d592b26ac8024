"""Whole runs: what happens to a swarm, who behaves how, and what the figures say of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from livestream.sim.designs import DESIGNS
from livestream.sim.host import Host
from livestream.sim.result import Series, result_of
from livestream.sim.run import simulate
from livestream.sim.scenario import Happening, Kind, Scenario
from livestream.sim.simulation import Simulation
from livestream.wire.messages import Request

EASY = Scenario(
    "easy",
    "good lines, no losses",
    viewers=6,
    seconds=9.0,
    rate_bps=600_000,
    uplinks=((1.0, 4.0),),
    join_s=1.5,
    warm_up_s=4.0,
    loss=0.0,
    churn_per_minute=0.0,
)


def test_on_good_lines_everybody_sees_everything_one_latency_behind() -> None:
    result = simulate(EASY, DESIGNS["trees"], 1)
    assert result.continuity == 1.0
    assert result.lag_p50_s == pytest.approx(1.0, abs=0.05)
    assert result.publisher_upload_x < 3
    assert result.bad_pieces_shown == 0
    assert all(share == 1.0 for share in result.series.continuity[3:] if share is not None)
    assert result.series.viewers[-1] == 6


def test_wrong_clocks_cost_neither_pieces_nor_the_truth_about_the_lag() -> None:
    for seed in (1, 2):
        simulation = Simulation(replace(EASY, skew_s=20.0), DESIGNS["trees"], seed)
        simulation.run()
        result = result_of(simulation, Series())
        assert result.continuity == 1.0, f"seed {seed}"
        assert result.lag_p50_s == pytest.approx(1.0, abs=0.1), f"seed {seed}"
        for viewer in simulation.viewers:
            shown_us = viewer.channel.clock.skew_us
            assert shown_us == pytest.approx(viewer.skew_us, abs=150_000), f"seed {seed}"


def test_a_longer_latency_shows_in_the_lag() -> None:
    result = simulate(replace(EASY, latency_s=2.0), DESIGNS["trees"], 1)
    assert result.lag_p50_s == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("seed", [1, 3, 6])
def test_a_line_below_the_rate_shows_in_continuity(seed: int) -> None:
    """And whoever fell behind asks for what is new: a check of the simulator, which found it."""
    result = simulate(replace(EASY, downlink_x=0.5), DESIGNS["trees"], seed)
    assert result.continuity < 0.7


@pytest.mark.parametrize("design", ["pull", "random"])
def test_the_baselines_deliver_too(design: str) -> None:
    result = simulate(replace(EASY, latency_s=3.0), DESIGNS[design], 1)
    assert result.continuity > 0.9


def test_a_single_tree_has_one_substream() -> None:
    simulation = Simulation(EASY, DESIGNS["tree"], 1)
    simulation.run()
    assert simulation.channel.head is not None
    assert simulation.channel.head.substreams == 1


def test_a_restarted_publisher_is_found_again() -> None:
    restart = Happening(Kind.RESTART, at_s=5.0, for_s=1.0)
    simulation = Simulation(replace(EASY, seconds=16.0, happenings=(restart,)), DESIGNS["trees"], 1)
    simulation.run()
    assert simulation.channel.head is not None
    assert simulation.channel.head.epoch == 2
    for viewer in simulation.present.values():
        assert viewer.epoch == 2
        assert simulation.world.now - viewer.last_piece_at < 1_000_000


def test_when_the_heads_die_the_others_go_on() -> None:
    die = Happening(Kind.HEADS_DIE, at_s=5.0)
    scenario = replace(EASY, viewers=24, seconds=12.0, happenings=(die,))
    simulation = Simulation(scenario, DESIGNS["trees"], 1)
    simulation.run()
    left = [viewer for viewer in simulation.viewers if viewer.left_at is not None]
    assert left
    assert simulation.present
    for viewer in simulation.present.values():
        assert simulation.world.now - viewer.last_piece_at < 2_000_000


def test_a_split_is_survived_by_both_sides() -> None:
    split = Happening(Kind.SPLIT, at_s=4.0, share=0.5, for_s=2.0)
    scenario = replace(EASY, seconds=16.0, happenings=(split,))
    simulation = Simulation(scenario, DESIGNS["trees"], 1)
    simulation.run()
    for viewer in simulation.present.values():
        assert simulation.world.now - viewer.last_piece_at < 1_000_000


def test_who_got_nothing_for_a_while_learns_from_windows_what_to_ask_for() -> None:
    """Without feeders no heads come either: what is new is known from neighbours alone."""
    jam = Happening(Kind.OTHER_TRAFFIC, at_s=4.0, share=0.97, for_s=6.0)
    scenario = replace(EASY, latency_s=2.0, seconds=18.0, happenings=(jam,))
    simulation = Simulation(scenario, DESIGNS["pull"], 1)
    simulation.run()
    for viewer in simulation.present.values():
        assert simulation.world.now - viewer.last_piece_at < 1_000_000


def test_what_a_viewer_has_gone_on_without_is_asked_for_no_more() -> None:
    jam = Happening(Kind.OTHER_TRAFFIC, at_s=5.0, share=0.8, for_s=2.0)
    scenario = replace(EASY, rate_bps=1_000_000, loss=0.1, seconds=12.0, happenings=(jam,))
    simulation = Simulation(scenario, DESIGNS["trees"], 1)
    asked = [0, 0]

    def on_sent(host: Host, message: bytes) -> None:
        viewer = simulation.present.get(host.number)
        if message[0] == Request.ID and viewer is not None and viewer.playout is not None:
            index = int.from_bytes(message[1:5], "big")
            asked[index < viewer.playout.next_index] += 1

    simulation.on_sent = on_sent
    simulation.run()
    assert sum(viewer.late(simulation.world.now) for viewer in simulation.viewers) > 100
    assert asked[True] <= 0.01 * asked[False], "but for what waits at its uplink then"


def test_crowds_come_and_go() -> None:
    come = Happening(Kind.FLASH_CROWD, at_s=3.0, share=0.5, for_s=1.0)
    leave = Happening(Kind.MASS_LEAVE, at_s=6.0, share=0.5, for_s=1.0)
    scenario = replace(EASY, viewers=8, happenings=(come, leave))
    simulation = Simulation(scenario, DESIGNS["trees"], 1)
    counts: list[int] = []
    simulation.run(lambda now: counts.append(len(simulation.present)))
    assert counts[25] == 4
    assert counts[55] == 8
    assert counts[-1] == 4


def test_churn_keeps_the_number_of_viewers() -> None:
    # 18 are expected to go; that fewer than three do has a chance of three in a million.
    scenario = replace(EASY, seconds=12.0, churn_per_minute=15.0)
    simulation = Simulation(scenario, DESIGNS["trees"], 1)
    simulation.run()
    assert len(simulation.present) == 6
    assert len(simulation.viewers) > 8


def test_free_riders_and_liars_feed_nobody() -> None:
    scenario = replace(EASY, viewers=8, free_rider_share=0.25, liar_share=0.25)
    simulation = Simulation(scenario, DESIGNS["trees"], 1)
    simulation.run()
    given = dict.fromkeys(("honest", "free rider", "liar"), 0)
    for viewer in simulation.present.values():
        ready = viewer.channel.swarm.ready
        given[viewer.host.role.value] += sum(peer.stats.pieces_out for peer in ready)
    assert given["free rider"] == 0
    assert given["liar"] == 0
    assert given["honest"] > 0


def test_checking_changes_nothing() -> None:
    simulation = Simulation(EASY, DESIGNS["trees"], 1)
    simulation.run()
    assert simulate(EASY, DESIGNS["trees"], 1).trace_hash == simulation.world.trace_hash()
