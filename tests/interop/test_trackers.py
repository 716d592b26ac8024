"""Our tracker with libtorrent, opentracker with us: over HTTP and over UDP."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from livestream.machine import Address
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import HERE, TIMEOUT_S, contents, libtorrent, make_data, make_torrent
from tests.ports import free_address

pytestmark = pytest.mark.e2e


@contextmanager
def our_tracker(*words: str) -> Iterator[tuple[str, str]]:
    """Run `livestream tracker`; yields its two URLs."""
    command = [sys.executable, "-m", "livestream", "tracker", "--listen", "127.0.0.1:0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=10)


@contextmanager
def opentracker(info_hash: bytes) -> Iterator[Address]:
    """Run Debian's opentracker, which serves only what is on its list."""
    program = shutil.which("opentracker")
    assert program is not None, "opentracker is in .ci/packages"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # It reads the list as nobody.
        allowed = folder / "allowed"
        allowed.write_text(info_hash.hex() + "\n")
        address = free_address()
        ports = ["-p", str(address.port), "-P", str(address.port)]
        process = subprocess.Popen(
            [program, "-i", address.host, *ports, "-w", str(allowed)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_listening(address)
            yield address
        finally:
            process.terminate()
            process.wait(10)


def wait_listening(address: Address) -> None:
    """Wait until somebody accepts connections there."""
    until = time.monotonic() + TIMEOUT_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                return
        assert time.monotonic() < until, f"nobody listens at {address}"
        time.sleep(0.02)


async def pair_meets(torrent: bytes, folders: tuple[Path, Path], url: str) -> None:
    """Let a seed and a leecher of ours find each other through a tracker only."""
    metainfo = Metainfo.parse(torrent)
    sessions = TorrentSession(), TorrentSession()
    try:
        for session, folder in zip(sessions, folders, strict=True):
            await session.open(HERE)
            await session.add(metainfo, TorrentOptions(folder, trackers=(url,)))
        leecher = sessions[1].torrents[0]
        await asyncio.wait_for(leecher.completed.wait(), TIMEOUT_S)
    finally:
        for session in sessions:
            await session.close()


@pytest.mark.parametrize("scheme", [0, 1], ids=["http", "udp"])
def test_libtorrent_finds_us_through_our_tracker(tmp_path: Path, scheme: int) -> None:
    shared = make_data(tmp_path / "seed", is_single=True)
    torrent = make_torrent(shared, Version.V1)

    async def seed_and_wait(url: str) -> None:
        session = TorrentSession()
        await session.open(HERE)
        try:
            options = TorrentOptions(shared.parent, trackers=(url,))
            await session.add(Metainfo.parse(torrent), options)
            with libtorrent() as leecher:
                leecher.add(torrent, tmp_path / "out", tracker=url)
                await asyncio.to_thread(leecher.wait_complete)
        finally:
            await session.close()

    with our_tracker() as urls:
        asyncio.run(seed_and_wait(urls[scheme]))
    assert contents(tmp_path / "out") == contents(shared)


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_we_find_each_other_through_opentracker(tmp_path: Path, scheme: str) -> None:
    shared = make_data(tmp_path / "seed", is_single=True)
    torrent = make_torrent(shared, Version.V1)
    with opentracker(Metainfo.parse(torrent).info_hash) as address:
        path = "/announce" if scheme == "http" else ""
        url = f"{scheme}://{address}{path}"
        asyncio.run(pair_meets(torrent, (shared.parent, tmp_path / "out"), url))
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


def test_a_tracker_with_a_list_serves_nothing_else(tmp_path: Path) -> None:
    shared = make_data(tmp_path / "seed", is_single=True)
    torrent = make_torrent(shared, Version.V1)
    allowed = tmp_path / "allowed"
    allowed.write_text("ab" * 20 + "\n")

    async def announce(url: str) -> str:
        session = TorrentSession()
        await session.open(HERE)
        try:
            options = TorrentOptions(shared.parent, trackers=(url,))
            found = await session.add(Metainfo.parse(torrent), options)
            for _ in range(100):
                if found.tiers[0].failure:
                    break
                await asyncio.sleep(0.05)
            return found.tiers[0].failure
        finally:
            await session.close()

    with our_tracker("--allow", str(allowed)) as urls:
        for url in urls:
            assert "does not serve" in asyncio.run(announce(url))
    bad = tmp_path / "bad"
    bad.write_text("not hex\n")
    command = [sys.executable, "-m", "livestream", "tracker", "--allow", str(bad)]
    result = subprocess.run(command, capture_output=True, env=dict(os.environ), check=False)
    assert result.returncode == 2


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_info_scrapes_opentracker_and_visits_libtorrent(tmp_path: Path, scheme: str) -> None:
    shared = make_data(tmp_path / "seed", is_single=True)
    torrent = make_torrent(shared, Version.V1)
    path = tmp_path / "one.torrent"
    path.write_bytes(torrent)
    with opentracker(Metainfo.parse(torrent).info_hash) as address, libtorrent() as seed:
        url = f"{scheme}://{address}" + ("/announce" if scheme == "http" else "")
        where = str(seed.address)
        # Always over HTTP: libtorrent puts UDP trackers off for half a minute now and then.
        seed.add(torrent, shared.parent, tracker=f"http://{address}/announce")
        seed.wait_complete()
        words = ["info", str(path), "--scrape", "--peers", "--tracker", url]
        command = [sys.executable, "-m", "livestream", *words]
        until = time.monotonic() + TIMEOUT_S
        while True:
            result = subprocess.run(
                [*command, "--json"], capture_output=True, text=True, check=True, timeout=60
            )
            told = json.loads(result.stdout)
            if told["scrape"][0].get("seeders") and told["swarm"]:
                break
            assert time.monotonic() < until, told
        assert told["scrape"] == [{"tracker": url, "seeders": 1, "leechers": 0, "downloads": 0}]
        assert [each["address"] for each in told["swarm"]] == [where]
        assert told["swarm"][0]["client"].startswith("libtorrent")
        assert told["swarm"][0]["percent"] == 100
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert f"{url}: 1 seeders, 0 leechers, 0 downloads" in shown.stdout
        assert "100.0 %  libtorrent" in shown.stdout
