"""Readers of a torrent that is still on its way: what they wait for, and what they leave."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from pathlib import Path

from livestream.runtime.playback import Playback
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from tests.interop.peers import HERE
from tests.runtime.downloads import Share, read

READERS = 50


def test_readers_that_leave_while_they_wait_leave_nothing_behind(tmp_path: Path) -> None:
    """A player seeks, and seeks again, while nobody gives a thing."""
    share = Share(tmp_path)
    metainfo = read(share.make("data", 50_000))

    async def leave(playback: Playback) -> None:
        reading = asyncio.create_task(anext(playback.read(0, 50_000)))
        await asyncio.sleep(0)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading

    def futures() -> int:
        gc.collect()
        return sum(isinstance(each, asyncio.Future) for each in gc.get_objects())

    async def main() -> None:
        session = TorrentSession()
        await session.open(HERE)
        try:
            playback = Playback(await session.add(metainfo, TorrentOptions(share.out)))
            await leave(playback)
            before = futures()
            for _ in range(READERS):
                await leave(playback)
            assert futures() < before + READERS // 2
        finally:
            await session.close()

    asyncio.run(main())
