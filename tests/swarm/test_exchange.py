"""Whole swarms in virtual time: everybody gets everything, soon, whoever else is there."""

from __future__ import annotations

from livestream.machine import SECOND
from livestream.sim.contents import Contents
from livestream.swarm.swarm import PeerLeft
from tests.swarm.network import Host, Link, Network

MB = 1_000_000


def test_everybody_completes_and_is_identical() -> None:
    contents = Contents(24)
    for seed in range(5):
        net = Network(contents, seed)
        net.add_seed(link=Link(upload_bps=8 * MB))
        leechers = [net.add(link=Link(upload_bps=8 * MB)) for _ in range(4)]
        net.introduce_all()
        net.run_until_complete(30)
        assert all(host.store.data == contents.data for host in leechers), f"seed {seed}"


def test_a_run_with_the_same_seed_is_the_same_run() -> None:
    def finishes() -> list[int | None]:
        net = Network(Contents(16), 7)
        net.add_seed(link=Link(upload_bps=8 * MB))
        for _ in range(4):
            net.add(link=Link(upload_bps=8 * MB))
        net.introduce_all()
        net.run_until_complete(30)
        return [host.finished_at for host in net.hosts.values()]

    assert finishes() == finishes()


def seconds_of(host: Host, since: int) -> float:
    assert host.finished_at is not None
    return (host.finished_at - since) / SECOND


def test_eight_behind_a_slow_seed_come_close_to_the_fluid_bound() -> None:
    contents = Contents(256)
    size, upload = len(contents.data), MB // 2
    net = Network(contents)
    seed = net.add_seed(upload_bps=8 * upload)
    leechers = [net.add(upload_bps=8 * upload) for _ in range(8)]
    began = net.now
    net.introduce_all()
    bound_s = max(size / upload, 8 * size / (9 * upload))
    net.run_until_complete(3 * bound_s)
    slowest_s = max(seconds_of(host, began) for host in leechers)
    assert slowest_s <= 1.3 * bound_s
    assert seed.swarm.stats.stream_bytes_out <= 1.1 * size


def test_a_free_rider_among_eight_who_give_finishes_last() -> None:
    contents = Contents(256)
    upload = MB // 2
    net = Network(contents)
    net.add_seed(upload_bps=8 * upload)
    givers = [net.add(upload_bps=8 * upload) for _ in range(8)]
    rider = net.add(upload_bps=8_000)
    net.introduce_all()
    assert net.run(90, lambda: any(giver.finished_at for giver in givers))
    least = min(len(giver.kept) for giver in givers)
    assert len(rider.kept) < 0.9 * least, "it is well behind when the first has everything"
    net.run_until_complete(90)
    assert rider.finished_at is not None
    slowest = max(giver.finished_at or 0 for giver in givers)
    assert rider.finished_at > slowest - SECOND, "a last block may be late by that much"


def test_what_a_peer_that_goes_away_owed_comes_from_others() -> None:
    contents = Contents(16)
    net = Network(contents)
    slow = Link(upload_bps=MB)
    leaver, stayer = net.add_seed(link=slow), net.add_seed(link=slow)
    leecher = net.add()
    net.introduce_all()
    assert net.run(10, lambda: len(leecher.kept) == 3)
    owed = [peer.owed for peer in leecher.swarm.block_peers if peer.address == leaver.address]
    assert owed[0], "it goes in the middle"
    net.leave(leaver)
    net.run_until_complete(30, leecher)
    assert leecher.store.data == contents.data
    assert leecher.neighbours in ([], [stayer.address.host])


def test_a_peer_that_stops_giving_holds_nobody_up_for_long() -> None:
    contents = Contents(64)
    net = Network(contents)
    link = Link(upload_bps=4 * MB)
    snubber, honest = net.add_seed(link=link), net.add_seed(link=link)
    leecher = net.add()
    net.introduce_all()
    assert net.run(10, lambda: len(leecher.kept) == 5)
    snubber.is_stalled = True
    began = net.now
    net.run_until_complete(60, leecher)
    alone_s = len(contents.data) * 8 / (4 * MB)
    assert seconds_of(leecher, began) < 1.3 * alone_s + 2
    assert honest.swarm.stats.stream_bytes_out < 1.1 * len(contents.data)


def test_a_jump_gets_a_far_piece_first() -> None:
    contents = Contents(64)
    net = Network(contents)
    net.add_seed(upload_bps=4 * MB)
    net.add_seed(upload_bps=4 * MB)
    leecher = net.add()
    net.introduce_all()
    assert net.run(10, lambda: len(leecher.kept) == 8)
    far = [index for index in range(64) if index not in leecher.store.held][-1]
    before = len(leecher.kept)
    jumped_at = net.now
    net.at(leecher, lambda now: leecher.swarm.set_urgent([far], now, is_jump=True))
    assert net.run(10, lambda: far in leecher.store.held)
    assert net.now - jumped_at < SECOND // 2
    assert len(leecher.kept) - before <= 4, "only what was on its way comes before it"


def test_who_drives_a_node_hears_of_the_peers_of_a_swarm_that_was_left() -> None:
    net = Network(Contents(4))
    net.add_seed(link=Link(upload_bps=MB))
    leecher = net.add()
    net.introduce_all()
    assert net.run(10, lambda: bool(leecher.kept))
    leecher.events.clear()
    net.at(leecher, lambda now: leecher.node.remove_swarm(leecher.swarm, now))
    assert [type(event) for event in leecher.events] == [PeerLeft]
