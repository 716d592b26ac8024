"""The tracker on HTTP: so that a channel needs no other server than its publisher."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from livestream.discovery.tracker import TrackerState
from livestream.errors import NetworkError
from livestream.machine import Address

__all__ = ["HttpTracker"]


class _OurFaults(logging.Filter):
    """Keeps strangers' bad requests out of the log: anyone could fill it with what they like."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let through what is wrong with us."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


class HttpTracker:
    """Serves /announce and /scrape out of a `TrackerState`."""

    def __init__(self, state: TrackerState, now: Callable[[], int]) -> None:
        self._state = state
        self._now = now
        self._runner: web.AppRunner | None = None
        self._adopting: dict[asyncio.Task[None], None] = {}
        self._logger = logging.getLogger(__name__)
        self._logger.addFilter(_OurFaults())

    async def start(self, host: str, port: int) -> Address:
        """Listen. Raises NetworkError when the port is taken."""
        runner = await self._prepare()
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise NetworkError(
                f"TCP port {port} on {host} cannot be used ({error.strerror or 'in use'}). "
                "Choose another with --listen HOST:PORT."
            ) from error
        bound = runner.addresses[0]
        return Address(bound[0], bound[1])

    async def start_without_port(self) -> None:
        """Get ready for callers that others accept: `adopt`."""
        await self._prepare()

    def adopt(self, sock: socket.socket) -> None:
        """Serve a caller whose socket somebody else accepted."""
        task = asyncio.create_task(self._adopt(sock))
        self._adopting[task] = None
        task.add_done_callback(self._adopting.pop)

    async def _adopt(self, sock: socket.socket) -> None:
        server = self._runner.server if self._runner is not None else None
        if server is None:
            sock.close()
            return
        with suppress(OSError):  # It has gone already.
            await asyncio.get_running_loop().connect_accepted_socket(server, sock)

    async def _prepare(self) -> web.AppRunner:
        app = web.Application(client_max_size=16 * 1024)
        app.router.add_get("/announce", self._announce)
        app.router.add_get("/scrape", self._scrape)
        runner = web.AppRunner(app, access_log=None, logger=self._logger)
        await runner.setup()
        self._runner = runner
        return runner

    async def stop(self) -> None:
        """Stop listening, and hang up."""
        for task in list(self._adopting):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _announce(self, request: web.Request) -> web.Response:
        body = self._state.announce(
            request.rel_url.raw_query_string, request.remote or "", self._now()
        )
        return web.Response(body=body, content_type="text/plain")

    async def _scrape(self, request: web.Request) -> web.Response:
        body = self._state.scrape(request.rel_url.raw_query_string, self._now())
        return web.Response(body=body, content_type="text/plain")
