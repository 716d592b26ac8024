"""Torrents both ways with libtorrent over µTP alone, in trains and without."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from livestream.config import Transport
from livestream.runtime.udp import TRAINS_VARIABLE
from livestream.torrent.create import Version
from tests.interop.peers import contents, download, libtorrent, make_torrent, seed_until

pytestmark = pytest.mark.e2e

SIZE = 12_000_007
VERSIONS = [Version.V1, Version.HYBRID]


@pytest.fixture(autouse=True, params=["1", "0"], ids=["trains", "datagrams"])
def trains(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with GSO and GRO and without."""
    monkeypatch.setenv(TRAINS_VARIABLE, request.param)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return a file to share."""
    path = tmp_path / "seed" / "some.bin"
    path.parent.mkdir()
    path.write_bytes(Random(5).randbytes(SIZE))
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_a_download_from_libtorrent_over_utp_alone_is_identical(
    tmp_path: Path, shared: Path, version: Version
) -> None:
    torrent = make_torrent(shared, version, 1 << 18)
    with libtorrent(Transport.UTP) as seed:
        seed.add(torrent, shared.parent)
        seed.wait_complete()
        asyncio.run(download(torrent, tmp_path / "out", seed.address, Transport.UTP))
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


@pytest.mark.parametrize("version", VERSIONS)
def test_libtorrent_downloads_from_us_over_utp_alone(
    tmp_path: Path, shared: Path, version: Version
) -> None:
    torrent = make_torrent(shared, version, 1 << 18)
    asyncio.run(seed_until(torrent, shared.parent, tmp_path / "out", transport=Transport.UTP))
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


def test_a_capped_download_from_libtorrent_comes_to_its_end(tmp_path: Path, shared: Path) -> None:
    torrent = make_torrent(shared, Version.V1, 1 << 18)
    with libtorrent(Transport.UTP) as seed:
        seed.add(torrent, shared.parent)
        seed.wait_complete()
        transport, cap_bps = Transport.UTP, 40_000_000
        asyncio.run(download(torrent, tmp_path / "out", seed.address, transport, cap_bps))
    assert contents(tmp_path / "out" / shared.name) == contents(shared)
