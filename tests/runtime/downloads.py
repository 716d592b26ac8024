"""The download command in this process, against a session of ours that seeds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

from livestream.machine import Address
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.runtime.transfer import TransferOptions
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import HERE, make_torrent

TIMEOUT_S = 30


async def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so."""

    async def poll() -> None:
        while not is_so():  # noqa: ASYNC110 - what is waited for is told to people, or on disk.
            await asyncio.sleep(0.002)

    await asyncio.wait_for(poll(), TIMEOUT_S)


class Share:
    """Torrents of one file each: their data in one folder, their .torrent files in another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.out = folder / "out"
        self.data.mkdir(parents=True)

    def make(self, name: str, size: int) -> str:
        """Write a file and its torrent; returns the path of the latter."""
        (self.data / name).write_bytes(Random(name).randbytes(size))
        path = self.folder / f"{name}.torrent"
        path.write_bytes(make_torrent(self.data / name, Version.V1))
        return str(path)

    def is_same(self, name: str) -> bool:
        """Whether the download is what it should be."""
        return (self.out / name).read_bytes() == (self.data / name).read_bytes()

    def options(self, *sources: str, peer: Address | None = None) -> TransferOptions:
        """Return a download to `out` that ends when it is done."""
        made = TransferOptions(sources, self.out, listen=HERE, seed_time_s=0.0)
        return made if peer is None else replace(made, peers=(peer,))

    @asynccontextmanager
    async def seeding(self, *sources: str, upload_bps: int | None = None) -> AsyncIterator[Address]:
        """Share torrents; yields where."""
        session = TorrentSession(upload_bps=upload_bps)
        address = await session.open(HERE)
        try:
            for metainfo in map(read, sources):
                await session.add(metainfo, TorrentOptions(self.data))
            yield address
        finally:
            await session.close()


def read(source: str) -> Metainfo:
    """Read a .torrent file."""
    return Metainfo.parse(Path(source).read_bytes())
