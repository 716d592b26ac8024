"""A tracker's state (BEP 3, 7, 23, 48): who is in which swarm."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from random import Random
from typing import Final
from urllib.parse import unquote_to_bytes

from livestream.machine import SECOND, Address
from livestream.wire import bencode
from livestream.wire.compact import encode_peers

__all__ = ["TrackerState"]

INTERVAL_S: Final = 30
EXPIRY_US: Final = 2 * INTERVAL_S * SECOND
SWARMS_MAX: Final = 1_000
PEERS_MAX: Final = 20_000  # Of one swarm.
NUMWANT_MAX: Final = 50
QUERY_MAX: Final = 2_048


@dataclass(slots=True)
class _Entry:
    address: Address
    seen_at: int


class TrackerState:
    """Swarms by info-hash, peers by peer id; both bounded, and forgotten when silent."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._swarms: dict[bytes, dict[bytes, _Entry]] = {}

    def announce(self, query: str, host: str, now: int) -> bytes:
        """Answer an announce: `query` is the raw query string, `host` who asks."""
        fields = _fields(query)
        info_hash, peer_id = fields.get("info_hash", b""), fields.get("peer_id", b"")
        port = _number(fields.get("port", b""))
        if len(info_hash) != 20 or len(peer_id) != 20 or not 0 < port < 65536:
            return _failure("info_hash, peer_id or port is missing or wrong")
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            if len(self._swarms) >= SWARMS_MAX:
                return _failure("too many swarms")
            swarm = self._swarms[info_hash] = {}
        self._expire(swarm, now)
        if fields.get("event") == b"stopped":
            swarm.pop(peer_id, None)
        elif peer_id in swarm or len(swarm) < PEERS_MAX:
            swarm[peer_id] = _Entry(Address(_plain(host), port), now)
        wanted = min(_number(fields.get("numwant", b"50"), NUMWANT_MAX), NUMWANT_MAX)
        others = [entry.address for known, entry in swarm.items() if known != peer_id]
        chosen = self._rng.sample(others, min(wanted, len(others)))
        v4, v6 = encode_peers(chosen)
        return bencode.encode(
            {
                b"interval": INTERVAL_S,
                b"min interval": 5,
                b"complete": 0,
                b"incomplete": len(swarm),
                b"peers": v4,
                b"peers6": v6,
            }
        )

    def scrape(self, query: str, now: int) -> bytes:
        """Answer a scrape (BEP 48) for one info-hash."""
        info_hash = _fields(query).get("info_hash", b"")
        swarm = self._swarms.get(info_hash, {})
        self._expire(swarm, now)
        counts: bencode.Value = {b"complete": 0, b"downloaded": 0, b"incomplete": len(swarm)}
        return bencode.encode({b"files": {info_hash: counts} if swarm else {}})

    def _expire(self, swarm: dict[bytes, _Entry], now: int) -> None:
        for peer_id, entry in list(swarm.items()):
            if now - entry.seen_at > EXPIRY_US:
                del swarm[peer_id]


def _fields(query: str) -> dict[str, bytes]:
    """Binary values are percent-encoded bytes, so no text decoder may touch them."""
    pairs = (part.partition("=") for part in query[:QUERY_MAX].split("&"))
    return {name: unquote_to_bytes(value) for name, _, value in pairs}


def _number(digits: bytes, otherwise: int = 0) -> int:
    return int(digits) if digits.isdigit() and len(digits) < 10 else otherwise


def _plain(host: str) -> str:
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _failure(reason: str) -> bytes:
    return bencode.encode({b"failure reason": reason.encode()})
