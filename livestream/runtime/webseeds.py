"""Carries out the fetches of a node's web seeds, by HTTP (`WebSeedDriver`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from livestream.discovery.reach import Purpose
from livestream.errors import NetworkError
from livestream.runtime.clock import Clock
from livestream.runtime.throttle import Throttle
from livestream.runtime.web import WebClient
from livestream.transport.fetch import Fetch, ResponseHead
from livestream.transport.webseed import WebSeed
from livestream.transport.webseeds import WebSeedEndpoint

__all__ = ["WebSeedDriver"]

CONNECT_TIMEOUT_S: Final = 15
READ_TIMEOUT_S: Final = 30  # Without a byte.
RETRY_AFTER_DIGITS_MAX: Final = 9  # More would be thirty years.


class WebSeedDriver:
    """The asyncio shell of a node's web seeds: a task a fetch, which streams into the machine.

    A body is read only as fast as the machine takes it; the machine asks for what was requested
    of it, and requests stop while the disk is behind.
    """

    def __init__(
        self,
        web_seeds: WebSeedEndpoint,
        clock: Clock,
        on_activity: Callable[[], None],
        throttle: Throttle | None = None,
    ) -> None:
        self.bytes_in = 0
        self._web_seeds = web_seeds
        self._clock = clock
        self._on_activity = on_activity
        self._throttle = throttle
        self._tasks: dict[Fetch, asyncio.Task[None]] = {}
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S
        )
        self._web = WebClient(Purpose.WEB_SEED, timeout)

    def drain(self) -> None:
        """Begin the fetches that are wanted, and break off those that are not any more."""
        now = self._clock.now()
        for fetch in self._web_seeds.take_aborted(now):
            task = self._tasks.get(fetch)
            if task is not None:
                task.cancel()
        while (wanted := self._web_seeds.next_fetch(now)) is not None:
            seed, fetch = wanted
            self._tasks[fetch] = asyncio.get_running_loop().create_task(self._run(seed, fetch))

    async def close(self) -> None:
        """Break off everything, and hang up."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._web.close()

    async def _run(self, seed: WebSeed, fetch: Fetch) -> None:
        try:
            await self._fetch(seed, fetch)
            seed.receive_end(fetch)
        except NetworkError as error:
            seed.fail(fetch, str(error))
        finally:
            del self._tasks[fetch]
        self._on_activity()

    async def _fetch(self, seed: WebSeed, fetch: Fetch) -> None:
        headers = {"Range": fetch.range, "Accept-Encoding": "identity"}
        # A torrent comes from a stranger even when its file lies here, so it is never trusted.
        async with self._web.open(fetch.url, is_trusted=False, headers=headers) as response:
            seed.receive_head(fetch, _head(response))
            if not seed.is_under_way(fetch):
                return  # The body of an error may take as long as it likes.
            try:
                await self._read(seed, fetch, response.content)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                raise NetworkError(f"an answer that broke off ({type(error).__name__})") from error

    async def _read(self, seed: WebSeed, fetch: Fetch, body: aiohttp.StreamReader) -> None:
        """Read to the end, if all of it is wanted: that frees the connection for the next fetch."""
        async for data in body.iter_any():
            self.bytes_in += len(data)
            if self._throttle is not None:
                self._throttle.take(len(data), self._clock.now())
                await self._throttle.wait()
            if not seed.is_under_way(fetch):
                return
            seed.receive_body(fetch, data)
            self._on_activity()


def _head(response: aiohttp.ClientResponse) -> ResponseHead:
    fields = response.headers
    return ResponseHead(
        status=response.status,
        content_range=fields.get("Content-Range", ""),
        content_length=response.content_length,
        content_encoding=fields.get("Content-Encoding", "").strip().lower(),
        retry_after_s=_retry_after_s(fields.get("Retry-After", "")),
    )


def _retry_after_s(text: str) -> int | None:
    """Parse seconds or a date (RFC 9110, 10.2.3); None if it is neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text[:RETRY_AFTER_DIGITS_MAX])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0, int((at - datetime.now(UTC)).total_seconds()))
