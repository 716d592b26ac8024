"""Downloads from real web servers on loopback, good ones and bad ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import web

from livestream.machine import Address
from livestream.runtime.torrents import Torrent, TorrentOptions, TorrentSession
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import HERE, contents, make_data, make_torrent
from tests.runtime.webserver import Answering, FileServer, serving

TIMEOUT_S = 20


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return make_data(tmp_path / "seed")


@asynccontextmanager
async def session() -> AsyncIterator[tuple[TorrentSession, Address]]:
    made = TorrentSession()
    address = await made.open(HERE)
    try:
        yield made, address
    finally:
        await made.close()


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(100 * TIMEOUT_S):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never was")


def with_seeds(shared: Path, *urls: str, version: Version = Version.HYBRID) -> Metainfo:
    return replace(Metainfo.parse(make_torrent(shared, version)), web_seeds=urls)


async def complete(torrent: Torrent) -> None:
    await asyncio.wait_for(torrent.completed.wait(), TIMEOUT_S)


async def download(metainfo: Metainfo, out: Path, *peers: Address) -> TorrentSession:
    """Download to the end; returns the session, which is closed."""
    async with session() as (mine, _):
        await complete(await mine.add(metainfo, TorrentOptions(out, peers=peers)))
    return mine


async def failure(metainfo: Metainfo, out: Path) -> str:
    """Return why the only web seed of a torrent is out of use."""
    async with session() as (mine, _):
        await mine.add(metainfo, TorrentOptions(out))
        await until(lambda: bool(mine.web_seed_failures()))
        (reason,) = mine.web_seed_failures()
        assert not mine.torrents[0].swarm.ready
    return reason


@pytest.mark.parametrize("is_single", [False, True], ids=["folder", "file"])
@pytest.mark.parametrize("version", list(Version))
def test_a_web_server_alone_gives_it_all(tmp_path: Path, version: Version, is_single: bool) -> None:
    """Padding too, which no server has."""
    shared = make_data(tmp_path / "seed", is_single=is_single)
    server = FileServer(shared.parent)

    async def main() -> TorrentSession:
        async with serving(server) as url:
            metainfo = with_seeds(shared, url, version=version)
            assert any(entry.is_padding for entry in metainfo.files) is (
                version is not Version.V1 and not is_single
            )
            return await download(metainfo, tmp_path / "out")

    mine = asyncio.run(main())
    assert contents(tmp_path / "out" / shared.name) == contents(shared)
    assert not any(".pad" in path for path, _ in server.asked)
    assert list(server.encodings) == ["identity"]
    stats = mine.torrents[0].swarm.stats
    assert stats.pieces_duplicate == 0
    assert stats.payload_bytes == sum(
        mine.torrents[0].metainfo.piece_size(index)
        - mine.torrents[0].metainfo.padding_size(index) // 16_384 * 16_384
        for index in range(mine.torrents[0].metainfo.piece_count)
    )
    real = sum(len(data) for data in contents(shared).values())
    assert mine.bytes_in == real


def test_a_web_server_and_a_peer_share_the_work(tmp_path: Path, shared: Path) -> None:
    server = FileServer(shared.parent)

    async def main() -> None:
        async with serving(server) as url, session() as (other, address):
            metainfo = with_seeds(shared, url)
            await other.add(replace(metainfo, web_seeds=()), TorrentOptions(shared.parent))
            mine = await download(metainfo, tmp_path / "out", address)
            assert mine.torrents[0].swarm.stats.pieces_rejected == 0

    asyncio.run(main())
    assert contents(tmp_path / "out" / shared.name) == contents(shared)
    assert server.asked


def test_only_the_selected_files_are_fetched(tmp_path: Path, shared: Path) -> None:
    server = FileServer(shared.parent)

    async def main() -> None:
        async with serving(server) as url, session() as (mine, _):
            metainfo = with_seeds(shared, url)
            number = next(n for n, e in enumerate(metainfo.files) if e.path[-1] == "c.bin")
            options = TorrentOptions(tmp_path / "out", wanted=frozenset({number}))
            await complete(await mine.add(metainfo, options))

    asyncio.run(main())
    assert {path for path, _ in server.asked} == {"/many/deep/c.bin"}
    assert contents(tmp_path / "out" / "many") == {"deep/c.bin": contents(shared)["deep/c.bin"]}


def test_a_complete_torrent_asks_no_web_server(tmp_path: Path, shared: Path) -> None:
    server = FileServer(shared.parent)

    async def main() -> None:
        async with serving(server) as url, session() as (mine, _):
            torrent = await mine.add(with_seeds(shared, url), TorrentOptions(shared.parent))
            await complete(torrent)
            await asyncio.sleep(0.5)
            assert not torrent.swarm.ready

    asyncio.run(main())
    assert not server.asked


def test_a_server_without_ranges_gives_small_files(tmp_path: Path, shared: Path) -> None:
    class Whole(FileServer):
        async def respond(self, request: web.Request) -> web.StreamResponse:
            data = self.data(request)
            return web.Response(body=data) if data is not None else web.Response(status=404)

    server = Whole(shared.parent)

    async def main() -> None:
        async with serving(server) as url:
            await download(with_seeds(shared, url), tmp_path / "out")

    asyncio.run(main())
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


def test_redirects_are_followed(tmp_path: Path, shared: Path) -> None:
    server = FileServer(shared.parent)

    async def main() -> None:
        async with serving(server) as real:
            mirror = Answering(
                shared.parent,
                lambda request: web.Response(
                    status=302, headers={"Location": f"{real.rstrip('/')}{request.raw_path}"}
                ),
            )
            async with serving(mirror) as url:
                await download(with_seeds(shared, url), tmp_path / "out")

    asyncio.run(main())
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


def short(request: web.Request) -> web.StreamResponse:
    response = web.Response(status=206, body=b"x" * 10)
    value = request.headers["Range"].removeprefix("bytes=")
    response.headers["Content-Range"] = f"bytes {value}/*"
    return response


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda request: web.Response(status=404), "HTTP status 404"),
        (lambda request: web.Response(status=416), "HTTP status 416"),
        (lambda request: web.Response(status=500), "HTTP status 500"),
        (
            lambda request: web.Response(status=302, headers={"Location": request.path}),
            "more than 5 redirects",
        ),
        (
            lambda request: web.Response(status=302, headers={"Location": "file:///etc/passwd"}),
            "no web address",
        ),
        (
            lambda request: web.Response(
                status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"}
            ),
            "special address",
        ),
        (short, "bytes early"),
    ],
    ids=["404", "416", "500", "loop", "scheme", "inside", "short"],
)
def test_a_server_that_gives_nothing_is_left_alone_and_it_is_said_why(
    tmp_path: Path,
    shared: Path,
    answer: Callable[[web.Request], web.StreamResponse],
    expected: str,
) -> None:
    server = Answering(shared.parent, answer)

    async def main() -> str:
        async with serving(server) as url:
            reason = await failure(with_seeds(shared, url), tmp_path / "out")
            assert url in reason
        return reason

    assert expected in asyncio.run(main())
    assert len(server.asked) <= 2 * 6, "two fetches, five redirects each"


def test_a_connection_that_breaks_in_a_body_ends_it(tmp_path: Path, shared: Path) -> None:
    class Breaking(FileServer):
        async def respond(self, request: web.Request) -> web.StreamResponse:
            value = request.headers["Range"].removeprefix("bytes=")
            response = web.StreamResponse(status=206)
            response.headers["Content-Range"] = f"bytes {value}/*"
            response.content_length = 50_000
            await response.prepare(request)
            await response.write(b"x" * 100)
            assert request.transport is not None
            request.transport.close()
            return response

    async def main() -> str:
        async with serving(Breaking(shared.parent)) as url:
            return await failure(with_seeds(shared, url), tmp_path / "out")

    assert "broke off" in asyncio.run(main())


def test_nobody_at_the_address(tmp_path: Path, shared: Path) -> None:
    reason = asyncio.run(failure(with_seeds(shared, "http://127.0.0.1:1/"), tmp_path / "out"))
    assert "127.0.0.1:1" in reason


def test_a_url_with_a_query_does_not_reach_this_machine(tmp_path: Path, shared: Path) -> None:
    """Goal: a torrent cannot make its readers press buttons on their own routers."""
    server = FileServer(shared.parent)

    async def main() -> str:
        async with serving(server) as url:
            return await failure(with_seeds(shared, f"{url}admin?do=reset&x="), tmp_path / "out")

    assert "loopback" in asyncio.run(main())
    assert not server.asked


@pytest.mark.parametrize("is_date", [False, True], ids=["seconds", "date"])
def test_a_busy_server_is_asked_again_when_it_says(
    tmp_path: Path, shared: Path, is_date: bool
) -> None:
    class Busy(FileServer):
        async def respond(self, request: web.Request) -> web.StreamResponse:
            if self.asked:
                return await super().respond(request)
            self.data(request)
            soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
            return web.Response(status=503, headers={"Retry-After": soon if is_date else "1"})

    server = Busy(shared.parent)

    async def main() -> None:
        async with serving(server) as url:
            await download(with_seeds(shared, url), tmp_path / "out")

    asyncio.run(main())
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


def test_a_server_that_lies_is_banned_and_an_honest_peer_gives_it_all(
    tmp_path: Path, shared: Path
) -> None:
    class Lying(FileServer):
        def data(self, request: web.Request) -> bytes | None:
            data = super().data(request)
            return None if data is None else bytes(len(data))

    server = Lying(shared.parent)

    async def main() -> None:
        async with serving(server) as url, session() as (mine, _), session() as (other, address):
            metainfo = with_seeds(shared, url)
            torrent = await mine.add(metainfo, TorrentOptions(tmp_path / "out"))
            await until(lambda: torrent.swarm.stats.pieces_rejected > 0)
            await other.add(replace(metainfo, web_seeds=()), TorrentOptions(shared.parent))
            torrent.learn_peers([address])
            await complete(torrent)
            assert all(peer.address.port for peer in torrent.swarm.ready)

    asyncio.run(main())
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


def test_of_several_servers_the_good_one_is_enough(tmp_path: Path, shared: Path) -> None:
    async def main() -> None:
        broken = Answering(shared.parent, lambda request: web.Response(status=404))
        async with serving(broken) as bad, serving(FileServer(shared.parent)) as good:
            await download(with_seeds(shared, bad, good), tmp_path / "out")

    asyncio.run(main())
    assert contents(tmp_path / "out" / shared.name) == contents(shared)


class Hanging(FileServer):
    """Never answers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.requests: list[web.Request] = []

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        await asyncio.Event().wait()
        raise AssertionError

    @property
    def is_alone(self) -> bool:
        """Whether everybody who asked has hung up."""
        transports = [request.transport for request in self.requests]
        return all(each is None or each.is_closing() for each in transports)


@pytest.mark.parametrize("is_session_over", [False, True], ids=["torrent", "session"])
def test_what_ends_breaks_off_its_fetches(
    tmp_path: Path, shared: Path, is_session_over: bool
) -> None:
    server = Hanging(shared.parent)

    async def main() -> None:
        async with serving(server) as url:
            async with session() as (mine, _):
                torrent = await mine.add(with_seeds(shared, url), TorrentOptions(tmp_path / "out"))
                await until(lambda: bool(server.requests))
                assert not server.is_alone
                if not is_session_over:
                    mine.node.remove_swarm(torrent.swarm, mine.clock.now())
                    mine.pump()
                    await until(lambda: server.is_alone)
            await until(lambda: server.is_alone)

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


def test_the_body_of_an_error_is_not_waited_for(tmp_path: Path, shared: Path) -> None:
    class Slow(FileServer):
        async def respond(self, request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(status=404)
            await response.prepare(request)
            await asyncio.Event().wait()
            return response

    async def main() -> str:
        async with serving(Slow(shared.parent)) as url:
            return await asyncio.wait_for(
                failure(with_seeds(shared, url), tmp_path / "out"), TIMEOUT_S
            )

    assert "404" in asyncio.run(main())
