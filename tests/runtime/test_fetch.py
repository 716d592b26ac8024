"""Fetching what a magnet names: what is missing in the end is said by its name."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from livestream.errors import NotFoundError
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.torrent.create import Version
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import HERE, make_data, make_torrent

TIMEOUT_S = 1.5


async def _fetch(
    known: Metainfo | None, magnet: Magnet, folder: Path, timeout_s: float = TIMEOUT_S
) -> Metainfo:
    """Fetch from a peer that knows so much."""
    peer, session = TorrentSession(), TorrentSession()
    address = await peer.open(HERE)
    await session.open(HERE)
    try:
        if known is not None:
            await peer.add(known, TorrentOptions(folder / "peer"))
        options = TorrentOptions(folder, peers=(address,))
        return await session.fetch(magnet, options, timeout_s)
    finally:
        await session.close()
        await peer.close()


@pytest.fixture
def whole(tmp_path: Path) -> Metainfo:
    return Metainfo.parse(make_torrent(make_data(tmp_path / "data"), Version.V2))


def test_a_v2_magnet_gives_a_torrent_that_can_be_verified(tmp_path: Path, whole: Metainfo) -> None:
    found = asyncio.run(_fetch(whole, Magnet.of(whole), tmp_path))
    assert found.info == whole.info
    assert found.layers == whole.layers
    assert found.is_verifiable


def test_without_anybody_it_is_the_metadata_that_nobody_gave(
    tmp_path: Path, whole: Metainfo
) -> None:
    with pytest.raises(NotFoundError, match="metadata"):
        asyncio.run(_fetch(None, Magnet.of(whole), tmp_path, timeout_s=0.2))


def test_a_peer_without_layers_is_not_enough(tmp_path: Path, whole: Metainfo) -> None:
    bare = Metainfo.from_info(whole.info)
    with pytest.raises(NotFoundError, match="piece hashes"):
        asyncio.run(_fetch(bare, Magnet.of(whole), tmp_path))


def test_why_the_trackers_did_not_help_is_said(tmp_path: Path, whole: Metainfo) -> None:
    magnet = replace(Magnet.of(whole), trackers=("http://127.0.0.1:9/announce",))
    with pytest.raises(NotFoundError, match=r"http://127.0.0.1:9/announce: Connection refused"):
        asyncio.run(_fetch(None, magnet, tmp_path))
