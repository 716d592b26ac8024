"""Torrents both ways with Transmission, which finds us through our own tracker."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from livestream.machine import Address
from livestream.runtime.torrents import Torrent, TorrentOptions, TorrentSession
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from livestream.wire import bencode
from tests.interop.peers import HERE, TIMEOUT_S, contents, make_data, make_torrent
from tests.interop.test_trackers import our_tracker, wait_listening
from tests.ports import free_address
from tests.runtime.downloads import until

pytestmark = pytest.mark.e2e

SEEDING = 6
SESSION_HEADER = "X-Transmission-Session-Id"


class Transmission:
    """A running daemon, driven by its RPC (HTTP and JSON)."""

    def __init__(self, rpc: Address) -> None:
        self._url = f"http://{rpc}/transmission/rpc"
        self._session_id = ""

    def ask(self, method: str, **arguments: object) -> dict[str, object]:
        """Call a method; the first call is refused, and says which session id to use."""
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        for _ in range(2):
            headers = {SESSION_HEADER: self._session_id}
            request = urllib.request.Request(self._url, body, headers)  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                    fields = json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    self._session_id = error.headers.get(SESSION_HEADER, "")
            else:
                assert fields["result"] == "success", fields
                arguments_out: dict[str, object] = fields["arguments"]
                return arguments_out
        raise AssertionError("no session id was good enough")

    def add(self, torrent: bytes, folder: Path) -> None:
        """Take part in a torrent."""
        metainfo = base64.b64encode(torrent).decode()
        self.ask("torrent-add", **{"metainfo": metainfo, "download-dir": str(folder)})

    def choke_anew(self, folder: Path) -> None:
        """Have it look soon at who wants what, as it does each 10 s, and when a torrent starts."""
        folder.mkdir()
        (folder / "other").write_bytes(bytes(100))
        self.add(make_torrent(folder / "other", Version.V1), folder)

    def wait_announced(self, info_hash: bytes) -> None:
        """Wait until the tracker knows it."""
        self._wait(info_hash, lambda torrent: torrent["trackerStats"][0]["lastAnnounceSucceeded"])

    def wait_seeding(self, info_hash: bytes) -> None:
        """Wait until a torrent is complete."""
        self._wait(
            info_hash,
            lambda torrent: torrent["percentDone"] == 1 and torrent["status"] == SEEDING,
        )

    def _wait(self, info_hash: bytes, is_so: Callable[[dict[str, Any]], bool]) -> None:
        until = time.monotonic() + TIMEOUT_S
        fields = ["percentDone", "status", "errorString", "trackerStats"]
        while True:
            torrents = self.ask("torrent-get", ids=[info_hash.hex()], fields=fields)["torrents"]
            assert isinstance(torrents, list)
            if is_so(torrents[0]):
                return
            assert time.monotonic() < until, torrents
            time.sleep(0.05)


@contextmanager
def transmission(home: Path) -> Iterator[Transmission]:
    """Run a daemon that speaks plain TCP on loopback, and knows nobody but our tracker."""
    program = shutil.which("transmission-daemon")
    assert program is not None, "transmission-daemon is in .ci/packages"
    rpc = free_address()
    home.mkdir()
    settings = {
        "bind-address-ipv4": "127.0.0.1",
        "bind-address-ipv6": "::1",
        "dht-enabled": False,
        "encryption": 0,
        "lpd-enabled": False,
        "peer-port": free_address().port,
        "pex-enabled": False,
        "port-forwarding-enabled": False,
        "rpc-authentication-required": False,
        "rpc-bind-address": rpc.host,
        "rpc-port": rpc.port,
        "utp-enabled": False,
    }
    (home / "settings.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [program, "--foreground", "--config-dir", str(home)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_listening(rpc)
        yield Transmission(rpc)
    finally:
        process.terminate()
        process.wait(20)


def with_tracker(torrent: bytes, url: str) -> bytes:
    """Return a .torrent that names a tracker: the daemon asks no other."""
    fields = bencode.decode(torrent)
    assert isinstance(fields, dict)
    return bencode.encode({**fields, b"announce": url.encode()})


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return make_data(tmp_path / "seed")


async def meet(metainfo: Metainfo, folder: Path, other: Transmission) -> Torrent:
    """Take part until both have it all; returns our part, which is over."""
    session = TorrentSession()
    await session.open(HERE)
    try:
        ours = await session.add(metainfo, TorrentOptions(folder))
        await until(lambda: ours.swarm.ready)
        await asyncio.to_thread(other.choke_anew, folder / "unrelated")
        await asyncio.wait_for(ours.completed.wait(), TIMEOUT_S)
        await asyncio.to_thread(other.wait_seeding, metainfo.info_hash)
    finally:
        await session.close()
    return ours


def test_transmission_downloads_from_us(tmp_path: Path, shared: Path) -> None:
    with our_tracker() as (url, _), transmission(tmp_path / "home") as leecher:
        torrent = with_tracker(make_torrent(shared, Version.V1), url)
        metainfo = Metainfo.parse(torrent)
        leecher.add(torrent, tmp_path / "out")
        leecher.wait_announced(metainfo.info_hash)  # It calls nobody on loopback: we call it.
        ours = asyncio.run(meet(metainfo, shared.parent, leecher))
    assert ours.swarm.stats.stream_bytes_out
    # It makes no files of nothing.
    wanted = {name: data for name, data in contents(shared).items() if data}
    assert contents(tmp_path / "out" / "many") == wanted


def test_we_download_from_transmission(tmp_path: Path, shared: Path) -> None:
    with our_tracker() as (url, _), transmission(tmp_path / "home") as seed:
        torrent = with_tracker(make_torrent(shared, Version.V1), url)
        metainfo = Metainfo.parse(torrent)
        seed.add(torrent, shared.parent)
        seed.wait_seeding(metainfo.info_hash)
        seed.wait_announced(metainfo.info_hash)
        ours = asyncio.run(meet(metainfo, tmp_path / "out", seed))
    assert ours.swarm.stats.pieces_rejected == 0
    assert contents(tmp_path / "out" / "many") == contents(shared)
