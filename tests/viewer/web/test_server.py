"""The page's server over loopback: who is answered, and with which headers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, CookieJar

from livestream.errors import NetworkError
from livestream.media.sample import Track, TrackKind
from tests.viewer.web.view import ScriptedView, pictures, serving
from viewer.web.channel import ChannelPage, mime_type
from viewer.web.server import WebServer

EVERYWHERE = "0.0.0.0"  # noqa: S104 - reached over loopback only.
CSRF = {"X-Livestream": "1"}


def visit(
    work: Callable[[ClientSession, str, ScriptedView], Awaitable[None]], host: str = "127.0.0.1"
) -> None:
    async def run() -> None:
        view = ScriptedView()
        async with serving(view, host) as url, ClientSession() as client:
            await work(client, url, view)

    asyncio.run(run())


def test_every_answer_forbids_scripts_and_frames_from_elsewhere() -> None:
    async def work(client: ClientSession, url: str, view: ScriptedView) -> None:
        for path in ("", "static/page.js", "api/v1", "nothing", f"c/{view.channel_id}/stats"):
            async with client.get(url + path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'self'" in policy, path
                assert "frame-ancestors 'none'" in policy, path
                assert answer.headers["X-Content-Type-Options"] == "nosniff", path
                assert answer.headers["Referrer-Policy"] == "no-referrer", path

    visit(work)


def test_a_foreign_name_that_points_here_is_refused() -> None:
    async def work(client: ClientSession, url: str, view: ScriptedView) -> None:
        for name in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
            async with client.get(url, headers={"Host": name}) as answer:
                assert answer.status == 403, name
        port = urlsplit(url).port
        for name in (f"localhost:{port}", "LOCALHOST", "127.0.0.1", f"[::1]:{port}"):
            async with client.get(url, headers={"Host": name}) as answer:
                assert answer.status == 200, name

    visit(work)


def test_paths_and_channels_that_are_not_here_are_404() -> None:
    async def work(client: ClientSession, url: str, view: ScriptedView) -> None:
        for path in ("nothing", "static/../server.py", "static/%2e%2e/server.py", "c/cd/live.mp4"):
            async with client.get(url + path) as answer:
                assert answer.status in (403, 404), path

    visit(work)


def test_the_target_is_set_only_with_the_header_and_within_bounds() -> None:
    async def work(client: ClientSession, url: str, view: ScriptedView) -> None:
        path = url + "api/v1/latency"
        async with client.post(path, json={"seconds": 3}) as answer:
            assert answer.status == 403
        bodies: tuple[bytes, ...] = (b'{"seconds": 99}', b'{"seconds": "x"}', b"[1]", b"nonsense")
        bodies += (b'{"seconds": NaN}', b'{"seconds": 1e400}', b"\xff", b"[" * 500)
        for body in bodies:
            async with client.post(path, data=body, headers=CSRF) as answer:
                assert answer.status == 400, body
        async with client.post(path, data=b"[" * 9_000, headers=CSRF) as answer:
            assert answer.status == 413
        assert view.latency_s == 1.0
        async with client.post(path, json={"seconds": 3}, headers=CSRF) as answer:
            assert answer.status == 200
        assert view.latency_s == 3.0

    visit(work)


def test_elsewhere_nothing_is_shown_without_the_token() -> None:
    async def work(client: ClientSession, url: str, view: ScriptedView) -> None:
        base = f"http://127.0.0.1:{urlsplit(url).port}"
        for path in ("/", "/api/v1", "/static/page.js", "/?token=", "/?token=wrong", "/healthz"):
            async with client.get(base + path) as answer:
                assert answer.status == 403, path

    visit(work, EVERYWHERE)


def test_the_token_is_traded_for_a_cookie_and_leaves_the_address_bar() -> None:
    async def run() -> None:
        jar = CookieJar(unsafe=True)  # Cookies of bare addresses too, as browsers keep them.
        async with (
            serving(ScriptedView(), EVERYWHERE) as url,
            ClientSession(cookie_jar=jar) as client,
        ):
            local = urlsplit(url)._replace(netloc=f"127.0.0.1:{urlsplit(url).port}").geturl()
            async with client.get(local) as answer:
                assert answer.status == 200
                assert answer.url.query_string == ""
                cookie = answer.history[0].headers["Set-Cookie"]
                assert "HttpOnly" in cookie
                assert "SameSite=Lax" in cookie
            async with client.get(answer.url.with_path("/api/v1")) as answer:
                assert answer.status == 200
            path = answer.url.with_path("/api/v1/latency")
            async with client.post(path, json={"seconds": 3}) as answer:
                assert answer.status == 403

    asyncio.run(run())


def test_a_player_that_knows_no_cookies_brings_the_token_itself() -> None:
    async def work(client: ClientSession, url: str, view: ScriptedView) -> None:
        tracks, samples = pictures(1)
        view.outputs.start(tracks)
        parts = urlsplit(url)._replace(netloc=f"127.0.0.1:{urlsplit(url).port}")
        path = parts._replace(path=f"/c/{view.channel_id}/live.mp4").geturl()
        view.outputs.write(samples)
        async with client.get(path) as answer:
            assert answer.status == 200
            assert (await answer.content.readexactly(8))[4:] == b"ftyp"

    visit(work, EVERYWHERE)


def test_events_come_as_json_with_counters_and_peers() -> None:
    async def work(client: ClientSession, url: str, view: ScriptedView) -> None:
        async with client.get(url + "api/v1/events") as answer:
            line = await answer.content.readline()
        news = json.loads(line.removeprefix(b"data: "))
        assert news["stats"]["latency_target_s"] == 1.0
        assert news["peers"][0]["address"] == "192.0.2.1:6881"

    visit(work)


def test_readers_that_leave_are_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def work(client: ClientSession, url: str, view: ScriptedView) -> None:
        tracks, samples = pictures(2)
        view.outputs.start(tracks)
        view.outputs.write(samples[:20])
        for path in (f"c/{view.channel_id}/live.mp4", "api/v1/events"):
            answer = await client.get(url + path)
            await answer.content.readexactly(8)
            answer.close()
        for sample in samples[20:]:
            view.outputs.write([sample])
            await asyncio.sleep(0)
        async with client.get(url + "api/v1/events") as answer:
            await answer.content.readexactly(8)

    visit(work)
    assert caplog.messages == []


def test_codecs_that_cannot_be_named_are_a_message_and_no_failure() -> None:
    async def work(client: ClientSession, url: str, view: ScriptedView) -> None:
        view.outputs.tracks = (Track(0, TrackKind.VIDEO, "h264", 90_000, b"nonsense"),)
        async with client.get(url + "api/v1") as answer:
            about = await answer.json()
        assert about["mime"] == ""
        assert "parameter sets" in about["problem"]

    visit(work)


def test_the_mime_type_names_profile_and_audio_object_type() -> None:
    tracks, _ = pictures(0.5)
    sound = Track(1, TrackKind.AUDIO, "aac", 48_000, b"\x11\x90", sample_rate=48_000, channels=2)
    profile = tracks[0].extradata.partition(b"\x67")[2][:3].hex()
    assert mime_type((*tracks, sound)) == f'video/mp4; codecs="avc1.{profile}, mp4a.40.2"'
    assert mime_type(()) == ""


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    async def run() -> None:
        async with serving(ScriptedView()) as url:
            port = urlsplit(url).port
            assert port is not None
            second = WebServer(
                ChannelPage(ScriptedView()), "127.0.0.1", port, is_port_explicit=True
            )
            with pytest.raises(NetworkError, match="--http"):
                await second.start()
            third = WebServer(
                ChannelPage(ScriptedView()), "127.0.0.1", port, is_port_explicit=False
            )
            try:
                assert await third.start() != url
            finally:
                await third.stop()

    asyncio.run(run())
