"""Live swarms whose nodes truly speak QUIC and µTP in the simulator's world."""

from __future__ import annotations

from dataclasses import replace

import pytest

from livestream.machine import SECOND
from livestream.sim.designs import DESIGNS
from livestream.sim.internets import Links
from livestream.sim.packets import PacketHost
from livestream.sim.run import simulate
from livestream.sim.scenario import Scenario
from livestream.sim.simulation import Simulation

SMALL = Scenario(
    "small",
    "a few viewers with good lines",
    viewers=3,
    seconds=4.0,
    rate_bps=300_000,
    uplinks=((1.0, 8.0),),
    publisher_uplink_x=8.0,
    join_s=0.5,
    warm_up_s=1.0,
    churn_per_minute=0.0,
)
TREES = DESIGNS["trees"]


@pytest.mark.parametrize("links", [Links.QUIC, Links.UTP])
def test_everybody_sees_nearly_all_by_either_transport(links: Links) -> None:
    """Once there is who may feed others: nobody does in the first second of a channel."""
    scenario = replace(SMALL, seconds=6.0, warm_up_s=2.5)
    result = simulate(scenario, TREES, 1, links=links)
    assert result.continuity > 0.97
    assert result.bad_pieces_shown == 0


def test_a_seed_is_a_run_in_datagrams_too() -> None:
    """Over µTP: aioquic goes on with streams that shared a packet in the order of a set."""
    scenario = replace(SMALL, seconds=2.0, viewers=2)
    hashes = [simulate(scenario, TREES, seed, links=Links.UTP).trace_hash for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_no_host_sends_more_than_its_line_carries() -> None:
    narrow = replace(SMALL, publisher_uplink_x=1.2, uplinks=((1.0, 1.0),))
    simulation = Simulation(narrow, TREES, 1, Links.QUIC)
    simulation.run()
    hosts = [simulation.publisher, *(viewer.host for viewer in simulation.viewers)]
    for host in hosts:
        assert isinstance(host, PacketHost)
        queue_bytes = 64 * 1024
        carried = host.uplink.rate_bps * SMALL.duration_us // (8 * SECOND)
        assert 0 < host.uplink.bytes_out <= carried + queue_bytes


def test_who_is_cut_off_hears_nothing() -> None:
    simulation = Simulation(SMALL, TREES, 1, Links.QUIC)
    simulation.world.run_until(simulation.began_at + 2 * SECOND)
    viewer = simulation.viewers[0]
    simulation.internet.paths.split({viewer.host.number: 1})
    simulation.world.run_until(simulation.world.now + SECOND // 4)  # What flies still comes.
    before = viewer.host.wire_bytes_in
    simulation.world.run_until(simulation.world.now + SECOND)
    assert viewer.host.wire_bytes_in == before > 0
