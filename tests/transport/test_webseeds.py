"""All web seeds of a node: how many, and when each is tried again."""

from __future__ import annotations

from random import Random

from livestream.machine import SECOND, Address
from livestream.transport.fetch import ResponseHead
from livestream.transport.webseed import WebSeed
from livestream.transport.webseeds import RETRY_MAX_US, WEB_SEEDS_MAX, WebSeedEndpoint
from livestream.wire.messages import Handshake
from tests.transport.website import BLOCK, Website


def endpoint(*sites: Website) -> WebSeedEndpoint:
    made = WebSeedEndpoint(Random(1))
    made.add(sites, 0)
    return made


def connect(web: WebSeedEndpoint, now: int) -> WebSeed:
    ((address, _),) = web.next_attempts(now)
    seed = web.connect(address, now)
    assert web.next_attempts(now) == []
    return seed


def fail(web: WebSeedEndpoint, site: Website, head: ResponseHead, now: int) -> int:
    """Let it connect and fail; returns how long it is left alone."""
    seed = connect(web, now)
    seed.send(Handshake(bytes(20), bytes(20)).to_bytes())
    seed.send(site.requests()[0].to_bytes())
    found = web.next_fetch(now)
    assert found is not None
    seed.receive_head(found[1], head)
    assert web.next_fetch(now) is None
    step = SECOND // 2
    return next(wait for wait in range(0, 2 * RETRY_MAX_US, step) if web.next_attempts(now + wait))


def test_one_that_fails_is_left_alone_for_half_a_minute_then_longer() -> None:
    site = Website([BLOCK])
    web = endpoint(site)
    now = 0
    for expected_s in (30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600):
        wait = fail(web, site, ResponseHead(404), now)
        assert expected_s * SECOND <= wait <= (expected_s * 1.25 + 1) * SECOND
        assert web.failures(site.info_hash) == {site.url: "HTTP status 404"}
        now += wait


def test_one_that_gave_something_starts_over_with_short_waits() -> None:
    site = Website([2 * BLOCK])
    web = endpoint(site)
    now = 0
    for _ in range(4):
        now += fail(web, site, ResponseHead(500), now)
    seed = connect(web, now)
    assert web.failures(site.info_hash) == {}
    seed.send(Handshake(bytes(20), bytes(20)).to_bytes())
    seed.send(site.requests()[0].to_bytes())
    found = web.next_fetch(now)
    assert found is not None
    site.serve(*found)
    seed.close("leaving", now)
    assert web.next_fetch(now) is None
    assert web.next_attempts(now + 38 * SECOND)


def test_a_busy_server_is_left_alone_as_long_as_it_asks() -> None:
    site = Website([BLOCK])
    web = endpoint(site)
    assert 300 * SECOND <= fail(web, site, ResponseHead(503, retry_after_s=300), 0) < 400 * SECOND


def test_a_torrent_has_sixteen_at_most_and_each_once() -> None:
    sites = [Website([BLOCK], number=number) for number in range(WEB_SEEDS_MAX + 5)]
    web = endpoint(sites[0], *sites)
    other = Website([BLOCK])
    other.info_hash = b"o" * 20
    web.add([other], 0)
    attempts = web.next_attempts(0)
    assert len({address for address, _ in attempts}) == WEB_SEEDS_MAX + 1
    assert attempts[-1][1] == b"o" * 20
    assert all(address.port == 0 for address, _ in attempts)


def test_one_that_was_forgotten_is_never_tried_again() -> None:
    web = endpoint(Website([BLOCK]))
    seed = connect(web, 0)
    web.forget(seed.address)
    seed.close("banned", 0)
    assert web.next_fetch(0) is None
    assert web.next_attempts(1 << 60) == []


def test_events_of_all_come_out_in_order() -> None:
    web = endpoint(Website([BLOCK], number=1), Website([BLOCK], number=2))
    seeds: dict[Address, WebSeed] = {
        address: web.connect(address, 0) for address, _ in web.next_attempts(0)
    }
    heard = []
    while (report := web.next_event()) is not None:
        heard.append(report.connection.address)
    assert heard == list(seeds)
    for seed in seeds.values():
        seed.send(Handshake(bytes(20), bytes(20)).to_bytes())
    timer = web.get_timer()
    assert timer is not None
    web.handle_timer(timer)
    heard.clear()
    while (report := web.next_event()) is not None:
        heard.append(report.connection.address)
    assert heard == [address for address in seeds for _ in range(5)]
