"""The model of the transport is held against the transport itself, in the same scenarios."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from statistics import median

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
# Delays of one kind: who is whose neighbour is chance, and is not to be what is compared.
STREET = replace(
    AT_HOME,
    viewers=8,
    seconds=5.0,
    rate_bps=300_000,
    join_s=1.0,
    delay_ms_min=30.0,
    delay_ms_max=50.0,
)
# Of the ages of pieces that came over so many links: what is repaired is in the tail, and is rare.
BY_HOPS = ((1, 0.5), (1, 0.9), (2, 0.5), (2, 0.75))


@dataclass(slots=True)
class Lags:
    """What viewers of one or several runs saw, s."""

    played: list[float] = field(default_factory=list)
    "Of each viewer: the median lag of its playout."
    came: list[float] = field(default_factory=list)
    "Of each piece that came to anybody: how old it was."
    by_hops: dict[int, list[float]] = field(default_factory=dict)
    "The same, by how many links it was pushed along."


def lags_of(scenario: Scenario, seeds: Iterable[int], links: Links) -> Lags:
    """Run a scenario with every seed, and put together what was seen after the warm-up."""
    lags = Lags()
    for seed in seeds:
        simulation = Simulation(scenario, DESIGNS["trees"], seed, links)
        simulation.run()
        for viewer in simulation.viewers:
            lags.played.append(median(viewer.lags_us) / SECOND)
            arrivals = zip(viewer.delivery_hops, viewer.delivery_lags_us, strict=True)
            for hops, lag_us in arrivals:
                lags.came.append(lag_us / SECOND)
                lags.by_hops.setdefault(hops, []).append(lag_us / SECOND)
    return lags


def compare(packets: dict[str, float | None], messages: dict[str, float | None]) -> None:
    """Print both, and assert that they agree."""
    print(f"{'':16}{'packets':>10}{'messages':>10}")  # noqa: T201 - pytest shows it on request.
    for name, value in packets.items():
        print(f"{name:16}{value:10.3f}{messages[name]:10.3f}")  # noqa: T201
    assert messages == pytest.approx(packets, rel=TOLERANCE)


def test_messages_bring_the_lags_that_packets_bring() -> None:
    """In small, by the links that a piece went over: how deep trees grow is chance in so few."""
    figures = []
    for links in (Links.QUIC, Links.MESSAGES):
        lags = lags_of(STREET, (1, 2), links)
        figures.append(
            {"lag p50": share_at(lags.played, 0.5), "lag p99": share_at(lags.played, 0.99)}
            | {f"{hops} p{share}": share_at(lags.by_hops[hops], share) for hops, share in BY_HOPS}
        )
    compare(*figures)


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_messages_bring_the_lags_that_packets_bring_to_fifty() -> None:
    figures = []
    for links in (Links.QUIC, Links.MESSAGES):
        lags = lags_of(AT_HOME, (1, 2, 3), links)
        figures.append(
            {f"lag p{share}": share_at(lags.played, share) for share in (0.5, 0.99)}
            | {f"piece p{share}": share_at(lags.came, share) for share in (0.5, 0.9, 0.99)}
        )
    compare(*figures)


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
