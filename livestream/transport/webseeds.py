"""All web seeds of a node: when each is tried, timers and events (`WebSeedEndpoint`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from livestream.machine import SECOND, Address, earliest
from livestream.transport.connection import ConnectionEvent, ConnectionState
from livestream.transport.fetch import Fetch
from livestream.transport.webseed import WebSeed, WebSource

__all__ = ["WebSeedEndpoint"]

WEB_SEEDS_MAX: Final = 16  # Of one torrent.
RETRY_FIRST_US: Final = 30 * SECOND
RETRY_MAX_US: Final = 3_600 * SECOND
RETRY_DOUBLINGS_MAX: Final = 10
JITTER: Final = 0.25  # So that not all come back at once to a server that was overloaded.


@dataclass(slots=True)
class _Site:
    """One web seed of one torrent. `next_at` is None while it is connected."""

    source: WebSource
    next_at: int | None
    failures: int = 0
    failure: str = ""


class WebSeedEndpoint:
    """Keeps the web seeds; the driver carries out their fetches.

    A web seed has no address that a peer could be called at. It gets one of the block that is
    set aside for discarding (RFC 6666), with port 0, so that no other peer has it.

    Invariant: a web seed with events or fetches that nobody took yet is in `_changed`.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._sites: dict[Address, _Site] = {}
        self._seeds: dict[WebSeed, None] = {}
        self._changed: dict[WebSeed, None] = {}
        self._unfetched: dict[WebSeed, None] = {}
        self._fetching: deque[tuple[WebSeed, Fetch]] = deque()
        self._aborted: list[Fetch] = []
        self._events: deque[ConnectionEvent] = deque()
        self._number = 0

    # For the node

    def add(self, sources: Iterable[WebSource], now: int) -> None:
        """Learn web seeds; what is over the limit of its torrent is left out."""
        for source in sources:
            known = [
                site.source.url
                for site in self._sites.values()
                if site.source.info_hash == source.info_hash
            ]
            if source.url not in known and len(known) < WEB_SEEDS_MAX:
                self._number += 1
                self._sites[Address(f"100::{self._number:x}", 0)] = _Site(source, now)

    def next_attempts(self, now: int) -> list[tuple[Address, bytes]]:
        """Return (address, info-hash) of what may be tried now; `connect` or `forget` each."""
        return [
            (address, site.source.info_hash)
            for address, site in self._sites.items()
            if site.next_at is not None and site.next_at <= now
        ]

    def connect(self, address: Address, now: int) -> WebSeed:
        """Open a web seed; it reports `Connected` at once."""
        site = self._sites[address]
        site.next_at = None
        seed = WebSeed(address, site.source, self._mark, now)
        self._seeds[seed] = None
        return seed

    def forget(self, address: Address) -> None:
        """Never try this one again."""
        self._sites.pop(address, None)

    def remove(self, info_hash: bytes) -> None:
        """Forget the web seeds of a torrent; whoever calls closes those that are connected."""
        for address, site in list(self._sites.items()):
            if site.source.info_hash == info_hash:
                del self._sites[address]

    def next_event(self) -> ConnectionEvent | None:
        """Return the oldest event that was not yet taken, or None."""
        while not self._events and self._changed:
            seed = next(iter(self._changed))
            del self._changed[seed]
            while (event := seed.next_event()) is not None:
                self._events.append(ConnectionEvent(seed, event))
        return self._events.popleft() if self._events else None

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return earliest(*[seed.get_timer() for seed in self._seeds]) if self._seeds else None

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        for seed in list(self._seeds):
            seed.handle_timer(now)

    def failures(self, info_hash: bytes) -> dict[str, str]:
        """Return, of the web seeds of a torrent that wait to be tried again, URL to reason."""
        return {
            site.source.url: site.failure
            for site in self._sites.values()
            if site.source.info_hash == info_hash and site.failure and site.next_at is not None
        }

    # For the driver

    def next_fetch(self, now: int) -> tuple[WebSeed, Fetch] | None:
        """Return a fetch that is to be carried out, or None."""
        self._collect(now)
        return self._fetching.popleft() if self._fetching else None

    def take_aborted(self, now: int) -> list[Fetch]:
        """Return the fetches that are to be broken off, since last asked."""
        self._collect(now)
        aborted, self._aborted = self._aborted, []
        return aborted

    # Helpers

    def _mark(self, seed: WebSeed) -> None:
        self._changed[seed] = None
        self._unfetched[seed] = None

    def _collect(self, now: int) -> None:
        unfetched, self._unfetched = self._unfetched, {}
        for seed in unfetched:
            self._aborted += seed.take_aborted()
            while (fetch := seed.next_fetch()) is not None:
                self._fetching.append((seed, fetch))
            if seed.state is ConnectionState.CLOSED and seed in self._seeds:
                del self._seeds[seed]
                self._plan(seed, now)

    def _plan(self, seed: WebSeed, now: int) -> None:
        """Try again later; later still each time that nothing came of it."""
        site = self._sites.get(seed.address)
        if site is None:
            return
        site.failure = seed.failure
        if seed.has_given:
            site.failures = 0
        wait = min(RETRY_FIRST_US << min(site.failures, RETRY_DOUBLINGS_MAX), RETRY_MAX_US)
        site.failures += 1
        if seed.retry_after_us is not None:
            wait = seed.retry_after_us
        site.next_at = now + int(wait * (1 + JITTER * self._rng.random()))
