"""What libtorrent makes of our words beside pieces: partial seeds, and who else is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import libtorrent as lt
import pytest

from livestream.machine import Address
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import HERE, Libtorrent, libtorrent, make_data, make_torrent

pytestmark = pytest.mark.e2e

TIMEOUT_S = 15


async def until(is_so: Callable[[], object]) -> None:
    async def poll() -> None:
        while not is_so():  # noqa: ASYNC110 - libtorrent tells by being asked.
            await asyncio.sleep(0.02)

    await asyncio.wait_for(poll(), TIMEOUT_S)


def test_libtorrent_hears_that_we_want_nothing_more(tmp_path: Path) -> None:
    shared = make_data(tmp_path / "seed")
    torrent = make_torrent(shared, Version.V1)
    metainfo = Metainfo.parse(torrent)

    async def run(leecher: Libtorrent) -> None:
        partial, seed = TorrentSession(), TorrentSession()
        await partial.open(HERE)
        await seed.open(HERE)
        try:
            options = TorrentOptions(tmp_path / "part", wanted=frozenset({0}))
            ours = await partial.add(metainfo, options)
            here = Address("127.0.0.1", partial.tcp.address.port)
            leecher.add(torrent, tmp_path / "out", peers=[here])
            assert leecher.handle is not None
            leecher.handle.set_download_limit(50_000)  # It is to want something to the end.

            def what_it_heard() -> list[bool]:
                return [
                    bool(peer.flags & lt.peer_info.upload_only)
                    for peer in leecher.peers()
                    if peer.ip == here
                ]

            await until(lambda: ours.swarm.ready and what_it_heard() == [False])
            await seed.add(metainfo, TorrentOptions(shared.parent))
            partial.add_candidates(ours.swarm, [Address("127.0.0.1", seed.tcp.address.port)])
            await asyncio.wait_for(ours.completed.wait(), TIMEOUT_S)
            await until(lambda: what_it_heard() == [True])
        finally:
            await partial.close()
            await seed.close()

    with libtorrent() as leecher:
        asyncio.run(run(leecher))


def test_libtorrent_and_we_learn_of_each_other_by_exchange(tmp_path: Path) -> None:
    """It knows our seed only, and so do we."""
    shared = make_data(tmp_path / "seed")
    torrent = make_torrent(shared, Version.V1)
    metainfo = Metainfo.parse(torrent)

    async def run(leecher: Libtorrent) -> None:
        seed, other = TorrentSession(upload_bps=80_000), TorrentSession()
        await seed.open(HERE)
        await other.open(HERE)
        here = Address("127.0.0.1", seed.tcp.address.port)
        try:
            await seed.add(metainfo, TorrentOptions(shared.parent))
            leecher.add(torrent, tmp_path / "out", peers=[here])
            await until(lambda: len(seed.torrents[0].swarm.ready) == 1)
            ours = await other.add(metainfo, TorrentOptions(tmp_path / "ours", peers=(here,)))
            await until(lambda: len(ours.swarm.ready) == 2)
            clients = [peer.client for peer in ours.swarm.block_peers]
            assert any("libtorrent" in client.lower() for client in clients)
        finally:
            await seed.close()
            await other.close()

    with libtorrent() as leecher:
        asyncio.run(run(leecher))
