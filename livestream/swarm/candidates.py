"""Addresses that may be peers: which to try next, and which to leave alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from random import Random
from typing import Final

from livestream.machine import SECOND, Address

__all__ = ["Candidates"]

CANDIDATES_MAX: Final = 3_000  # As libtorrent keeps; bounds what gossip can make us remember.
RETRY_FIRST_US: Final = 1 * SECOND
RETRY_MAX_US: Final = 60 * SECOND
FAILURES_MAX: Final = 5  # An address from gossip is forgotten then; one from the link never is.
ROOT_RETRY_MAX_US: Final = 5 * SECOND  # A publisher that restarts is found again within this.
BAN_US: Final = 3_600 * SECOND
HOST_BANS_MAX: Final = 3  # So many bad identities behind one host ban the host.
BANS_MAX: Final = 10_000


@dataclass(slots=True)
class _Candidate:
    is_root: bool
    failures: int = 0
    next_attempt: int = 0
    is_busy: bool = False


class Candidates:
    """The addresses known for one swarm.

    Invariant: at most CANDIDATES_MAX addresses; one that is connected or being tried is busy
    and never returned.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._known: dict[Address, _Candidate] = {}
        self._banned: dict[Address | bytes | str, int] = {}
        self._host_bans: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, addresses: Iterable[Address], *, is_root: bool = False) -> None:
        """Learn addresses; roots (from the link or the command line) are never forgotten."""
        for address in addresses:
            known = self._known.get(address)
            if known is not None:
                known.is_root = known.is_root or is_root
            elif is_root or len(self._known) < CANDIDATES_MAX:
                self._known[address] = _Candidate(is_root)

    def next_attempts(self, count: int, now: int) -> list[Address]:
        """Return up to `count` addresses to connect to now, and mark them busy."""
        ready = [
            address
            for address, known in self._known.items()
            if not known.is_busy and known.next_attempt <= now and not self.bans(address, b"", now)
            if address.port  # Nobody can be called at port 0; web seeds have it.
        ]
        self._rng.shuffle(ready)
        ready.sort(key=lambda address: self._known[address].failures)
        for address in ready[:count]:
            self._known[address].is_busy = True
        return ready[:count]

    def next_attempt_at(self) -> int | None:
        """Return when the first idle address may be tried."""
        times = [known.next_attempt for known in self._known.values() if not known.is_busy]
        return min(times, default=None)

    def on_connected(self, address: Address) -> None:
        """A peer at `address` is connected, whoever called whom."""
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= CANDIDATES_MAX:
                return
            known = self._known[address] = _Candidate(is_root=False)
        known.is_busy = True
        known.failures = 0

    def on_lost(self, address: Address, now: int, *, was_ready: bool) -> None:
        """A connection or an attempt ended: try again later, later still each time it fails."""
        known = self._known.get(address)
        if known is None:
            return
        known.is_busy = False
        known.failures = 1 if was_ready else known.failures + 1
        if known.failures > FAILURES_MAX and not known.is_root:
            del self._known[address]
            return
        longest = ROOT_RETRY_MAX_US if known.is_root else RETRY_MAX_US
        wait = min(longest, RETRY_FIRST_US << min(known.failures - 1, 10))
        known.next_attempt = now + int(wait * (0.75 + 0.5 * self._rng.random()))

    def forget(self, address: Address) -> None:
        """Drop an address that cannot be a peer: our own."""
        self._known.pop(address, None)

    def ban(self, address: Address, public_key: bytes, now: int) -> None:
        """Refuse this key and this address for an hour; after several, the whole host."""
        if len(self._banned) >= BANS_MAX:
            self._banned.pop(next(iter(self._banned)))
        self._banned[address] = now + BAN_US
        if public_key:  # Over TCP nobody has one: an empty key would name them all.
            self._banned[public_key] = now + BAN_US
        if not ip_address(address.host).is_loopback:
            bans = self._host_bans.pop(address.host, 0) + 1
            if len(self._host_bans) >= BANS_MAX:
                self._host_bans.pop(next(iter(self._host_bans)))
            self._host_bans[address.host] = bans
            if bans >= HOST_BANS_MAX:
                self._banned[address.host] = now + BAN_US

    def bans(self, address: Address, public_key: bytes, now: int) -> bool:
        """Whether this peer is banned now."""
        names: tuple[Address | bytes | str, ...] = (address, public_key, address.host)
        return any(self._banned.get(name, 0) > now for name in names)
