"""Why nothing moves, in words: each reason by its name."""

from __future__ import annotations

import asyncio
from pathlib import Path

from livestream.runtime.status import eta_text, rate_text, row_of, why_idle
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from livestream.wire.messages import HaveAll, HaveNone, Unchoke
from tests.interop.peers import HERE, make_data, make_torrent
from tests.runtime.downloads import until
from tests.runtime.rawpeer import Scene, play


def test_peers_that_have_nothing_are_named(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        await stage.meet(HaveNone())
        await stage.until(lambda: stage.peers)
        assert why_idle(stage.torrent) == "none of 1 peers has what is missing"

    play(tmp_path, act)


def test_peers_that_choke_us_are_named_until_one_does_not(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        peer = await stage.meet(HaveAll())
        await stage.meet(HaveNone(), peer_id=b"-XX0000-second.peer.")
        await stage.until(lambda: len(stage.peers) == 2 and any(p.is_wanted for p in stage.peers))
        assert "all 1 peers" in why_idle(stage.torrent)
        assert "choke us" in why_idle(stage.torrent)
        peer.say(Unchoke())
        await stage.until(lambda: not all(p.chokes_us for p in stage.peers))
        assert why_idle(stage.torrent) == "asked, and waiting for data"

    play(tmp_path, act)


def test_nobody_and_no_tracker_is_said_so(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        assert why_idle(stage.torrent) == "no peers, and no tracker to ask"
        row = row_of(stage.torrent)
        assert (row.share, row.peers, row.eta_s) == (0.0, 0, None)

    play(tmp_path, act)


def test_the_trackers_failure_is_in_its_words(tmp_path: Path) -> None:
    metainfo = Metainfo.parse(make_torrent(make_data(tmp_path / "data"), Version.V1))

    async def main() -> str:
        session = TorrentSession()
        await session.open(HERE)
        try:
            tracker = "http://127.0.0.1:9/announce"
            options = TorrentOptions(tmp_path / "out", trackers=(tracker,))
            torrent = await session.add(metainfo, options)
            await until(lambda: all(tier.has_news for tier in torrent.tiers))
            return why_idle(torrent)
        finally:
            await session.close()

    assert asyncio.run(main()) == "no peers: http://127.0.0.1:9/announce: Connection refused"


def test_of_selected_files_the_share_is_of_what_is_wanted(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    metainfo = Metainfo.parse(make_torrent(data, Version.HYBRID))
    numbers = {"/".join(entry.path): number for number, entry in enumerate(metainfo.files)}

    async def main() -> None:
        session = TorrentSession()
        await session.open(HERE)
        try:
            wanted = frozenset({numbers["many/z.bin"]})
            torrent = await session.add(metainfo, TorrentOptions(tmp_path / "out", wanted=wanted))
            assert torrent.wanted_bytes == torrent.left_bytes == 16_384
        finally:
            await session.close()

    asyncio.run(main())


def test_numbers_are_short_for_people() -> None:
    assert [rate_text(bps) for bps in (0, 999, 450_000, 12_345_678)] == [
        "0k",
        "0k",
        "450k",
        "12.3M",
    ]
    seconds = (None, 5, 65, 3_700, 90_000)
    assert [eta_text(each) for each in seconds] == ["", "5s", "1m05s", "1h01m", "1d01h"]
