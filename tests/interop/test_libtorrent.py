"""Torrents both ways with libtorrent over TCP: what arrives is what was shared, byte for byte."""

from __future__ import annotations

import asyncio
from pathlib import Path

import libtorrent as lt
import pytest

from livestream.torrent.create import Version
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import (
    PIECE_LENGTH,
    contents,
    download,
    libtorrent,
    make_data,
    make_torrent,
    seed_until,
)

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("is_single", [False, True], ids=["folder", "file"])
@pytest.mark.parametrize("version", list(Version))
def test_a_download_from_libtorrent_is_identical(
    tmp_path: Path, version: Version, is_single: bool
) -> None:
    shared = make_data(tmp_path / "seed", is_single=is_single)
    torrent = make_torrent(shared, version)
    with libtorrent() as seed:
        seed.add(torrent, shared.parent)
        seed.wait_complete()
        asyncio.run(download(torrent, tmp_path / "out", seed.address))
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


@pytest.mark.parametrize("version", list(Version))
def test_libtorrent_downloads_from_us(tmp_path: Path, version: Version) -> None:
    shared = make_data(tmp_path / "seed")
    torrent = make_torrent(shared, version)
    asyncio.run(seed_until(torrent, shared.parent, tmp_path / "out"))
    found = contents(tmp_path / "out" / shared.name)
    wanted = contents(shared)
    assert {name: data for name, data in found.items() if not name.startswith(".pad")} == wanted


@pytest.mark.parametrize("version", list(Version))
def test_a_magnet_gets_its_metadata_from_libtorrent(tmp_path: Path, version: Version) -> None:
    shared = make_data(tmp_path / "seed")
    torrent = make_torrent(shared, version)
    metainfo = Metainfo.parse(torrent)
    with libtorrent() as seed:
        seed.add(torrent, shared.parent)
        seed.wait_complete()
        link = str(Magnet.of(metainfo))
        found = asyncio.run(download(link, tmp_path / "out", seed.address))
    assert found.info == metainfo.info
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


@pytest.mark.parametrize("version", list(Version))
def test_libtorrent_gets_a_magnets_metadata_from_us(tmp_path: Path, version: Version) -> None:
    shared = make_data(tmp_path / "seed")
    torrent = make_torrent(shared, version)
    link = str(Magnet.of(Metainfo.parse(torrent)))
    asyncio.run(seed_until(torrent, shared.parent, tmp_path / "out", link))
    found = contents(tmp_path / "out" / shared.name)
    assert contents(shared).items() <= found.items()


def test_a_torrent_that_libtorrent_made_is_understood(tmp_path: Path) -> None:
    shared = make_data(tmp_path / "seed")
    files = lt.list_files(str(shared))
    creation = lt.create_torrent(files, PIECE_LENGTH)
    lt.set_piece_hashes(creation, str(shared.parent))
    torrent = lt.bencode(creation.generate())
    with libtorrent() as seed:
        seed.add(torrent, shared.parent)
        seed.wait_complete()
        asyncio.run(download(torrent, tmp_path / "out", seed.address))
    assert contents(tmp_path / "out" / shared.name) == contents(shared)
