"""Files of a torrent over HTTP: ranges, and bytes that are still on their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from livestream.machine import Address
from livestream.runtime.playback import Playback
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import contents, make_data, make_torrent
from viewer.play import Theatre, main_file
from viewer.web.server import WebServer
from viewer.web.torrent import TorrentPage

HERE = Address("127.0.0.1", 0)
A_BIN = 0  # 300,001 bytes, ten pieces of 32 KiB.
C_BIN = "deep/c.bin"


class Shown(Theatre):
    """Torrents without a player."""

    def __init__(self, playbacks: dict[str, Playback]) -> None:
        super().__init__(HERE, "none")
        self._playbacks = playbacks


@asynccontextmanager
async def serving(
    folder: Path, data: Path, *, wanted: frozenset[int] | None = None
) -> AsyncIterator[tuple[str, TorrentSession, Playback]]:
    """Serve what is in `folder` of the torrent of `data`; yields the URL of its files."""
    metainfo = Metainfo.parse(make_torrent(data, Version.HYBRID))
    session = TorrentSession()
    await session.open(HERE)
    playback = Playback(await session.add(metainfo, TorrentOptions(folder, wanted=wanted)))
    page = TorrentPage(Shown({metainfo.info_hash.hex(): playback}))
    server = WebServer(page, "127.0.0.1", 0, is_port_explicit=True)
    url = await server.start()
    try:
        yield f"{url}t/{metainfo.info_hash.hex()}/stream/", session, playback
    finally:
        await server.stop()
        await session.close()


Check = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


def check(tmp_path: Path, work: Check, *, wanted: frozenset[int] | None = None) -> None:
    async def run() -> None:
        data = make_data(tmp_path / "seed")
        async with (
            serving(data.parent, data, wanted=wanted) as (url, _, _),
            aiohttp.ClientSession() as http,
        ):
            await work(http, url)

    asyncio.run(run())


def test_a_whole_file_and_its_ranges(tmp_path: Path) -> None:
    async def work(http: aiohttp.ClientSession, url: str) -> None:
        whole = contents(tmp_path / "seed" / "many")["a.bin"]
        async with http.get(f"{url}{A_BIN}") as answer:
            assert answer.status == 200
            assert answer.headers["Accept-Ranges"] == "bytes"
            assert await answer.read() == whole
        for asked, start, stop in (
            ("bytes=0-0", 0, 1),
            ("bytes=32760-98310", 32_760, 98_311),
            ("bytes=300000-", 300_000, 300_001),
            ("bytes=-7", 299_994, 300_001),
            ("bytes=299990-999999999", 299_990, 300_001),
        ):
            async with http.get(f"{url}{A_BIN}", headers={"Range": asked}) as answer:
                assert answer.status == 206, asked
                assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/300001"
                assert await answer.read() == whole[start:stop]

    check(tmp_path, work)


def test_what_cannot_be_had_is_said_with_the_right_status(tmp_path: Path) -> None:
    async def work(http: aiohttp.ClientSession, url: str) -> None:
        async with http.get(f"{url}{A_BIN}", headers={"Range": "bytes=300001-"}) as answer:
            assert answer.status == 416
            assert answer.headers["Content-Range"] == "bytes */300001"
        async with http.get(f"{url}{A_BIN}", headers={"Range": "furlongs=1-2"}) as answer:
            assert answer.status == 200
        async with http.head(f"{url}{A_BIN}") as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, "300001")
        other = url.replace("/t/", "/t/0")
        for missing in (f"{url}999", f"{url}1", f"{other}{A_BIN}"):
            async with http.get(missing) as answer:
                assert answer.status == 404, missing

    check(tmp_path, work, wanted=frozenset({A_BIN}))


def test_bytes_are_sent_as_their_pieces_come_and_they_are_asked_for_first(tmp_path: Path) -> None:
    async def run() -> None:
        data = make_data(tmp_path / "seed")
        seed = TorrentSession(upload_bps=4_000_000)
        address = await seed.open(HERE)
        metainfo = Metainfo.parse(make_torrent(data, Version.HYBRID))
        await seed.add(metainfo, TorrentOptions(data.parent))
        try:
            async with (
                serving(tmp_path / "out", data) as (url, session, playback),
                aiohttp.ClientSession() as http,
            ):
                number = main_file(playback.torrent)
                entry = metainfo.files[number]
                headers = {"Range": "bytes=560000-560999"}
                async with http.get(f"{url}{number}", headers=headers) as answer:
                    assert answer.status == 206, "before anything is here"
                    session.add_candidates(playback.torrent.swarm, [address])
                    part = await asyncio.wait_for(answer.read(), 20)
                    assert part == contents(data)[C_BIN][560_000:561_000]
                    assert "/".join(entry.path).endswith(C_BIN)
                    assert playback.torrent.store.held.held < metainfo.piece_count
        finally:
            await seed.close()

    asyncio.run(run())


def test_a_strangers_page_or_script_does_not_run_as_ours(tmp_path: Path) -> None:
    async def run() -> None:
        data = tmp_path / "many"
        data.mkdir()
        names = ("code.js", "drawing.svg", "film.mp4", "page.html")
        for name in names:
            (data / name).write_bytes(b"x")
        async with serving(tmp_path, data) as (url, _, playback), aiohttp.ClientSession() as http:
            kinds = {}
            for number, entry in enumerate(playback.torrent.metainfo.files):
                async with http.head(f"{url}{number}") as answer:
                    kinds[entry.path[-1]] = answer.headers["Content-Type"]
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
        inert = "application/octet-stream"
        assert [kinds[name] for name in names] == [inert, inert, "video/mp4", inert]

    asyncio.run(run())
