"""Torrents both ways with aria2, which finds us through our own tracker."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import HERE, TIMEOUT_S, contents, make_data, make_torrent
from tests.interop.test_trackers import our_tracker

pytestmark = pytest.mark.e2e


@contextmanager
def aria2(torrent: Path, folder: Path, url: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run aria2 on one torrent."""
    program = shutil.which("aria2c")
    assert program is not None, "aria2 is in .ci/packages"
    command = [
        program, str(torrent), f"--dir={folder}", f"--bt-tracker={url}", "--no-conf",
        "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--interface=lo",
        "--enable-peer-exchange=false", "--quiet", "--file-allocation=none", *words,
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


async def take_part(torrent: bytes, folder: Path, url: str, until: subprocess.Popen[bytes]) -> None:
    """Take part until our download is complete, or another's process has ended."""
    session = TorrentSession()
    await session.open(HERE)
    try:
        options = TorrentOptions(folder, trackers=(url,))
        ours = await session.add(Metainfo.parse(torrent), options)
        if ours.completed.is_set():
            assert await asyncio.to_thread(until.wait, TIMEOUT_S) == 0
        else:
            await asyncio.wait_for(ours.completed.wait(), TIMEOUT_S)
    finally:
        await session.close()


@pytest.fixture
def torrent(tmp_path: Path) -> Path:
    shared = make_data(tmp_path / "seed")
    path = tmp_path / "t.torrent"
    path.write_bytes(make_torrent(shared, Version.V1))
    return path


def test_aria2_downloads_from_us(tmp_path: Path, torrent: Path) -> None:
    with (
        our_tracker() as (url, _),
        aria2(torrent, tmp_path / "out", url, "--seed-time=0") as leecher,
    ):
        asyncio.run(take_part(torrent.read_bytes(), tmp_path / "seed", url, leecher))
    assert contents(tmp_path / "out" / "many") == contents(tmp_path / "seed" / "many")


def test_we_download_from_aria2(tmp_path: Path, torrent: Path) -> None:
    words = ["--check-integrity=true", "--seed-ratio=0.0"]
    with our_tracker() as (url, _), aria2(torrent, tmp_path / "seed", url, *words) as seed:
        asyncio.run(take_part(torrent.read_bytes(), tmp_path / "out", url, seed))
    assert contents(tmp_path / "out" / "many") == contents(tmp_path / "seed" / "many")
