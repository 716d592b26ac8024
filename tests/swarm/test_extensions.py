"""What peers say beside pieces, among nodes in virtual time: PEX, partial seeds, lost pieces."""

from __future__ import annotations

from livestream.config import SwarmConfig, Transport
from livestream.machine import SECOND
from livestream.sim.contents import Contents
from livestream.swarm.swarm import PeerLeft
from tests.swarm.network import Network

MB = 1_000_000


def test_peers_of_a_peer_are_met_by_exchange() -> None:
    net = Network(Contents(64))
    seed, first, second = net.add_seed(upload_bps=MB), net.add(), net.add()
    for host in (seed, first, second):
        host.swarm.exchange_peers()
    net.introduce(first, seed)
    net.introduce(second, seed)
    assert net.run(5, lambda: second.address.host in first.neighbours)


def test_private_torrents_do_not_exchange_peers() -> None:
    net = Network(Contents(64))
    seed, first, second = net.add_seed(upload_bps=MB), net.add(), net.add()
    first.swarm.exchange_peers()
    net.introduce(first, seed)
    net.introduce(second, seed)
    net.run(20)
    assert first.neighbours == [seed.address.host]
    (peer,) = seed.swarm.block_peers[:1]
    assert "ut_pex" in peer.extensions, "it was offered, and not taken up"


def test_seeds_hang_up_on_each_other_and_do_not_call_again() -> None:
    net = Network(Contents(4))
    one, other = net.add_seed(), net.add_seed()
    net.introduce_all()
    net.run(600)
    assert one.neighbours == other.neighbours == []
    assert len([event for event in other.events if isinstance(event, PeerLeft)]) <= 2


def test_who_completes_is_done_with_its_seed_but_stays_with_those_who_want_more() -> None:
    contents = Contents(16)
    net = Network(contents)
    seed, fast, slow = net.add_seed(), net.add(upload_bps=MB), net.add()
    net.introduce(fast, seed)
    net.introduce(slow, fast)
    net.run_until_complete(10, fast)
    net.run(3)
    assert fast.neighbours == [slow.address.host]
    net.run_until_complete(60, slow)
    assert slow.store.data == contents.data


def test_partial_seeds_with_nothing_for_each_other_part() -> None:
    net = Network(Contents(8))
    one = net.add(range(4), wanted=range(4))
    other = net.add(range(2, 8), wanted=range(2, 8))
    net.introduce_all()
    net.run(5)
    assert one.swarm.is_complete
    assert other.swarm.is_complete
    assert one.neighbours == other.neighbours == []


def test_a_partial_seed_serves_who_wants_what_it_has() -> None:
    net = Network(Contents(8))
    partial, leecher = net.add(range(4), wanted=range(4)), net.add()
    net.introduce_all()
    assert net.run(10, lambda: leecher.store.held.held == 4)
    (peer,) = leecher.swarm.block_peers
    assert peer.is_upload_only
    assert partial.neighbours == [leecher.address.host]


def test_that_nothing_more_is_wanted_is_told_later_too() -> None:
    net = Network(Contents(8))
    seed, partial, watcher = net.add_seed(), net.add(wanted=range(4)), net.add(wanted=[7])
    net.introduce(partial, seed)
    net.introduce(watcher, partial)
    net.run_until_complete(10, partial)
    (peer,) = watcher.swarm.block_peers
    assert net.run(3, lambda: peer.is_upload_only)


def test_a_lost_piece_is_taken_back_and_asked_of_others() -> None:
    contents = Contents(8)
    net = Network(contents)
    loser, leecher = net.add_seed(), net.add()
    loser.store.lose(5)
    net.introduce(leecher, loser)
    assert net.run(10, lambda: len(leecher.kept) == 7)
    net.run(2)
    (peer,) = leecher.swarm.block_peers
    assert peer.pieces.held == 7
    assert not peer.is_wanted, "it has nothing more of use"
    assert not peer.owed
    other = net.add_seed()
    net.introduce(leecher, other)
    net.run_until_complete(10, leecher)
    assert leecher.store.data == contents.data


def test_a_piece_that_is_lost_after_all_was_here_is_had_from_others_again() -> None:
    contents = Contents(8)
    net = Network(contents)
    seed, loser = net.add_seed(), net.add()
    net.introduce(loser, seed)
    net.run_until_complete(10, loser)
    net.run(5)
    assert loser.neighbours == [], "seeds hang up on each other"
    loser.store.lose(5)
    loser.store.held.discard(5)
    net.at(loser, lambda now: loser.swarm.want_again([5], now))
    assert not loser.swarm.is_complete
    net.run_until_complete(90, loser)
    assert loser.store.data == contents.data


def test_whoever_loses_more_than_peers_listen_to_greets_them_anew() -> None:
    net = Network(Contents(200))
    loser, leecher = net.add_seed(upload_bps=MB), net.add()
    net.introduce(leecher, loser)
    assert net.run(10, lambda: bool(leecher.kept))
    lost = range(20, 150)
    for index in lost:
        loser.store.lose(index)
        loser.store.held.discard(index)
    net.at(loser, lambda now: loser.swarm.on_pieces_lost(lost, now))
    net.run(10)
    (peer,) = leecher.swarm.block_peers
    assert peer.pieces.held == 70


def test_peers_with_nothing_to_say_keep_each_other_by_empty_messages() -> None:
    net = Network(Contents(4))
    one, other = net.add(), net.add()
    net.introduce_all()
    net.run(1_000)
    assert one.neighbours == [other.address.host]
    assert not [event for event in one.events if isinstance(event, PeerLeft)]


def test_a_peer_that_says_nothing_at_all_is_let_go() -> None:
    net = Network(Contents(4))
    one, other = net.add(), net.add()
    net.introduce_all()
    net.run(5)
    other.is_stalled = True
    net.run(300)
    assert one.neighbours == []


def test_newcomers_that_are_choked_get_their_allowed_pieces_and_no_more() -> None:
    net = Network(Contents(64))
    seed = net.add_seed(upload_bps=64 * MB)  # What everybody has already goes last.
    leechers = [net.add() for _ in range(12)]
    for host in leechers:
        net.introduce(host, seed)
    net.run(1)
    choked = [host for host in leechers if all(peer.chokes_us for peer in host.swarm.block_peers)]
    assert len(choked) >= 3
    net.run(4)
    for host in choked:
        (peer,) = host.swarm.block_peers
        assert 0 < len(host.kept) <= 10
        assert {index for _, index in host.kept} <= set(peer.fast)


def test_a_full_swarm_replaces_who_gives_least() -> None:
    contents = Contents(64)
    net = Network(contents)
    config = SwarmConfig(
        transport=Transport.TCP,
        neighbours_wanted=4,
        peers_max=4,
        attempts_max=4,
        silence_max_us=180 * SECOND,
    )
    leecher = net.add(config=config)
    idle = [net.add(wanted=[]) for _ in range(4)]
    net.introduce(leecher, *idle)
    net.run(10)
    assert len(leecher.neighbours) == 4
    seed = net.add_seed()
    net.introduce(leecher, seed)
    net.run(200)
    assert not leecher.store.held.held, "there is no place yet"
    net.run_until_complete(150, leecher)
