"""Trackers over UDP (BEP 15): the layouts, and what a server answers (`UdpTrackerServer`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from random import Random
from struct import Struct
from typing import Final

from livestream.discovery.tracker import (
    INTERVAL_S,
    NUMWANT_DEFAULT,
    Announce,
    AnnounceEvent,
    TrackerState,
)
from livestream.machine import SECOND, Address
from livestream.wire.compact import encode_peers

__all__ = [
    "ANNOUNCE",
    "ANSWER",
    "COUNTS",
    "HEAD",
    "PROTOCOL_ID",
    "SCRAPE_MAX",
    "Action",
    "Progress",
    "UdpTrackerServer",
    "UdpWords",
]

PROTOCOL_ID: Final = 0x41727101980
CONNECTION_LIFE_US: Final = 60 * SECOND
SCRAPE_MAX: Final = 74  # BEP 15: what fits into one datagram.
HEAD: Final = Struct("!QII")  # Connection id or protocol id, action, transaction id.
ANNOUNCE: Final = Struct("!QII20s20sQQQIIIiH")
ANSWER: Final = Struct("!II")
COUNTS: Final = Struct("!III")


class Action(IntEnum):
    """What a datagram is about."""

    CONNECT = 0
    ANNOUNCE = 1
    SCRAPE = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a torrent is, in bytes."""

    uploaded: int = 0
    downloaded: int = 0
    left: int = 1
    is_paused: bool = False
    "Nothing more is wanted, though not all is here (BEP 21)."


@dataclass(frozen=True, slots=True)
class UdpWords:
    """What an announce says."""

    info_hash: bytes
    peer_id: bytes
    port: int
    progress: Progress
    event: AnnounceEvent
    url_data: bytes = b""
    "Path and query of the tracker's URL (BEP 41): some tell swarms or users apart by it."


class UdpTrackerServer:
    """Answers datagrams out of a `TrackerState`.

    A connection id is a keyed hash over the address and the minute, so it costs no memory, and
    nothing longer than what was sent goes to an address that has not shown that it gets answers.
    """

    def __init__(self, state: TrackerState, rng: Random) -> None:
        self._state = state
        self._secret = rng.randbytes(32)

    def receive(self, data: bytes, source: Address, now: int) -> bytes | None:
        """Return the answer to a datagram, or None for one that gets none."""
        if len(data) < HEAD.size:
            return None
        connection_id, action, transaction = HEAD.unpack_from(data)
        if action == Action.CONNECT and connection_id == PROTOCOL_ID:
            return ANSWER.pack(action, transaction) + self._id(source, now)
        if connection_id.to_bytes(8, "big") not in (
            self._id(source, now),
            self._id(source, now - CONNECTION_LIFE_US),
        ):
            return None
        if action == Action.ANNOUNCE and len(data) >= ANNOUNCE.size:
            return self._announce(data, source, transaction, now)
        if action == Action.SCRAPE:
            return self._scrape(data[HEAD.size :], transaction, now)
        return _error(transaction, "malformed")

    def _announce(self, data: bytes, source: Address, transaction: int, now: int) -> bytes:
        fields = ANNOUNCE.unpack_from(data)
        info_hash, peer_id, left, event, wanted, port = (
            fields[3],
            fields[4],
            fields[6],
            fields[8],
            fields[11],
            fields[12],
        )
        if not port or event not in tuple(AnnounceEvent):
            return _error(transaction, "port or event is wrong")
        found = self._state.take(
            Announce(
                info_hash,
                peer_id,
                Address(source.host, port),
                is_seed=left == 0,
                event=AnnounceEvent(event),
                wanted=wanted if wanted >= 0 else NUMWANT_DEFAULT,
            ),
            now,
        )
        if isinstance(found, str):
            return _error(transaction, found)
        v4, v6 = encode_peers(found)
        counts = self._state.counts(info_hash, now)
        head = ANSWER.pack(Action.ANNOUNCE, transaction)
        return (
            head
            + COUNTS.pack(INTERVAL_S, counts.leechers, counts.seeds)
            + (v6 if ":" in source.host else v4)
        )

    def _scrape(self, hashes: bytes, transaction: int, now: int) -> bytes:
        parts = [ANSWER.pack(Action.SCRAPE, transaction)]
        for at in range(0, min(len(hashes), 20 * SCRAPE_MAX) - 19, 20):
            counts = self._state.counts(hashes[at : at + 20], now)
            parts.append(COUNTS.pack(counts.seeds, counts.completed, counts.leechers))
        return b"".join(parts)

    def _id(self, source: Address, now: int) -> bytes:
        minute = now // CONNECTION_LIFE_US
        name = f"{source.host} {source.port} {minute}".encode()
        return blake2b(name, digest_size=8, key=self._secret).digest()


def _error(transaction: int, reason: str) -> bytes:
    return ANSWER.pack(Action.ERROR, transaction) + reason.encode()
