"""Asking a UDP tracker (BEP 15, 41): `UdpAnnounce` and `UdpScrape`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random
from struct import Struct
from typing import Final

from livestream.discovery.tracker import ScrapeCounts, refusal
from livestream.discovery.udp_tracker import (
    ANNOUNCE,
    ANSWER,
    COUNTS,
    HEAD,
    PROTOCOL_ID,
    Action,
    UdpWords,
)
from livestream.machine import SECOND, Address
from livestream.wire.compact import decode_peers

__all__ = ["UdpAnnounce", "UdpExchange", "UdpScrape"]

RETRY_FIRST_US: Final = 15 * SECOND  # BEP 15: 15 · 2ⁿ seconds...
RETRIES_MAX: Final = 3  # ...but eight doublings are an hour; another tracker is asked sooner.
PEERS_MAX: Final = 200
OPTION_URL_DATA: Final = 2  # BEP 41
OPTION_BYTES_MAX: Final = 255
URL_DATA_MAX: Final = 2_048
_WORD: Final = Struct("!I")


class UdpExchange(ABC):
    """One question to one UDP tracker: connect, then ask, each repeated until answered.

    Invariant: `is_over` is set exactly once, with an answer or `failure`.
    """

    ACTION: Action

    def __init__(self, rng: Random) -> None:
        self.is_over = False
        self.failure = ""
        self._rng = rng
        self._transaction = rng.getrandbits(32)
        self._connection_id: int | None = None
        self._tries = 0
        self._send_at = 0

    @abstractmethod
    def _question(self, connection_id: int, transaction: int) -> bytes:
        """Return what to ask."""

    @abstractmethod
    def _is_answer(self, data: bytes, *, is_v6: bool) -> bool:
        """Take the answer; False if it cannot be one."""

    def get_timer(self) -> int:
        """Return when `datagram` wants to be asked."""
        return self._send_at

    def datagram(self, now: int) -> bytes | None:
        """Return what to send now, or None: wait, or it is over."""
        if self.is_over or now < self._send_at:
            return None
        if self._tries > RETRIES_MAX:
            self.give_up("no answer")
            return None
        self._send_at = now + (RETRY_FIRST_US << self._tries)
        self._tries += 1
        if self._connection_id is None:
            return HEAD.pack(PROTOCOL_ID, Action.CONNECT, self._transaction)
        return self._question(self._connection_id, self._transaction)

    def receive(self, data: bytes, now: int, *, is_v6: bool) -> None:
        """Take a datagram from the tracker; what is not the answer awaited is ignored."""
        if self.is_over or len(data) < ANSWER.size:
            return
        action, transaction = ANSWER.unpack_from(data)
        if transaction != self._transaction:
            return
        if action == Action.ERROR:
            self.give_up(refusal(data[8:]))
        elif action == Action.CONNECT and self._connection_id is None and len(data) >= 16:
            self._connection_id = int.from_bytes(data[8:16], "big")
            self._transaction = self._rng.getrandbits(32)
            self._tries = 0
            self._send_at = now
        elif action == self.ACTION and self._connection_id is not None:
            self.is_over = self._is_answer(data, is_v6=is_v6)

    def give_up(self, failure: str) -> None:
        """End without an answer."""
        self.failure = failure
        self.is_over = True


class UdpAnnounce(UdpExchange):
    """One announce."""

    ACTION = Action.ANNOUNCE

    def __init__(self, words: UdpWords, rng: Random) -> None:
        super().__init__(rng)
        self.interval_us = 0
        self.peers: list[Address] = []
        self._words = words
        self._key = rng.getrandbits(32)

    def _question(self, connection_id: int, transaction: int) -> bytes:
        words = self._words
        progress = words.progress
        announce = ANNOUNCE.pack(
            connection_id,
            Action.ANNOUNCE,
            transaction,
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
        return announce + _options(words.url_data[:URL_DATA_MAX])

    def _is_answer(self, data: bytes, *, is_v6: bool) -> bool:
        if len(data) < 20:
            return False
        self.interval_us = _WORD.unpack_from(data, 8)[0] * SECOND
        size = 18 if is_v6 else 6
        body = data[20 : 20 + size * PEERS_MAX]
        body = body[: len(body) // size * size]
        self.peers = decode_peers(b"", body) if is_v6 else decode_peers(body, b"")
        return True


class UdpScrape(UdpExchange):
    """One question for how a swarm is."""

    ACTION = Action.SCRAPE

    def __init__(self, info_hash: bytes, rng: Random) -> None:
        super().__init__(rng)
        self.counts: ScrapeCounts | None = None
        self._info_hash = info_hash

    def _question(self, connection_id: int, transaction: int) -> bytes:
        return HEAD.pack(connection_id, Action.SCRAPE, transaction) + self._info_hash

    def _is_answer(self, data: bytes, *, is_v6: bool) -> bool:
        if len(data) < ANSWER.size + COUNTS.size:
            return False
        seeds, completed, leechers = COUNTS.unpack_from(data, ANSWER.size)
        self.counts = ScrapeCounts(seeds=seeds, leechers=leechers, completed=completed)
        return True


def _options(url_data: bytes) -> bytes:
    """BEP 41: in pieces of at most 255 bytes, which the other side joins."""
    parts = []
    for at in range(0, len(url_data), OPTION_BYTES_MAX):
        part = url_data[at : at + OPTION_BYTES_MAX]
        parts.append(bytes((OPTION_URL_DATA, len(part))) + part)
    return b"".join(parts)
