"""Announces over real sockets, to our own tracker and to ones that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from aiohttp import web

from livestream.discovery.announce import RESPONSE_BYTES_MAX, Announcer
from livestream.discovery.tiers import Tier, make_tiers
from livestream.discovery.tracker import TrackerState
from livestream.discovery.udp_exchange import UdpScrape
from livestream.discovery.udp_tracker import Progress, UdpTrackerServer
from livestream.errors import NetworkError
from livestream.machine import Address
from livestream.runtime.clock import Clock
from livestream.runtime.http import TrackerClient
from livestream.runtime.tracker import HttpTracker
from livestream.runtime.udp_tracker import exchange, serve_udp
from livestream.wire import bencode

HASH = bytes(range(0xEC, 0x100))  # Not one of its bytes is text.
Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


def announcer(url: str, number: int) -> Announcer:
    return Announcer(url, HASH, b"%020d" % number, 6000 + number)


class Viewer:
    """A tracker client under way, and whom it has found."""

    def __init__(self, announcers: list[Announcer]) -> None:
        self.found: list[Address] = []
        self._came = asyncio.Event()
        tiers = [Tier([each], Random(1)) for each in announcers]
        client = TrackerClient(tiers, Clock(), self._learn)
        self.task = asyncio.create_task(client.run())

    def _learn(self, peers: list[Address]) -> None:
        self.found += peers
        self._came.set()

    async def wait_found(self) -> None:
        await asyncio.wait_for(self._came.wait(), 10)

    async def leave(self) -> None:
        """Cancel it: however trackers behave, it ends as a cancelled task does."""
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(self.task, 10)


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never was")


async def serve(reply: Reply) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_get("/announce", reply)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/announce"


def test_peers_meet_over_http_and_udp_and_are_forgotten_when_they_leave() -> None:
    async def run() -> None:
        clock, state = Clock(), TrackerState(Random(1))
        http = HttpTracker(state, clock.now)
        at = await http.start("127.0.0.1", 0)
        udp = await serve_udp(UdpTrackerServer(state, Random(2)), at, clock)
        first = Viewer([announcer(f"http://{at}/announce", 1)])
        await until(lambda: state.counts(HASH, 0).leechers == 1)
        second = Viewer([announcer(f"udp://{at}", 2)])
        await second.wait_found()
        assert second.found == [Address("127.0.0.1", 6001)]
        third = Viewer([announcer(f"http://localhost:{at.port}/announce?k=v", 3)])
        await third.wait_found()
        assert sorted(third.found) == [Address("127.0.0.1", 6001), Address("127.0.0.1", 6002)]
        for viewer in (first, second, third):
            await viewer.leave()
        await until(lambda: state.counts(HASH, 0).leechers == 0)
        udp.close()
        await http.stop()

    asyncio.run(run())


def test_one_good_tracker_is_enough() -> None:
    """Whatever the others are or do, they neither stop it nor delay it."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(2 + RESPONSE_BYTES_MAX // 65_536):
            await response.write(bytes(65_536))
        return response

    async def in_circles(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(request.rel_url)

    async def failing(request: web.Request) -> web.StreamResponse:
        raise web.HTTPInternalServerError

    async def run() -> None:
        clock, state = Clock(), TrackerState(Random(1))
        http = HttpTracker(state, clock.now)
        at = await http.start("127.0.0.1", 0)
        state.announce(announcer("", 7).query(0), "192.0.2.1", clock.now())
        served = [await serve(reply) for reply in (endless, in_circles, failing)]
        urls = [
            *(url for _, url in served),
            "http://127.0.0.1:1/announce",
            "http://127.0.0.1:99999/announce",
            "http://[::1/announce",
            "udp://127.0.0.1:99999",
            "udp://127.0.0.1",
            f"udp://{'a' * 70}:80",
        ]
        bad = [announcer(url, 1) for url in urls]
        viewer = Viewer([*bad, announcer(f"http://{at}/announce", 3)])
        await viewer.wait_found()
        assert viewer.found == [Address("192.0.2.1", 6007)]
        await until(lambda: all(each.failures for each in bad))
        await viewer.leave()
        await http.stop()
        for runner, _ in served:
            await runner.cleanup()

    asyncio.run(run())


def test_a_tracker_that_hangs_does_not_turn_the_end_into_an_error() -> None:
    async def run() -> None:
        calls: list[str] = []

        async def reply(request: web.Request) -> web.StreamResponse:
            calls.append(request.query.get("event", ""))
            if len(calls) > 1:
                await asyncio.sleep(30)
            peers = b"\xc0\x00\x02\x01\x00\x07"
            return web.Response(body=bencode.encode({b"interval": 60, b"peers": peers}))

        runner, url = await serve(reply)
        viewer = Viewer([announcer(url, 1)])
        await viewer.wait_found()
        await viewer.leave()
        assert calls == ["started", "stopped"]
        await runner.cleanup()

    asyncio.run(run())


def test_a_download_that_ends_at_its_completion_still_tells_of_it() -> None:
    async def run() -> None:
        calls: list[str] = []

        async def reply(request: web.Request) -> web.StreamResponse:
            calls.append(request.query.get("event", ""))
            return web.Response(body=bencode.encode({b"interval": 60, b"peers": b""}))

        runner, url = await serve(reply)
        left = [1]
        one = Announcer(url, HASH, bytes(20), 1, lambda: Progress(left=left[0]))
        viewer = Viewer([one])
        await until(lambda: one.has_started)
        left[0] = 0
        await viewer.leave()
        assert calls == ["started", "completed", "stopped"]
        await runner.cleanup()

    asyncio.run(run())


def test_a_client_that_is_cancelled_just_as_an_answer_comes_in_ends() -> None:
    async def run() -> None:
        clock, state = Clock(), TrackerState(Random(1))
        http = HttpTracker(state, clock.now)
        at = await http.start("127.0.0.1", 0)
        state.announce(announcer("", 7).query(0), "192.0.2.1", clock.now())
        tiers = [Tier([announcer(f"http://{at}/announce", 1)], Random(1))]

        def learn(peers: list[Address]) -> None:
            task.cancel()

        task = asyncio.create_task(TrackerClient(tiers, clock, learn).run())
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        await http.stop()

    asyncio.run(run())


def test_of_a_tier_one_tracker_is_told_and_of_each_tier_one() -> None:
    """Dead trackers cost nothing but a look at the next; the others of a tier hear nothing."""

    async def run() -> None:
        states = [TrackerState(Random(number)) for number in range(3)]
        https = [HttpTracker(state, Clock().now) for state in states]
        at = [await http.start("127.0.0.1", 0) for http in https]
        urls = [f"http://{each}/announce" for each in at]
        dead = ["http://127.0.0.1:1/announce", "udp://127.0.0.1:1"]
        listed = [[*dead, urls[0], urls[1]], [urls[2]]]
        tiers = make_tiers(listed, lambda url: announcer(url, 1), Random(3))
        task = asyncio.create_task(TrackerClient(tiers, Clock(), lambda peers: None).run())
        await until(lambda: all(tier.has_news for tier in tiers))
        told = [state.counts(HASH, 0).leechers for state in states]
        assert sorted(told[:2]) == [0, 1]
        assert told[2] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [state.counts(HASH, 0).leechers for state in states] == [0, 0, 0]
        for http in https:
            await http.stop()

    asyncio.run(run())


def test_a_strangers_udp_tracker_may_be_in_the_network_but_nowhere_special() -> None:
    async def run() -> None:
        clock, state = Clock(), TrackerState(Random(1))
        server = await serve_udp(UdpTrackerServer(state, Random(2)), Address("127.0.0.1", 0), clock)
        port = server.get_extra_info("sockname")[1]
        for host, failure in (("127.0.0.1", ""), ("169.254.0.1", "special"), ("127.1", "")):
            machine = UdpScrape(HASH, Random(1))
            is_inside = await exchange(
                machine, f"udp://{host}:{port}", clock, is_trusted=False, patience_us=10**7
            )
            assert failure in machine.failure
            assert bool(machine.failure) == bool(failure)
            assert is_inside == (not failure)
        server.close()

    asyncio.run(run())


def test_a_udp_tracker_that_is_silent_does_not_hold_up_its_tier() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        silent, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        machine = UdpScrape(HASH, Random(1))
        url = "udp://127.0.0.1:{}".format(silent.get_extra_info("sockname")[1])
        work = exchange(machine, url, Clock(), is_trusted=False, patience_us=300_000)
        await asyncio.wait_for(work, 10)
        assert machine.failure == "no answer"
        silent.close()

    asyncio.run(run())


def test_a_trackers_port_in_use_is_a_clear_error() -> None:
    async def run() -> None:
        http = HttpTracker(TrackerState(Random(1)), Clock().now)
        at = await http.start("127.0.0.1", 0)
        with pytest.raises(NetworkError, match=str(at.port)):
            await HttpTracker(TrackerState(Random(1)), Clock().now).start(at.host, at.port)
        await http.stop()

    asyncio.run(run())


def test_raw_bytes_in_a_query_get_an_answer() -> None:
    async def run() -> None:
        http = HttpTracker(TrackerState(Random(1)), Clock().now)
        at = await http.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(at.host, at.port)
        writer.write(b"GET /announce?info_hash=\xff\xfe&peer_id=%zz%&port=1 HTTP/1.0\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.split(b" ")[1] in (b"200", b"400")
        writer.close()
        await writer.wait_closed()
        await http.stop()

    asyncio.run(run())


def test_who_only_asks_once_is_forgotten_while_another_tracker_is_still_silent() -> None:
    """It listens nowhere: until it has left, the tracker tells others to call it."""

    async def run() -> None:
        async def hang(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(60)
            return web.Response()

        state = TrackerState(Random(1))
        quick = HttpTracker(state, Clock().now)
        slow, slow_url = await serve(hang)
        url = f"http://{await quick.start('127.0.0.1', 0)}/announce"
        other = TrackerClient([Tier([announcer(url, 1)], Random(1))], Clock(), lambda _: None)
        staying = asyncio.create_task(other.run())
        await until(lambda: state.counts(HASH, 0).leechers == 1)
        found: list[Address] = []
        tiers = [Tier([announcer(each, 2)], Random(1)) for each in (slow_url, url)]
        asking = asyncio.create_task(TrackerClient(tiers, Clock(), found.extend).ask_once(30))
        await until(lambda: bool(found))
        await until(lambda: state.counts(HASH, 0).leechers == 1)
        assert not asking.done(), "the other tracker has not answered"
        for task in (asking, staying):
            task.cancel()
        await asyncio.gather(asking, staying, return_exceptions=True)
        await quick.stop()
        await slow.cleanup()

    asyncio.run(run())
