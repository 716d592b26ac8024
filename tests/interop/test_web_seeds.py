"""Web seeds as others understand them: the same torrents, the same URLs, the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import libtorrent as lt
import pytest

from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.torrent.create import Version
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo
from livestream.wire import bencode
from tests.interop.peers import (
    HERE,
    PIECE_LENGTH,
    TIMEOUT_S,
    contents,
    libtorrent,
    make_data,
    make_torrent,
)
from tests.runtime.webserver import FileServer, serving

pytestmark = pytest.mark.e2e


def with_seed(torrent: bytes, url: str) -> bytes:
    outer = bencode.decode(torrent)
    assert isinstance(outer, dict)
    return bencode.encode({**outer, b"url-list": [url.encode()]})


def served(folder: Path, use: Callable[[str], Awaitable[None]]) -> FileServer:
    """Run something while the files below a folder are on the web."""
    server = FileServer(folder)

    async def main() -> None:
        async with serving(server) as url:
            await use(url)

    asyncio.run(main())
    return server


async def download(torrent: bytes, out: Path) -> None:
    session = TorrentSession()
    await session.open(HERE)
    try:
        added = await session.add(Metainfo.parse(torrent), TorrentOptions(out))
        await asyncio.wait_for(added.completed.wait(), TIMEOUT_S)
    finally:
        await session.close()


@pytest.mark.parametrize("is_single", [False, True], ids=["folder", "file"])
@pytest.mark.parametrize("is_v1", [False, True], ids=["hybrid", "v1"])
def test_a_torrent_with_web_seeds_that_libtorrent_made(
    tmp_path: Path, is_single: bool, is_v1: bool
) -> None:
    shared = make_data(tmp_path / "seed", is_single=is_single)
    files = lt.list_files(str(shared))
    flags = lt.create_torrent.v1_only if is_v1 else 0
    creation = lt.create_torrent(files, PIECE_LENGTH, flags)
    lt.set_piece_hashes(creation, str(shared.parent))

    async def use(url: str) -> None:
        creation.add_url_seed(url)
        await download(lt.bencode(creation.generate()), tmp_path / "out")

    assert served(shared.parent, use).asked
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


@pytest.mark.parametrize("is_single", [False, True], ids=["folder", "file"])
@pytest.mark.parametrize("version", list(Version))
def test_libtorrent_asks_a_web_server_for_the_same_files(
    tmp_path: Path, version: Version, is_single: bool
) -> None:
    shared = make_data(tmp_path / "seed", is_single=is_single)
    torrent = make_torrent(shared, version)

    async def use_theirs(url: str) -> None:
        with libtorrent() as leecher:
            leecher.add(with_seed(torrent, url), tmp_path / "theirs")
            await asyncio.to_thread(leecher.wait_complete)

    async def use_ours(url: str) -> None:
        await download(with_seed(torrent, url), tmp_path / "ours")

    theirs = {path for path, _ in served(shared.parent, use_theirs).asked}
    ours = {path for path, _ in served(shared.parent, use_ours).asked}
    assert ours == theirs
    assert contents(tmp_path / "ours" / shared.name) == contents(shared)


def test_a_magnet_that_names_a_web_seed(tmp_path: Path) -> None:
    """Goal: metadata from a peer that has none of the data, and the data from the web."""
    shared = make_data(tmp_path / "seed")
    torrent = make_torrent(shared, Version.HYBRID)

    async def use(url: str) -> None:
        link = str(Magnet.of(Metainfo.parse(with_seed(torrent, url))))
        with libtorrent() as peer:
            peer.add(torrent, tmp_path / "nothing")
            session = TorrentSession()
            await session.open(HERE)
            try:
                options = TorrentOptions(tmp_path / "out", peers=(peer.address,))
                metainfo = await session.fetch(Magnet.parse(link), options, TIMEOUT_S)
                alone = TorrentOptions(tmp_path / "out")
                added = await session.add(metainfo, alone)
                await asyncio.wait_for(added.completed.wait(), TIMEOUT_S)
            finally:
                await session.close()

    served(shared.parent, use)
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


def test_aria2_downloads_a_torrent_of_ours_from_a_web_server(tmp_path: Path) -> None:
    shared = make_data(tmp_path / "seed")
    torrent = tmp_path / "t.torrent"

    async def use(url: str) -> None:
        torrent.write_bytes(with_seed(make_torrent(shared, Version.V1), url))
        process = await asyncio.create_subprocess_exec(
            "aria2c", f"--dir={tmp_path / 'out'}", "--seed-time=0", "--enable-dht=false",
            "--enable-dht6=false", "--bt-enable-lpd=false", "--interface=lo", "--no-conf",
            "--quiet", "--file-allocation=none", str(torrent),
        )  # fmt: skip
        try:
            assert await asyncio.wait_for(process.wait(), TIMEOUT_S) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    assert served(shared.parent, use).asked
    assert contents(tmp_path / "out" / shared.name) == contents(shared)
