"""A tracker's state (BEP 3, 7, 23, 48): who is in which swarm (`TrackerState`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address
from random import Random
from typing import Final
from urllib.parse import unquote_to_bytes

from livestream.machine import SECOND, Address
from livestream.wire import bencode
from livestream.wire.compact import encode_peers

__all__ = ["Announce", "AnnounceEvent", "ScrapeCounts", "TrackerState", "refusal"]

INTERVAL_S: Final = 30
EXPIRY_US: Final = 11 * 60 * SECOND  # Many clients announce each 5 minutes, whatever they are told.
EXPIRY_MIN_US: Final = 2 * INTERVAL_S * SECOND  # Of those that do as they are told.
SWARMS_MAX: Final = 10_000
PEERS_MAX: Final = 20_000  # Of one swarm.
PEERS_TOTAL_MAX: Final = 200_000  # Some 80 MB; a flood of made-up peers gets no further.
NUMWANT_MAX: Final = 200
NUMWANT_DEFAULT: Final = 50
QUERY_MAX: Final = 2_048
REASON_MAX: Final = 100
EXPIRE_EVERY_US: Final = 5 * SECOND  # A swarm is looked through for silent peers this often.


class AnnounceEvent(IntEnum):
    """What a peer tells a tracker; the numbers are BEP 15's."""

    NONE = 0
    COMPLETED = 1
    STARTED = 2
    STOPPED = 3
    PAUSED = 4
    "Not all is here, and nothing more is wanted (BEP 21); libtorrent's number over UDP."


@dataclass(frozen=True, slots=True)
class Announce:
    """One peer's word on itself."""

    info_hash: bytes
    peer_id: bytes
    address: Address
    is_seed: bool
    event: AnnounceEvent
    wanted: int


@dataclass(frozen=True, slots=True)
class ScrapeCounts:
    """How a swarm is (BEP 48)."""

    seeds: int
    leechers: int
    completed: int


@dataclass(slots=True)
class _Entry:
    address: Address
    is_seed: bool
    seen_at: int
    gap_us: int
    "The longest time between two regular announces; 0: not known yet."
    at: int
    "Where its id stands among the seeds, or among the leechers."

    @property
    def patience_us(self) -> int:
        """How long it may be silent: as long as it is used to, twice."""
        return min(max(2 * self.gap_us, EXPIRY_MIN_US), EXPIRY_US) if self.gap_us else EXPIRY_US


class _TrackedSwarm:
    """The peers of one info-hash. All but looking for silent ones costs the same in any swarm.

    Invariant: every id in `peers` stands once in `seeds` or `leechers`, at its entry's `at`.
    """

    __slots__ = ("completed", "expire_at", "leechers", "peers", "seeds")

    def __init__(self) -> None:
        self.peers: dict[bytes, _Entry] = {}
        self.seeds: list[bytes] = []
        self.leechers: list[bytes] = []
        self.completed = 0
        self.expire_at = 0

    def put(self, announce: Announce, now: int) -> None:
        """Note that a peer is here."""
        peer_id, is_seed = announce.peer_id, announce.is_seed
        known = self.peers.get(peer_id)
        gap_us = 0 if known is None else known.gap_us
        is_regular = announce.event in (AnnounceEvent.NONE, AnnounceEvent.PAUSED)
        if known is not None and is_regular:
            gap_us = max(gap_us, now - known.seen_at)
        if known is not None and known.is_seed == is_seed:
            known.address, known.seen_at, known.gap_us = announce.address, now, gap_us
            return
        if known is not None:
            self.drop(peer_id)
        row = self.seeds if is_seed else self.leechers
        self.peers[peer_id] = _Entry(announce.address, is_seed, now, gap_us, len(row))
        row.append(peer_id)

    def drop(self, peer_id: bytes) -> None:
        """Forget a peer; the last of its row takes its place."""
        entry = self.peers.pop(peer_id)
        row = self.seeds if entry.is_seed else self.leechers
        last = row.pop()
        if last != peer_id:
            row[entry.at] = last
            self.peers[last].at = entry.at

    def sample(self, rng: Random, announce: Announce) -> list[Address]:
        """Return others at random; seeds have nothing for each other."""
        wanted = min(announce.wanted, NUMWANT_MAX)
        split = len(self.leechers)
        count = split if announce.is_seed else len(self.peers)
        found = [
            self.leechers[at] if at < split else self.seeds[at - split]
            for at in rng.sample(range(count), min(wanted + 1, count))
        ]
        return [self.peers[each].address for each in found if each != announce.peer_id][:wanted]


