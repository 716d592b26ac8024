"""What `info` learns from trackers and peers, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from aiohttp import web

from livestream.discovery.link import ChannelLink
from livestream.discovery.tracker import TrackerState
from livestream.discovery.udp_tracker import UdpTrackerServer
from livestream.errors import UsageError
from livestream.machine import Address
from livestream.runtime.clock import Clock
from livestream.runtime.description import Inquiry, describe
from livestream.runtime.hashing import find_files, hash_pieces
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.runtime.tracker import HttpTracker
from livestream.runtime.udp_tracker import serve_udp
from livestream.torrent.create import Version, lay_out, to_torrent
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo
from livestream.wire import bencode
from tests.runtime.test_http import until

HERE = Address("127.0.0.1", 0)


@asynccontextmanager
async def tracking() -> AsyncIterator[tuple[TrackerState, Address]]:
    """Run our tracker on HTTP and UDP."""
    clock, state = Clock(), TrackerState(Random(1))
    http = HttpTracker(state, clock.now)
    at = await http.start(HERE.host, 0)
    udp = await serve_udp(UdpTrackerServer(state, Random(2)), at, clock)
    try:
        yield state, at
    finally:
        udp.close()
        await http.stop()


def make_torrent(folder: Path, trackers: tuple[str, ...] = ()) -> Path:
    """Write a file and its torrent."""
    (folder / "data").write_bytes(Random(1).randbytes(200_000))
    files, is_single = find_files(folder / "data")
    layout = lay_out("data", files, 32_768, Version.V1, is_single=is_single)
    path = folder / "data.torrent"
    hashes = hash_pieces(layout, folder, Version.V1)
    path.write_bytes(to_torrent(layout, hashes, Version.V1, trackers=trackers))
    return path


def test_scraping_and_visiting_tell_how_a_swarm_is(tmp_path: Path) -> None:
    torrent = make_torrent(tmp_path)
    metainfo = Metainfo.parse(torrent.read_bytes())

    async def run() -> None:
        session = TorrentSession()
        async with tracking() as (state, at):
            urls = (f"http://{at}/announce", f"udp://{at}")
            address = await session.open(HERE)
            await session.add(metainfo, TorrentOptions(tmp_path, trackers=urls[:1]))
            await until(lambda: state.counts(metainfo.info_hash, 0).seeds == 1)
            broken = f"http://{at}/broken"
            inquiry = Inquiry(
                is_scraping=True, is_visiting=True, trackers=(*urls, broken), peers=(address,)
            )
            magnet = str(Magnet(metainfo.info_hash_v1))
            for source in (str(torrent), magnet):
                told = await describe(source, inquiry)
                assert told["scrape"] == [
                    {"tracker": urls[0], "seeders": 1, "leechers": 0, "downloads": 0},
                    {"tracker": urls[1], "seeders": 1, "leechers": 0, "downloads": 0},
                    {"tracker": broken, "failure": told["scrape"][2]["failure"]},  # type: ignore[index]
                ]
                assert told["swarm"] == [
                    {"address": str(address), "client": "livestream 0.1.0", "percent": 100.0}
                ]
            counts = state.counts(metainfo.info_hash, 0)
            assert (counts.seeds, counts.leechers) == (1, 0), "who only asked has left again"
            await session.close()

    asyncio.run(run())


def test_peers_that_are_not_there_hang_or_hang_up_are_said_to(tmp_path: Path) -> None:
    torrent = make_torrent(tmp_path)

    async def run() -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(hang_up, HERE.host, 0)
        at = Address(*server.sockets[0].getsockname()[:2])
        inquiry = Inquiry(is_visiting=True, peers=(at, Address("127.0.0.1", 1)))
        told = await asyncio.wait_for(describe(str(torrent), inquiry), 10)
        swarm = told["swarm"]
        assert isinstance(swarm, list)
        assert [set(each) for each in swarm] == [{"address", "failure"}] * 2
        assert "refused" in swarm[1]["failure"].lower()
        server.close()
        await server.wait_closed()

    asyncio.run(run())


def test_a_torrent_file_may_name_any_tracker_and_one_from_the_internet_may_not(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path == "/data.torrent":
                return web.Response(body=(tmp_path / "data.torrent").read_bytes())
            entry: dict[bytes, bencode.Value] = {b"complete": 7}
            files: dict[bytes, bencode.Value] = {metainfo.info_hash: entry}
            return web.Response(body=bencode.encode({b"files": files}))

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, HERE.host, 0).start()
        here = f"http://{HERE.host}:{runner.addresses[0][1]}"
        torrent = make_torrent(tmp_path, (f"{here}/some/announce",))
        metainfo = Metainfo.parse(torrent.read_bytes())
        magnet = str(Magnet.of(metainfo))
        asked = Inquiry(is_scraping=True)
        for source, has_counts in (
            (str(torrent), True),
            (f"{here}/data.torrent", False),
            (magnet, False),
        ):
            told = (await describe(source, asked))["scrape"]
            assert isinstance(told, list)
            assert told[0].get("seeders") == (7 if has_counts else None)
            assert ("may not lead" in told[0].get("failure", "")) == (not has_counts)
        named = Inquiry(is_scraping=True, trackers=metainfo.trackers[0])
        told = (await describe(magnet, named))["scrape"]
        assert isinstance(told, list)
        assert [each.get("seeders") for each in told] == [7]
        await runner.cleanup()

    asyncio.run(run())


def test_a_channel_is_scraped_and_its_peers_are_for_watch() -> None:
    async def run() -> None:
        async with tracking() as (_, at):
            link = ChannelLink(bytes(32), "garden", (f"http://{at}/announce",))
            told = await describe(str(link), Inquiry(is_scraping=True))
            assert told["scrape"] == [
                {"tracker": link.trackers[0], "seeders": 0, "leechers": 0, "downloads": 0}
            ]
            with pytest.raises(UsageError, match="watch"):
                await describe(str(link), Inquiry(is_visiting=True))

    asyncio.run(run())
