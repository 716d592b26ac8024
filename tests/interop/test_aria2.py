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
from tests.interop.peers import HERE, PIECE_LENGTH, TIMEOUT_S, contents, make_data, make_torrent
from tests.interop.test_trackers import our_tracker

pytestmark = pytest.mark.e2e

Process = subprocess.Popen[bytes]


@contextmanager
def aria2(torrent: Path, folder: Path, url: str, *words: str) -> Iterator[Process]:
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


async def take_part(torrent: bytes, folder: Path, url: str, until: Process) -> None:
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


def make_shared(folder: Path, piece_length: int) -> Path:
    """Make a folder of data and its torrent; returns the latter."""
    path = folder / "t.torrent"
    path.write_bytes(make_torrent(make_data(folder / "seed"), Version.V1, piece_length))
    return path


def test_aria2_downloads_from_us_and_we_from_it(tmp_path: Path) -> None:
    """Two torrents, each with an aria2 of its own, at once: it begins and ends slowly."""
    up, down = tmp_path / "up", tmp_path / "down"
    up.mkdir()
    down.mkdir()
    given, got = make_shared(up, PIECE_LENGTH), make_shared(down, 2 * PIECE_LENGTH)

    async def both(url: str, leecher: Process, seed: Process) -> None:
        await asyncio.gather(
            take_part(given.read_bytes(), up / "seed", url, leecher),
            take_part(got.read_bytes(), down / "out", url, seed),
        )

    words = ["--check-integrity=true", "--seed-ratio=0.0"]
    with (
        our_tracker() as (url, _),
        aria2(given, up / "out", url, "--seed-time=0") as leecher,
        aria2(got, down / "seed", url, *words) as seed,
    ):
        asyncio.run(both(url, leecher, seed))
    for folder in (up, down):
        assert contents(folder / "out" / "many") == contents(folder / "seed" / "many")
