"""The model of TCP: bytes in order, the uplink shared in turns, ends that are told."""

from __future__ import annotations

from dataclasses import replace

from livestream.machine import SECOND
from livestream.sim.filescenario import FILE_SCENARIOS
from livestream.sim.filesimulation import FileSimulation
from livestream.sim.streams import segments_size

SMALL = replace(
    FILE_SCENARIOS["files-crowd"],
    viewers=4,
    pieces=16,
    join_s=0.2,
    seed_uplink_bps=4_000_000,
    uplinks=((1.0, 1_000_000),),
)


def test_headers_are_those_of_full_segments() -> None:
    assert segments_size(1448) == 1500
    assert segments_size(1449) == 1449 + 2 * 52


def test_an_uplink_is_full_while_there_is_demand_and_never_more_than_full() -> None:
    simulation = FileSimulation(SMALL, 1)
    simulation.world.run_until(simulation.began_at + 2 * SECOND)
    before = simulation.origin.host.uplink.bytes_out
    simulation.world.run_until(simulation.world.now + SECOND)
    sent = simulation.origin.host.uplink.bytes_out - before
    assert 0.95 * 500_000 <= sent <= 500_000 + segments_size(64 * 1024)


def test_peers_of_a_host_that_vanishes_hear_of_it() -> None:
    simulation = FileSimulation(SMALL, 1)
    simulation.world.run_until(simulation.began_at + 2 * SECOND)
    gone = simulation.downloaders[0]
    others = simulation.downloaders[1:]
    name = gone.host.address.host
    assert any(peer.address.host == name for each in others for peer in each.swarm.block_peers)
    gone.left_at = simulation.world.now
    gone.host.crash()
    simulation.world.run_until(simulation.world.now + SECOND)
    assert not any(peer.address.host == name for each in others for peer in each.swarm.block_peers)


def test_losses_delay_bytes_and_change_none() -> None:
    """One uplink that is always full: what it has to send again, it sends at the file's cost."""
    alone = replace(SMALL, viewers=1)
    clean = FileSimulation(alone, 1)
    clean.run()
    lossy = FileSimulation(replace(alone, loss=0.05), 1)
    lossy.run()
    for simulation in (clean, lossy):
        assert simulation.is_over
        assert all(each.swarm.stats.pieces_rejected == 0 for each in simulation.downloaders)
    wire = clean.origin.host.uplink.bytes_out
    assert 1.03 * wire <= lossy.origin.host.uplink.bytes_out <= 1.08 * wire
    assert lossy.world.now - lossy.began_at > clean.world.now - clean.began_at
