"""Carries out announces over HTTP; whatever fails is a result, never an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import aiohttp
from yarl import URL

from livestream.discovery.announce import RESPONSE_BYTES_MAX, Announcer
from livestream.machine import SECOND, Address
from livestream.runtime.clock import Clock

__all__ = ["TrackerClient"]

REQUEST_TIMEOUT_S: Final = 10
LEAVE_TIMEOUT_S: Final = 1
REDIRECTS_MAX: Final = 5


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
                    _get(session, each.request(self._clock.now(), is_leaving=True))
                    for each in self._announcers
                    if not each.failures
                ]
                await asyncio.wait_for(asyncio.gather(*leaving), LEAVE_TIMEOUT_S)

    async def _keep(self, session: aiohttp.ClientSession, announcer: Announcer) -> None:
        while True:
            body = await _get(session, announcer.request(self._clock.now()))
            peers = announcer.receive(body, self._clock.now())
            if peers:
                self._on_peers(peers)
            wait_us = announcer.get_timer() - self._clock.now()
            await asyncio.sleep(max(wait_us, SECOND) / SECOND)


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
