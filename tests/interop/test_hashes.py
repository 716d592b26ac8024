"""Piece layers both ways with libtorrent (BEP 52): v2-only magnets, files of any size."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from livestream.torrent.create import Version
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import (
    contents,
    download,
    libtorrent,
    make_torrent,
    seed_until,
)

pytestmark = pytest.mark.e2e

LEAF = 16 * 1024


def make_files(folder: Path, piece_length: int) -> Path:
    """Write files whose piece layers have no hash, two, and more than one message takes."""
    root = folder / "sizes"
    root.mkdir(parents=True)
    rng = Random(3)
    for name, size in (
        ("a-short", 100),
        ("b-leaf", LEAF),
        ("c-piece", piece_length),
        ("d-two", 2 * piece_length),
        ("e-three", 2 * piece_length + 1),
        ("f-512", 512 * piece_length),
        ("g-513", 512 * piece_length + 1),
        ("h-700", 700 * piece_length - 5),
    ):
        (root / name).write_bytes(rng.randbytes(size))
    (root / "i-same").write_bytes((root / "e-three").read_bytes())
    return root


@pytest.mark.parametrize("piece_length", [LEAF, 2 * LEAF])
def test_we_get_a_v2_magnet_from_libtorrent(tmp_path: Path, piece_length: int) -> None:
    shared = make_files(tmp_path / "seed", piece_length)
    torrent = make_torrent(shared, Version.V2, piece_length)
    metainfo = Metainfo.parse(torrent)
    with libtorrent() as seed:
        seed.add(torrent, shared.parent)
        seed.wait_complete()
        found = asyncio.run(download(str(Magnet.of(metainfo)), tmp_path / "out", seed.address))
    assert found.layers == metainfo.layers
    assert contents(tmp_path / "out" / "sizes") == contents(shared)


@pytest.mark.parametrize("piece_length", [LEAF, 2 * LEAF])
def test_libtorrent_gets_a_v2_magnet_from_us(tmp_path: Path, piece_length: int) -> None:
    shared = make_files(tmp_path / "seed", piece_length)
    torrent = make_torrent(shared, Version.V2, piece_length)
    link = str(Magnet.of(Metainfo.parse(torrent)))
    asyncio.run(seed_until(torrent, shared.parent, tmp_path / "out", link))
    assert contents(tmp_path / "out" / "sizes") == contents(shared)


def test_the_v2_hash_alone_gets_a_hybrid_with_its_layers(tmp_path: Path) -> None:
    shared = make_files(tmp_path / "seed", LEAF)
    torrent = make_torrent(shared, Version.HYBRID, LEAF)
    metainfo = Metainfo.parse(torrent)
    link = str(Magnet(info_hash_v2=metainfo.info_hash_v2))
    with libtorrent() as seed:
        seed.add(torrent, shared.parent)
        seed.wait_complete()
        found = asyncio.run(download(link, tmp_path / "out", seed.address))
    assert found.layers == metainfo.layers
    assert contents(tmp_path / "out" / "sizes") == contents(shared)


def test_who_knows_a_hybrid_by_its_v2_hash_alone_gets_it_from_us(tmp_path: Path) -> None:
    """It greets us by that hash: to it the torrent's v1 hash means nothing yet."""
    shared = make_files(tmp_path / "seed", 2 * LEAF)
    torrent = make_torrent(shared, Version.HYBRID, 2 * LEAF)
    link = str(Magnet(info_hash_v2=Metainfo.parse(torrent).info_hash_v2))
    asyncio.run(seed_until(torrent, shared.parent, tmp_path / "out", link))
    assert contents(shared).items() <= contents(tmp_path / "out" / "sizes").items()