class TrackerState:
    """Swarms by info-hash, peers by peer id; both bounded, and forgotten when silent.

    Invariant: `_peer_count` is the number of peers in all swarms.
    """

    def __init__(self, rng: Random, allowed: frozenset[bytes] | None = None) -> None:
        """Take the info-hashes that are served; None: any."""
        self.allowed = allowed
        self._rng = rng
        self._swarms: dict[bytes, _TrackedSwarm] = {}
        self._peer_count = 0
        self._expire_all_at = 0

    def take(self, announce: Announce, now: int) -> list[Address] | str:
        """Note a peer; return others for it, or the reason of a refusal."""
        if self.allowed is not None and announce.info_hash not in self.allowed:
            return "this tracker does not serve that torrent"
        if len(self._swarms) >= SWARMS_MAX or self._peer_count >= PEERS_TOTAL_MAX:
            self._expire_all(now)
        swarm = self._swarms.get(announce.info_hash)
        if swarm is None:
            if len(self._swarms) >= SWARMS_MAX:
                return "too many swarms"
            swarm = self._swarms[announce.info_hash] = _TrackedSwarm()
        self._expire(swarm, now)
        is_known = announce.peer_id in swarm.peers
        if announce.event is AnnounceEvent.STOPPED:
            if is_known:
                swarm.drop(announce.peer_id)
                self._peer_count -= 1
        elif is_known or (len(swarm.peers) < PEERS_MAX and self._peer_count < PEERS_TOTAL_MAX):
            swarm.put(announce, now)
            self._peer_count += not is_known
            swarm.completed += announce.event is AnnounceEvent.COMPLETED
        if not swarm.peers:
            del self._swarms[announce.info_hash]
        if announce.event is AnnounceEvent.STOPPED:
            return []
        return swarm.sample(self._rng, announce)

    def counts(self, info_hash: bytes, now: int) -> ScrapeCounts:
        """Return how a swarm is."""
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return ScrapeCounts(0, 0, 0)
        self._expire(swarm, now)
        return ScrapeCounts(len(swarm.seeds), len(swarm.leechers), swarm.completed)

    # HTTP

    def announce(self, query: str, host: str, now: int) -> bytes:
        """Answer an announce over HTTP: `query` is the raw query string, `host` who asks."""
        fields = _fields(query)
        info_hash, peer_id = fields.get("info_hash", b""), fields.get("peer_id", b"")
        port = _number(fields.get("port", b""))
        if len(info_hash) != 20 or len(peer_id) != 20 or not 0 < port < 65536:
            return _failure("info_hash, peer_id or port is missing or wrong")
        event = fields.get("event", b"").decode("ascii", "replace").upper()
        found = self.take(
            Announce(
                info_hash,
                peer_id,
                Address(_plain(host), port),
                is_seed=fields.get("left") == b"0",
                event=AnnounceEvent.__members__.get(event, AnnounceEvent.NONE),
                wanted=_number(fields.get("numwant", b""), NUMWANT_DEFAULT),
            ),
            now,
        )
        if isinstance(found, str):
            return _failure(found)
        counts = self.counts(info_hash, now)
        v4, v6 = encode_peers(found)
        return bencode.encode(
            {
                b"interval": INTERVAL_S,
                b"min interval": 5,
                b"complete": counts.seeds,
                b"incomplete": counts.leechers,
                b"peers": v4,
                b"peers6": v6,
            }
        )

    def scrape(self, query: str, now: int) -> bytes:
        """Answer a scrape over HTTP (BEP 48) for one info-hash."""
        info_hash = _fields(query).get("info_hash", b"")
        if info_hash not in self._swarms:
            return bencode.encode({b"files": {}})
        counts = self.counts(info_hash, now)
        entry: dict[bytes, bencode.Value] = {
            b"complete": counts.seeds,
            b"downloaded": counts.completed,
            b"incomplete": counts.leechers,
        }
        return bencode.encode({b"files": {info_hash: entry}})

    def _expire(self, swarm: _TrackedSwarm, now: int) -> None:
        if now < swarm.expire_at:
            return
        swarm.expire_at = now + EXPIRE_EVERY_US
        for peer_id, entry in list(swarm.peers.items()):
            if now - entry.seen_at > entry.patience_us:
                swarm.drop(peer_id)
                self._peer_count -= 1

    def _expire_all(self, now: int) -> None:
        """Make room: swarms that nobody asks about any more go only here."""
        if now < self._expire_all_at:
            return
        self._expire_all_at = now + EXPIRE_EVERY_US
        for info_hash, swarm in list(self._swarms.items()):
            self._expire(swarm, now)
            if not swarm.peers:
                del self._swarms[info_hash]


def refusal(reason: bytes) -> str:
    """Return a tracker's reason for a terminal: short, and without escape sequences."""
    text = reason[:REASON_MAX].decode("utf-8", "replace")
    return "the tracker refuses: " + "".join(each for each in text if each.isprintable())


def _fields(query: str) -> dict[str, bytes]:
    """Binary values are percent-encoded bytes, so no text decoder may touch them."""
    pairs = (part.partition("=") for part in query[:QUERY_MAX].split("&"))
    # "replace": bytes that were never percent-encoded may have become lone surrogates.
    return {name: unquote_to_bytes(value.encode("utf-8", "replace")) for name, _, value in pairs}


def _number(digits: bytes, otherwise: int = 0) -> int:
    return int(digits) if digits.isdigit() and len(digits) < 10 else otherwise


def _plain(host: str) -> str:
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _failure(reason: str) -> bytes:
    return bencode.encode({b"failure reason": reason.encode()})
