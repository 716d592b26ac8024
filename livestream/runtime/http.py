"""Carries out announces, over HTTP and UDP; whatever fails is a result, never an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import SystemRandom
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from livestream.discovery.announce import RESPONSE_BYTES_MAX, Announcer, Answer
from livestream.discovery.reach import Purpose
from livestream.discovery.tiers import Tier
from livestream.discovery.udp_exchange import UdpAnnounce
from livestream.discovery.udp_tracker import UdpWords
from livestream.errors import NetworkError
from livestream.machine import SECOND, Address
from livestream.runtime.clock import Clock
from livestream.runtime.udp_tracker import exchange
from livestream.runtime.web import WebClient

__all__ = ["REQUEST_TIMEOUT_S", "TrackerClient"]

REQUEST_TIMEOUT_S: Final = 10
LEAVE_TIMEOUT_S: Final = 3
POLL_S: Final = 0.5
RESERVE_PATIENCE_US: Final = 20 * SECOND  # With another tracker in the tier: two datagrams.


class TrackerClient:
    """Announces one swarm to its trackers until cancelled, then says that it has stopped.

    One tracker of each tier is told at a time, and the tiers do not wait for each other.
    """

    def __init__(
        self, tiers: Sequence[Tier], clock: Clock, on_peers: Callable[[list[Address]], None]
    ) -> None:
        self._tiers = tiers
        self._clock = clock
        self._on_peers = on_peers
        self._busy: dict[Tier, None] = {}
        "Tiers of which a tracker is being asked."
        self._left: dict[Tier, None] = {}
        "Tiers that were told already that we have stopped."
        self._settled = asyncio.Event()
        self._web = WebClient(Purpose.TRACKER, aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))

    async def run(self) -> None:
        """Announce on schedule."""
        try:
            async with asyncio.TaskGroup() as asking:
                while True:
                    wait_us = self._ask_due(asking)
                    self._settled.clear()
                    # What is to be told, and who knows nobody, changes without a word to us.
                    wait_s = min(max(wait_us / SECOND, 0), POLL_S)
                    with suppress(TimeoutError):
                        # Not `wait_for`: Python 3.11's overhears a cancellation that comes together
                        # with what it waits for.
                        async with asyncio.timeout(wait_s):
                            await self._settled.wait()
        finally:
            await self._leave()

    async def ask_once(self, timeout_s: float) -> None:
        """Announce until each tier has answered or failed, or the time is over.

        Whoever has answered is left at once: it tells others to call us until it hears that.
        """
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await asyncio.gather(*(self._try_all(tier) for tier in self._tiers))
        finally:
            await self._leave()

    def _ask_due(self, asking: asyncio.TaskGroup) -> int:
        """Begin what is due in tiers where nothing is under way. Returns how long to wait (µs)."""
        now = self._clock.now()
        timers = [now + SECOND]
        for tier in self._tiers:
            if tier in self._busy:
                continue
            announcer = tier.next_announcer(now)
            if announcer is None:
                timers.append(tier.get_timer())
            else:
                self._busy[tier] = None
                asking.create_task(self._ask(tier, announcer))
        return min(timers) - now

    async def _try_all(self, tier: Tier) -> None:
        while not tier.has_news:
            announcer = tier.next_announcer(self._clock.now())
            if announcer is None:
                return
            await self._ask(tier, announcer)
        leaving = tier.to_leave()
        if leaving is not None:
            self._left[tier] = None
            await self._announce(leaving, is_leaving=True)

    async def _ask(self, tier: Tier, announcer: Announcer) -> None:
        patience_us = RESERVE_PATIENCE_US if tier.has_reserve else None
        peers = await self._announce(announcer, patience_us=patience_us)
        tier.settle(announcer)
        self._busy.pop(tier, None)
        self._settled.set()
        if peers:
            self._on_peers(peers)

    async def _leave(self) -> None:
        try:
            leaving = [
                self._say_goodbye(announcer)
                for tier in self._tiers
                if tier not in self._left
                if (announcer := tier.to_leave()) is not None
            ]
            with suppress(TimeoutError):  # A tracker that hangs must not delay the end.
                async with asyncio.timeout(LEAVE_TIMEOUT_S):
                    await asyncio.gather(*leaving)
        finally:
            await self._web.close()

    async def _say_goodbye(self, announcer: Announcer) -> None:
        if announcer.is_completion_due:  # A download that ends when it is complete.
            await self._announce(announcer)
        await self._announce(announcer, is_leaving=True)

    async def _announce(
        self, announcer: Announcer, *, is_leaving: bool = False, patience_us: int | None = None
    ) -> list[Address]:
        if announcer.url.startswith("udp://"):
            return await self._announce_udp(
                announcer, is_leaving=is_leaving, patience_us=patience_us
            )
        query = announcer.query(self._clock.now(), is_leaving=is_leaving)
        try:
            reply = await self._web.get(
                announcer.url,
                is_trusted=announcer.is_trusted,
                query=query,
                bytes_max=RESPONSE_BYTES_MAX,
            )
        except NetworkError as error:
            announcer.on_failure(str(error), self._clock.now())
            return []
        now = self._clock.now()
        if reply.status != 200 and not reply.body.startswith(b"d"):
            announcer.on_failure(f"the tracker answers with HTTP status {reply.status}", now)
            return []
        return announcer.receive(reply.body, now, is_inside=reply.is_inside)

    async def _announce_udp(
        self, announcer: Announcer, *, is_leaving: bool, patience_us: int | None
    ) -> list[Address]:
        how_far = announcer.progress()
        event = announcer.begin(how_far, self._clock.now(), is_leaving=is_leaving)
        words = UdpWords(*announcer.words, how_far, event, _url_data(announcer.url))
        machine = UdpAnnounce(words, SystemRandom())
        is_inside = await exchange(
            machine,
            announcer.url,
            self._clock,
            is_trusted=announcer.is_trusted,
            patience_us=patience_us,
        )
        if machine.failure:
            announcer.on_failure(machine.failure, self._clock.now())
            return []
        answer = Answer(machine.interval_us, machine.peers)
        announcer.on_answer(answer, self._clock.now(), is_inside=is_inside)
        return machine.peers


def _url_data(url: str) -> bytes:
    """Return the path and query of a tracker that has more of them than a name (BEP 41)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return b""
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return b"" if target in ("", "/", "/announce") else target.encode("ascii", "replace")
