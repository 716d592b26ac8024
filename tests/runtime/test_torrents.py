"""A session: what it closes in which order, and whom it takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from livestream.errors import UsageError
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from tests.interop.peers import HERE
from tests.runtime.downloads import Share, read, until


def test_what_a_session_has_when_it_is_closed_in_full_flight_is_not_hashed_again(
    tmp_path: Path,
) -> None:
    """Peers go first: a piece that came during the save would make its file a changed one."""
    share = Share(tmp_path)
    source = share.make("data", 8_000_000)
    metainfo = read(source)
    options = TorrentOptions(share.out, record=tmp_path / "record")

    async def main() -> None:
        async with share.seeding(source) as address:
            first = TorrentSession()
            await first.open(HERE)
            torrent = await first.add(metainfo, options)
            first.add_candidates(torrent.swarm, [address])
            await until(lambda: torrent.store.held.held >= 20)
            await first.close()
        assert torrent.store.held.held < metainfo.piece_count
        second = TorrentSession()
        await second.open(HERE)
        hashed: list[int] = []
        again = await second.add(metainfo, options, lambda done, total: hashed.append(done))
        assert hashed == []
        assert again.store.held.held == torrent.store.held.held
        await second.close()

    asyncio.run(main())


def test_a_torrent_that_was_left_may_come_back(tmp_path: Path) -> None:
    share = Share(tmp_path)
    metainfo = read(share.make("data", 50_000))

    async def main() -> None:
        session = TorrentSession()
        await session.open(HERE)
        try:
            torrent = await session.add(metainfo, TorrentOptions(share.out))
            with pytest.raises(UsageError, match="under way already"):
                await session.add(metainfo, TorrentOptions(share.out))
            await session.remove(torrent)
            assert session.torrents == []
            await session.add(metainfo, TorrentOptions(share.data))
        finally:
            await session.close()

    asyncio.run(main())


def test_a_record_that_cannot_be_written_does_not_break_the_end(tmp_path: Path) -> None:
    share = Share(tmp_path)
    metainfo = read(share.make("data", 50_000))
    (tmp_path / "file").touch()
    options = TorrentOptions(share.data, record=tmp_path / "file" / "record")

    async def main() -> str:
        session = TorrentSession()
        await session.open(HERE)
        torrent = await session.add(metainfo, options)
        await session.close()
        return torrent.save_error

    assert asyncio.run(main())
