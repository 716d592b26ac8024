"""Carries out announces, over HTTP and UDP; whatever fails is a result, never an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import SystemRandom
from typing import Final

import aiohttp
from yarl import URL

from livestream.discovery.announce import RESPONSE_BYTES_MAX, Announcer
from livestream.discovery.udp_tracker import UdpAnnounce, UdpWords
from livestream.machine import SECOND, Address
from livestream.runtime.clock import Clock
from livestream.runtime.udp_tracker import exchange

__all__ = ["TrackerClient"]

REQUEST_TIMEOUT_S: Final = 10
LEAVE_TIMEOUT_S: Final = 1
REDIRECTS_MAX: Final = 5
POLL_S: Final = 0.5


class TrackerClient:
    """Announces one swarm to its trackers until cancelled, then says that it has stopped."""

    def __init__(
        self,
        announcers: Sequence[Announcer],
        clock: Clock,
        on_peers: Callable[[list[Address]], None],
    ) -> None:
        self._announcers = announcers
        self._clock = clock
        self._on_peers = on_peers

    async def run(self) -> None:
        """Announce on schedule."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            try:
                await asyncio.gather(*(self._keep(session, each) for each in self._announcers))
            finally:
                leaving = [
                    self._announce(session, each, is_leaving=True)
                    for each in self._announcers
                    if each.has_started and not each.failures
                ]
                with suppress(TimeoutError):  # A tracker that hangs must not delay the end.
                    await asyncio.wait_for(asyncio.gather(*leaving), LEAVE_TIMEOUT_S)

    async def _keep(self, session: aiohttp.ClientSession, announcer: Announcer) -> None:
        while True:
            peers = await self._announce(session, announcer)
            if peers:
                self._on_peers(peers)
            await self._rest(announcer)

    async def _rest(self, announcer: Announcer) -> None:
        """Wait until the tracker is to be told something, such as that all is here."""
        while True:
            wait_s = (announcer.get_timer() - self._clock.now()) / SECOND
            if wait_s <= 0 or announcer.is_completion_due:
                return
            await asyncio.sleep(min(wait_s, POLL_S))

    async def _announce(
        self, session: aiohttp.ClientSession, announcer: Announcer, *, is_leaving: bool = False
    ) -> list[Address]:
        now = self._clock.now()
        if announcer.url.startswith("udp://"):
            return await self._announce_udp(announcer, is_leaving=is_leaving)
        body = await _get(session, announcer.request(now, is_leaving=is_leaving))
        return announcer.receive(body, self._clock.now())

    async def _announce_udp(self, announcer: Announcer, *, is_leaving: bool) -> list[Address]:
        how_far = announcer.progress()
        event = announcer.next_event(how_far, is_leaving=is_leaving)
        machine = UdpAnnounce(UdpWords(*announcer.words, how_far, event), SystemRandom())
        try:
            await exchange(machine, announcer.url, self._clock)
        except OSError as error:
            machine.failure = error.strerror or str(error)
        if machine.failure or not machine.is_over:
            announcer.failure = machine.failure
            announcer.on_failure(self._clock.now())
            return []
        announcer.on_answer(machine.interval_us, self._clock.now())
        return machine.peers


async def _get(session: aiohttp.ClientSession, url: str) -> bytes | None:
    try:
        # The query is percent-encoded bytes already and must go out as it is.
        async with session.get(URL(url, encoded=True), max_redirects=REDIRECTS_MAX) as response:
            body = b""
            async for part in response.content.iter_any():
                body += part
                if len(body) > RESPONSE_BYTES_MAX:
                    return None
            return body
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
