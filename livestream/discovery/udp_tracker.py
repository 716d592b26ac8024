"""Trackers over UDP (BEP 15): what a server answers, and a client's side of it."""

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
from livestream.wire.compact import decode_peers, encode_peers

__all__ = ["Progress", "UdpAnnounce", "UdpTrackerServer", "UdpWords"]

PROTOCOL_ID: Final = 0x41727101980
CONNECTION_LIFE_US: Final = 60 * SECOND
SCRAPE_MAX: Final = 74  # BEP 15: what fits into one datagram.
RETRY_FIRST_US: Final = 15 * SECOND  # BEP 15: 15 · 2ⁿ seconds...
RETRIES_MAX: Final = 3  # ...but eight doublings are an hour; another tracker is asked sooner.
PEERS_MAX: Final = 200
_HEAD: Final = Struct("!QII")  # Connection id or protocol id, action, transaction id.
_ANNOUNCE: Final = Struct("!QII20s20sQQQIIIiH")
_ANSWER: Final = Struct("!II")
_COUNTS: Final = Struct("!III")
_WORD: Final = Struct("!I")


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


@dataclass(frozen=True, slots=True)
class UdpWords:
    """What an announce says."""

    info_hash: bytes
    peer_id: bytes
    port: int
    progress: Progress
    event: AnnounceEvent


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
        if len(data) < _HEAD.size:
            return None
        connection_id, action, transaction = _HEAD.unpack_from(data)
        if action == Action.CONNECT and connection_id == PROTOCOL_ID:
            return _ANSWER.pack(action, transaction) + self._id(source, now)
        if connection_id.to_bytes(8, "big") not in (
            self._id(source, now),
            self._id(source, now - CONNECTION_LIFE_US),
        ):
            return None
        if action == Action.ANNOUNCE and len(data) >= _ANNOUNCE.size:
            return self._announce(data, source, transaction, now)
        if action == Action.SCRAPE:
            return self._scrape(data[_HEAD.size :], transaction, now)
        return _error(transaction, "malformed")

    def _announce(self, data: bytes, source: Address, transaction: int, now: int) -> bytes:
        fields = _ANNOUNCE.unpack_from(data)
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
        head = _ANSWER.pack(Action.ANNOUNCE, transaction)
        return (
            head
            + _COUNTS.pack(INTERVAL_S, counts.leechers, counts.seeds)
            + (v6 if ":" in source.host else v4)
        )

    def _scrape(self, hashes: bytes, transaction: int, now: int) -> bytes:
        parts = [_ANSWER.pack(Action.SCRAPE, transaction)]
        for at in range(0, min(len(hashes), 20 * SCRAPE_MAX) - 19, 20):
            counts = self._state.counts(hashes[at : at + 20], now)
            parts.append(_COUNTS.pack(counts.seeds, counts.completed, counts.leechers))
        return b"".join(parts)

    def _id(self, source: Address, now: int) -> bytes:
        minute = now // CONNECTION_LIFE_US
        name = f"{source.host} {source.port} {minute}".encode()
        return blake2b(name, digest_size=8, key=self._secret).digest()


class UdpAnnounce:
    """One announce at one UDP tracker: connect, then announce, each repeated until answered.

    Invariant: `is_over` is set exactly once, with `peers` or `failure`.
    """

    def __init__(self, words: UdpWords, rng: Random) -> None:
        self.is_over = False
        self.failure = ""
        self.interval_us = 0
        self.peers: list[Address] = []
        self._rng = rng
        self._words = words
        self._key = rng.getrandbits(32)
        self._transaction = rng.getrandbits(32)
        self._connection_id: int | None = None
        self._tries = 0
        self._send_at = 0

    def get_timer(self) -> int:
        """Return when `datagram` wants to be asked."""
        return self._send_at

    def datagram(self, now: int) -> bytes | None:
        """Return what to send now, or None: wait, or it is over."""
        if self.is_over or now < self._send_at:
            return None
        if self._tries > RETRIES_MAX:
            self._end("no answer")
            return None
        self._send_at = now + (RETRY_FIRST_US << self._tries)
        self._tries += 1
        if self._connection_id is None:
            return _HEAD.pack(PROTOCOL_ID, Action.CONNECT, self._transaction)
        words = self._words
        progress = words.progress
        return _ANNOUNCE.pack(
            self._connection_id,
            Action.ANNOUNCE,
            self._transaction,
            words.info_hash,
            words.peer_id,
            progress.downloaded,
            progress.left,
            progress.uploaded,
            words.event,
            0,
            self._key,
            PEERS_MAX,
            words.port,
        )

    def receive(self, data: bytes, now: int, *, is_v6: bool) -> None:
        """Take a datagram from the tracker; what is not the answer awaited is ignored."""
        if self.is_over or len(data) < _ANSWER.size:
            return
        action, transaction = _ANSWER.unpack_from(data)
        if transaction != self._transaction:
            return
        if action == Action.ERROR:
            self._end("the tracker refuses: " + data[8:108].decode("utf-8", "replace"))
        elif action == Action.CONNECT and self._connection_id is None and len(data) >= 16:
            self._connection_id = int.from_bytes(data[8:16], "big")
            self._transaction = self._rng.getrandbits(32)
            self._tries = 0
            self._send_at = now
        elif action == Action.ANNOUNCE and self._connection_id is not None and len(data) >= 20:
            self.interval_us = _WORD.unpack_from(data, 8)[0] * SECOND
            size = 18 if is_v6 else 6
            body = data[20 : 20 + size * PEERS_MAX]
            body = body[: len(body) // size * size]
            self.peers = decode_peers(b"", body) if is_v6 else decode_peers(body, b"")
            self.is_over = True

    def _end(self, failure: str) -> None:
        self.failure = failure
        self.is_over = True


def _error(transaction: int, reason: str) -> bytes:
    return _ANSWER.pack(Action.ERROR, transaction) + reason.encode()
