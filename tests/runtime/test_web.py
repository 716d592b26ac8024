"""The guarded web client, against servers that lie, hang, run in circles and send bombs."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from livestream.discovery.reach import Purpose, Zone, zone_of
from livestream.errors import NetworkError
from livestream.runtime.web import REDIRECTS_MAX, Reply, WebClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OUTSIDE = "127.0.0.2"  # Stands for a host on the internet in these tests.
LIMIT = 1 << 20


def zone(host: str) -> Zone:
    return Zone.GLOBAL if host == OUTSIDE else zone_of(host)


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve every path; yields host and port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    try:
        yield f"{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def get(
    url: str, *, is_trusted: bool = False, query: str = "", timeout_s: float = 5
) -> Reply:
    client = WebClient(Purpose.TRACKER, aiohttp.ClientTimeout(total=timeout_s), zone)
    try:
        return await client.get(url, is_trusted=is_trusted, query=query, bytes_max=LIMIT)
    finally:
        await client.close()


async def echo(request: web.Request) -> web.StreamResponse:
    return web.Response(text=request.raw_path)


def test_a_query_goes_out_as_it_is_behind_the_urls_own() -> None:
    async def run() -> None:
        async with serving(echo) as at:
            first = await get(f"http://{at}/announce?k=%2f%zz", query="info_hash=%ff%00a~")
            assert first == Reply(200, b"/announce?k=%2f%zz&info_hash=%ff%00a~", is_inside=True)
            second = await get(f"http://{at}/announce#x", query="port=1")
            assert second.body == b"/announce?port=1"

    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/admin",
        "http://localhost:{port}/admin",
        "http://127.1:{port}/announce",
        "http://2130706433:{port}/announce",
        "http://0.0.0.0:{port}/announce",
        "http://[::ffff:127.0.0.1]:{port}/admin",
        "http://0x7f.1:{port}/admin",
        "http://127.0.0.1:{port}/announce/../admin",
        "http://169.254.169.254:{port}/announce",
        "http://10.0.0.1:{port}/announce?a=1",
    ],
)
def test_a_strangers_url_does_not_reach_what_is_inside(url: str) -> None:
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.raw_path)
        return web.Response(text="secret")

    async def run() -> None:
        async with serving(handler) as at:
            with pytest.raises(NetworkError, match=r"may not lead|address"):
                await get(url.format(port=at.rpartition(":")[2]), timeout_s=2)

    asyncio.run(run())
    assert asked == []


def test_what_the_user_named_is_reached_wherever_it_is() -> None:
    async def run() -> None:
        async with serving(echo) as at:
            reply = await get(f"http://{at}/my/tracker?key=1", is_trusted=True)
            assert reply.body == b"/my/tracker?key=1"
            port = at.rpartition(":")[2]
            reply = await get(f"http://localhost:{port}/x", is_trusted=True)
            assert reply == Reply(200, b"/x", is_inside=True)

    asyncio.run(run())


@pytest.mark.parametrize("is_trusted", [False, True])
def test_a_redirect_never_leads_from_outside_to_inside(*, is_trusted: bool) -> None:
    """Not even to a path that would be all right, nor when the user named the one outside."""
    inside: list[str] = []

    async def run() -> None:
        async def secret(request: web.Request) -> web.StreamResponse:
            inside.append(request.raw_path)
            return web.Response(text="secret")

        async with serving(secret) as at:

            async def elsewhere(request: web.Request) -> web.StreamResponse:
                raise web.HTTPFound(f"http://{at}/announce")

            async with serving(elsewhere, OUTSIDE) as outside:
                with pytest.raises(NetworkError, match="may not lead"):
                    await get(f"http://{outside}/announce", is_trusted=is_trusted)

    asyncio.run(run())
    assert inside == []


def test_redirects_inside_keep_to_the_rules_of_the_first() -> None:
    async def run() -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            if request.path == "/announce":
                raise web.HTTPFound("/announce.php")
            if request.path == "/announce1":
                raise web.HTTPFound("/admin")
            return web.Response(text=request.path)

        async with serving(handler) as at:
            assert (await get(f"http://{at}/announce")).body == b"/announce.php"
            with pytest.raises(NetworkError, match="may not lead"):
                await get(f"http://{at}/announce1")
            assert (await get(f"http://{at}/announce1", is_trusted=True)).body == b"/admin"

    asyncio.run(run())


def test_a_redirect_may_lead_outside_and_is_then_a_tracker_on_the_internet() -> None:
    async def run() -> None:
        async with serving(echo, OUTSIDE) as outside:

            async def moved(request: web.Request) -> web.StreamResponse:
                raise web.HTTPMovedPermanently(f"http://{outside}/new/announce")

            async with serving(moved) as at:
                reply = await get(f"http://{at}/announce")
                assert reply == Reply(200, b"/new/announce", is_inside=False)

    asyncio.run(run())


@pytest.mark.parametrize(
    "location", ["/announce?again", "file:///etc/passwd", "http://", "http://[::1/", "//", "\u00e9"]
)
def test_redirects_end_whatever_they_are(location: str) -> None:
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.raw_path)
        return web.Response(status=302, headers={"Location": location})

    async def run() -> None:
        async with serving(handler) as at:
            with pytest.raises(NetworkError):
                await get(f"http://{at}/announce")

    asyncio.run(run())
    assert len(asked) <= 1 + REDIRECTS_MAX


def compressed(data: bytes) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=data, headers={"Content-Encoding": "gzip"})

    return handler


def test_compressed_answers_are_read_and_bombs_are_not() -> None:
    async def run() -> None:
        async with serving(compressed(gzip.compress(bytes(LIMIT)))) as at:
            assert (await get(f"http://{at}/announce")).body == bytes(LIMIT)
        for bomb in (bytes(LIMIT + 1), bytes(200 * LIMIT)):
            async with serving(compressed(gzip.compress(bomb, 1))) as at:
                with pytest.raises(NetworkError, match="more than"):
                    await get(f"http://{at}/announce")
        async with serving(compressed(b"no gzip at all")) as at:
            with pytest.raises(NetworkError, match="gzip"):
                await get(f"http://{at}/announce")

    asyncio.run(run())


def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "gzip"
        return web.Response(body=b"x", headers={"Content-Encoding": "br"})

    async def run() -> None:
        async with serving(handler) as at:
            with pytest.raises(NetworkError, match="br"):
                await get(f"http://{at}/announce")

    asyncio.run(run())


def test_an_endless_answer_ends_at_the_limit() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(65_536))

    async def run() -> None:
        async with serving(endless) as at:
            with pytest.raises(NetworkError, match="more than"):
                await get(f"http://{at}/announce")

    asyncio.run(run())


def test_an_answer_that_breaks_off_is_a_clear_error() -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"abc")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def run() -> None:
        async with serving(broken) as at:
            with pytest.raises(NetworkError):
                await get(f"http://{at}/announce")

    asyncio.run(run())


def test_a_server_that_says_nothing_is_given_up() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    async def run() -> None:
        async with serving(silent) as at:
            with pytest.raises(NetworkError, match="in time"):
                await get(f"http://{at}/announce", timeout_s=0.2)

    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/announce\r\nHost: x\r\n\r\nGET /admin",
        "http://127.0.0.1:1/ann ounce",
        "http://127.0.0.1:99999/announce",
        "http://[::1/announce",
        "http:///announce",
        "ftp://127.0.0.1/announce",
        f"http://{'a' * 70}/announce",
        f"http://x/{'a' * 9000}",
        "http://\udcff/announce",
        "",
    ],
)
def test_urls_that_cannot_be_are_clear_errors(url: str) -> None:
    with pytest.raises(NetworkError):
        asyncio.run(get(url, is_trusted=True))


def test_nothing_of_one_request_is_told_to_the_next_server() -> None:
    """A tracker's cookie is not for its next announce, let alone for another's."""
    seen = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Cookie"))
        response = web.Response()
        response.set_cookie("who", "you")
        return response

    async def run() -> None:
        client = WebClient(Purpose.TRACKER, aiohttp.ClientTimeout(total=5))
        async with serving(handler) as at:
            for _ in range(2):
                await client.get(f"http://{at}/announce", is_trusted=False, bytes_max=LIMIT)
        await client.close()

    asyncio.run(run())
    assert seen == [None, None]
