"""Addresses that may be peers: which to try next, and which to leave alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from livestream.config import Transport
from livestream.discovery.reach import Zone, zone_of
from livestream.machine import SECOND, Address
from livestream.swarm.priority import peer_priority

__all__ = ["BETTER_AFTER_US", "HOST_CONNECTIONS_MAX", "Candidates"]

CANDIDATES_MAX: Final = 3_000  # As libtorrent keeps; bounds what gossip can make us remember.
RETRY_FIRST_US: Final = 1 * SECOND
RETRY_MAX_US: Final = 60 * SECOND
FAILURES_MAX: Final = 5  # An address from gossip is forgotten then; one from the link never is.
ROOT_RETRY_MAX_US: Final = 5 * SECOND  # A publisher that restarts is found again within this.
BAN_US: Final = 3_600 * SECOND
HOST_BANS_MAX: Final = 3  # So many bad identities behind one host ban the host.
BANS_MAX: Final = 10_000
HOST_CONNECTIONS_MAX: Final = 4  # Several may share an address; a host's ports are no swarm.
SOUGHT_MAX: Final = 16  # Who is wanted at once: gossip must not make us call everybody.
SOUGHT_US: Final = 2 * SECOND  # Somebody else has been found by then.
BETTER_AFTER_US: Final = 60 * SECOND  # Networks change: the better transport is tried again then.


@dataclass(slots=True)
class _Candidate:
    is_root: bool
    failures: int = 0
    next_attempt: int = 0
    is_busy: bool = False
    is_seed: bool = False
    priority: int = 0
    transport: Transport | None = None
    "The one to begin with, until `better_at`."
    better_at: int = 0
    name: int = 0


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
        self._own: Address | None = None
        self._sought: dict[Address, int] = {}
        self.wants_seeds = True
        "Whether those who have everything are of use."
        self.names = 1
        "Info-hashes of the swarm; who hangs up on one may know it by the next."

    @property
    def own(self) -> Address | None:
        """Where peers see us, once that is known."""
        return self._own

    @own.setter
    def own(self, address: Address) -> None:
        self._own = address
        for each, known in self._known.items():
            known.priority = self._priority(each)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def has_untried(self) -> bool:
        """Whether there are addresses that nobody called yet."""
        return any(not (known.is_busy or known.failures) for known in self._known.values())

    def add(self, addresses: Iterable[Address], *, is_root: bool = False) -> None:
        """Learn addresses; roots (from the link or the command line) are never forgotten."""
        for address in addresses:
            known = self._known.get(address)
            if known is not None:
                known.is_root = known.is_root or is_root
            elif is_root or len(self._known) < CANDIDATES_MAX:
                self._known[address] = _Candidate(is_root, priority=self._priority(address))

    def add_seeds(self, addresses: Iterable[Address]) -> None:
        """Learn addresses of which it is said that they want nothing.

        Of those that are known already that is not believed: anybody could hide a peer from us.
        """
        fresh = [address for address in addresses if address not in self._known]
        self.add(fresh)
        for address in fresh:
            self.note_seed(address)

    def note_seed(self, address: Address) -> None:
        """Somebody there wants nothing more."""
        known = self._known.get(address)
        if known is not None:
            known.is_seed = True

    def seek(self, addresses: Iterable[Address], now: int) -> None:
        """Learn addresses of somebody who is wanted, however many peers there are: next of all."""
        for address in addresses:
            self.add([address])
            known = self._known.get(address)
            if known is None or known.is_busy or len(self._sought) >= SOUGHT_MAX:
                continue
            if address != self._own and (known.is_root or known.failures <= 1):
                self._sought[address] = now

    def seek_roots(self, now: int) -> None:
        """Call those from the link next, however many peers there are."""
        self.seek([address for address, known in self._known.items() if known.is_root], now)

    def take_sought(self, count: int, now: int) -> list[Address]:
        """Return up to `count` of those who are wanted to connect to now, and mark them busy."""
        taken: list[Address] = []
        while self._sought and len(taken) < count:
            address = next(iter(self._sought))
            sought_at = self._sought.pop(address)
            known = self._known.get(address)
            is_idle = known is not None and not known.is_busy and now - sought_at < SOUGHT_US
            if known is not None and is_idle and not self.bans(address, b"", now) and address.port:
                known.is_busy = True
                taken.append(address)
        return taken

    def next_attempts(self, count: int, now: int) -> list[Address]:
        """Return up to `count` addresses to connect to now, and mark them busy."""
        ready = [
            address
            for address, known in self._known.items()
            if not known.is_busy and known.next_attempt <= now and not self.bans(address, b"", now)
            if address.port  # Nobody can be called at port 0; web seeds have it.
            if self.wants_seeds or not known.is_seed
        ]
        if not ready:
            return []
        self._rng.shuffle(ready)
        ready.sort(key=lambda each: (self._known[each].failures, -self._known[each].priority))
        taken: list[Address] = []
        of_host = Counter(address.host for address, known in self._known.items() if known.is_busy)
        for address in ready:
            if len(taken) == count:
                break
            of_host[address.host] += 1
            if of_host[address.host] <= HOST_CONNECTIONS_MAX or _is_loopback(address.host):
                self._known[address].is_busy = True
                taken.append(address)
        return taken

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
            priority = self._priority(address)
            known = self._known[address] = _Candidate(is_root=False, priority=priority)
        known.is_busy = True
        known.is_seed = False  # It says itself what it is.
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

    def transports(
        self, address: Address, preferred: Sequence[Transport], now: int
    ) -> list[Transport]:
        """Return by what to call: what worked there goes first for a while, then what is best."""
        known = self._known.get(address)
        first = known.transport if known is not None and now < known.better_at else None
        return sorted(preferred, key=lambda transport: transport is not first)

    def on_answered(self, address: Address, transport: Transport, now: int) -> None:
        """A call was answered over this transport: begin with it if it is to be called again."""
        known = self._known.get(address)
        if known is not None:
            known.transport = transport
            known.better_at = now + BETTER_AFTER_US

    def on_silent(
        self, address: Address, transport: Transport, preferred: Sequence[Transport], now: int
    ) -> None:
        """A connection went dead without a word: its transport may be blocked. Try another now.

        If there is no other, call again by the same: libtorrent ends a connection without a word
        when it has sent a packet in vain a few times.
        """
        if self.call_again(address, now):
            others = [other for other in preferred if other is not transport]
            self.on_answered(address, (others or [transport])[0], now)

    def call_again(self, address: Address, now: int) -> bool:
        """A connection stood still: call now. False if that is done already, or nobody known."""
        known = self._known.get(address)
        if known is None or known.is_busy:
            return False
        known.next_attempt = now
        return True

    def name_of(self, address: Address) -> int:
        """Return the number of the info-hash to call somebody with."""
        known = self._known.get(address)
        return known.name if known is not None else 0

    def rename(self, address: Address) -> None:
        """Somebody hung up on the info-hash that it was called with: take the next."""
        known = self._known.get(address)
        if known is not None:
            known.name = (known.name + 1) % self.names

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
        if not _is_loopback(address.host):
            bans = self._host_bans.pop(address.host, 0) + 1
            if len(self._host_bans) >= BANS_MAX:
                self._host_bans.pop(next(iter(self._host_bans)))
            self._host_bans[address.host] = bans
            if bans >= HOST_BANS_MAX:
                self._banned[address.host] = now + BAN_US

    def bans(self, address: Address, public_key: bytes, now: int) -> bool:
        """Whether this peer is banned now."""
        if not self._banned:
            return False  # All that are known are asked about, four times a second.
        names: tuple[Address | bytes | str, ...] = (address, public_key, address.host)
        return any(self._banned.get(name, 0) > now for name in names)

    def _priority(self, address: Address) -> int:
        """BEP 40: whom everybody prefers by the same rule, newcomers find room with somebody."""
        return 0 if self._own is None else peer_priority(self._own, address) or 0


def _is_loopback(host: str) -> bool:
    return zone_of(host.partition("%")[0]) is Zone.LOOPBACK
