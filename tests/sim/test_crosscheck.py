"""The model of the transport is held against the transport itself, in the same scenarios."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from livestream.machine import SECOND
from livestream.sim.designs import DESIGNS
from livestream.sim.fileresult import simulate_file
from livestream.sim.filescenario import FILE_SCENARIOS
from livestream.sim.internets import Links
from livestream.sim.result import share_at
from livestream.sim.scenario import Scenario
from livestream.sim.simulation import Simulation

TOLERANCE = 0.15
# Lines that carry the channel: where they do not, one run's lags are as far from the next one's.
AT_HOME = Scenario(
    "at home",
    "50 viewers with good lines, and losses",
    viewers=50,
    seconds=10.0,
    rate_bps=600_000,
    uplinks=((1.0, 8.0),),
    publisher_uplink_x=10.0,
    join_s=2.0,
    warm_up_s=3.0,
    churn_per_minute=0.0,
)


def lags_s(scenario: Scenario, seeds: Iterable[int], links: Links) -> dict[str, float]:
    """Return percentiles: of lag over viewers, and of how old pieces are when they come."""
    played: list[float] = []
    came: list[float] = []
    for seed in seeds:
        simulation = Simulation(scenario, DESIGNS["trees"], seed, links)
        simulation.world.run_until(simulation.began_at + scenario.warm_up_us)
        before = {viewer: len(viewer.delivery_lags_us) for viewer in simulation.viewers}
        simulation.run()
        for viewer in simulation.viewers:
            lags = sorted(viewer.lags_us)
            played.append(lags[len(lags) // 2] / SECOND)
            settled = viewer.delivery_lags_us[before[viewer] :]
            came += [lag_us / SECOND for lag_us in settled]
    figures = {
        "lag p50": share_at(played, 0.5),
        "lag p99": share_at(played, 0.99),
        "piece p50": share_at(came, 0.5),
        "piece p90": share_at(came, 0.9),
    }
    return {name: value for name, value in figures.items() if value is not None}


def compare(scenario: Scenario, seeds: Iterable[int]) -> None:
    seeds = list(seeds)
    packets = lags_s(scenario, seeds, Links.QUIC)
    messages = lags_s(scenario, seeds, Links.MESSAGES)
    print(f"{'':10}{'packets':>10}{'messages':>10}")  # noqa: T201 - pytest shows it on request.
    for name, value in packets.items():
        print(f"{name:10}{value:10.3f}{messages[name]:10.3f}")  # noqa: T201
    assert len(packets) == 4
    assert messages == pytest.approx(packets, rel=TOLERANCE)


def test_messages_bring_the_lags_that_packets_bring() -> None:
    compare(replace(AT_HOME, viewers=8, seconds=5.0, rate_bps=300_000, join_s=1.0), (1, 2, 3))


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_messages_bring_the_lags_that_packets_bring_to_fifty() -> None:
    compare(AT_HOME, (1,))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_modelled_streams_take_as_long_as_utp() -> None:
    base = FILE_SCENARIOS["files-crowd"]
    scenario = replace(base, viewers=20)
    streams = simulate_file(scenario, 1)  # Of a smaller file, µTP would take its start, mostly.
    utp = simulate_file(scenario, 1, links=Links.PACKETS)
    print(f"last: {streams.done_last_s} s modelled, {utp.done_last_s} s over µTP")  # noqa: T201
    assert streams.done_last_s == pytest.approx(utp.done_last_s, rel=TOLERANCE)
    assert streams.took_p50_s == pytest.approx(utp.took_p50_s, rel=TOLERANCE)
