"""Asks trackers how a swarm is (BEP 48, 15): `scrape`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

import aiohttp

from livestream.discovery.reach import Purpose
from livestream.discovery.scrape import parse_scrape, scrape_query, scrape_url
from livestream.discovery.tiers import TRACKERS_MAX
from livestream.discovery.tracker import ScrapeCounts
from livestream.discovery.udp_exchange import UdpScrape
from livestream.errors import MessageDecodeError, NetworkError
from livestream.machine import SECOND
from livestream.runtime.clock import Clock
from livestream.runtime.http import REQUEST_TIMEOUT_S
from livestream.runtime.udp_tracker import exchange
from livestream.runtime.web import WebClient

__all__ = ["TrackerCounts", "scrape"]

PATIENCE_US: Final = 20 * SECOND  # One datagram may be lost.
REPLY_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class TrackerCounts:
    """What one tracker says of a swarm: `counts`, or why there are none."""

    url: str
    counts: ScrapeCounts | None = None
    failure: str = ""


async def scrape(
    urls: Sequence[str], info_hash: bytes, *, trusted: Collection[str]
) -> list[TrackerCounts]:
    """Ask every tracker at once; those in `trusted` were named by the user."""
    web = WebClient(Purpose.TRACKER, aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))

    async def ask(url: str) -> TrackerCounts:
        try:
            if url.startswith("udp://"):
                counts = await _ask_udp(url, info_hash, is_trusted=url in trusted)
            else:
                counts = await _ask_http(web, url, info_hash, is_trusted=url in trusted)
        except (NetworkError, MessageDecodeError) as error:
            return TrackerCounts(url, failure=str(error))
        return TrackerCounts(url, counts)

    try:
        return list(await asyncio.gather(*map(ask, urls[:TRACKERS_MAX])))
    finally:
        await web.close()


async def _ask_http(
    web: WebClient, url: str, info_hash: bytes, *, is_trusted: bool
) -> ScrapeCounts:
    where = scrape_url(url)
    if where is None:
        raise NetworkError("its URL does not end in /announce, so there is no /scrape")
    reply = await web.get(
        where, is_trusted=is_trusted, query=scrape_query(info_hash), bytes_max=REPLY_BYTES_MAX
    )
    if reply.status != 200 and not reply.body.startswith(b"d"):
        raise NetworkError(f"it answers with HTTP status {reply.status}")
    return parse_scrape(reply.body, info_hash)


async def _ask_udp(url: str, info_hash: bytes, *, is_trusted: bool) -> ScrapeCounts:
    machine = UdpScrape(info_hash, SystemRandom())
    await exchange(machine, url, Clock(), is_trusted=is_trusted, patience_us=PATIENCE_US)
    if machine.counts is None:
        raise NetworkError(machine.failure)
    return machine.counts
