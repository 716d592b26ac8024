"""A folder with one file, made by `create`, both ways with libtorrent, in every version."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from livestream.runtime.creation import Created, CreateOptions, make
from livestream.torrent.create import Version
from tests.interop.peers import download, libtorrent, seed_until

pytestmark = pytest.mark.e2e


def create(folder: Path, version: Version, path: str = "f0") -> tuple[bytes, Created]:
    """Make a folder, x, with one file, and its torrent."""
    whole = folder / "x" / path
    whole.parent.mkdir(parents=True)
    whole.write_bytes(Random(5).randbytes(100_001))
    output = folder / "x.torrent"
    made = make(
        CreateOptions(str(folder / "x"), str(output), version=version), lambda done, count: None
    )
    return output.read_bytes(), made


@pytest.mark.parametrize("path", ["f0", "s/f0"])
@pytest.mark.parametrize("version", list(Version))
def test_libtorrent_finds_the_data_and_we_download_it(
    tmp_path: Path, version: Version, path: str
) -> None:
    torrent, made = create(tmp_path, version, path)
    wanted = path if (version, path) == (Version.V2, "f0") else f"x/{path}"
    with libtorrent() as seed:
        seed.add(torrent, made.folder)
        seed.wait_complete()
        asyncio.run(download(torrent, tmp_path / "out", seed.address))
    assert (tmp_path / "out" / wanted).read_bytes() == (made.folder / wanted).read_bytes()


@pytest.mark.parametrize("version", list(Version))
def test_we_find_the_data_and_libtorrent_downloads_it(tmp_path: Path, version: Version) -> None:
    torrent, made = create(tmp_path, version)
    wanted = "f0" if version is Version.V2 else "x/f0"
    asyncio.run(seed_until(torrent, made.folder, tmp_path / "out"))
    assert (tmp_path / "out" / wanted).read_bytes() == (made.folder / wanted).read_bytes()
