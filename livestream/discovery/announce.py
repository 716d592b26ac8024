"""Announcing to an HTTP tracker (BEP 3, 7, 23): when, with what words, and what it answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote_from_bytes

from livestream.discovery.tracker import AnnounceEvent
from livestream.discovery.udp_tracker import Progress
from livestream.errors import MessageDecodeError
from livestream.machine import SECOND, Address
from livestream.wire import bencode
from livestream.wire.compact import decode_peers

__all__ = ["Announcer", "parse_response"]

PEERS_MAX: Final = 200
INTERVAL_MIN_US: Final = 5 * SECOND
INTERVAL_MAX_US: Final = 3_600 * SECOND
RETRY_FIRST_US: Final = 5 * SECOND
RETRY_MAX_US: Final = 60 * SECOND  # A publisher's own tracker comes back with the publisher.
RESPONSE_BYTES_MAX: Final = 1 << 20


class Announcer:
    """One swarm at one tracker: a small machine whose input and output are HTTP bodies."""

    def __init__(
        self,
        url: str,
        info_hash: bytes,
        peer_id: bytes,
        port: int,
        progress: Callable[[], Progress] = Progress,
    ) -> None:
        """Take whom to ask, for whom, and how to learn how far it is."""
        self.url = url
        self.failures = 0
        self.failure = ""
        "What the tracker said when it refused us."
        self._query = (
            f"info_hash={quote_from_bytes(info_hash, safe='')}"
            f"&peer_id={quote_from_bytes(peer_id, safe='')}&port={port}"
            "&compact=1&numwant=50"
        )
        self.words = info_hash, peer_id, port
        self.progress = progress
        self._was_complete = progress().left == 0
        self._next_at = 0
        self.has_started = False
        "The tracker has answered once, so it knows us."

    def get_timer(self) -> int:
        """Return when to announce next."""
        return self._next_at

    def request(self, now: int, *, is_leaving: bool = False) -> str:
        """Return the URL to get now; the answer goes to `receive`."""
        self._next_at = now + RETRY_MAX_US
        how_far = self.progress()
        event = self.next_event(how_far, is_leaving=is_leaving)
        joint = "&" if "?" in self.url else "?"
        numbers = (
            f"&uploaded={how_far.uploaded}&downloaded={how_far.downloaded}&left={how_far.left}"
        )
        name = f"&event={event.name.lower()}" if event else ""
        return f"{self.url}{joint}{self._query}{numbers}{name}"

    def next_event(self, how_far: Progress, *, is_leaving: bool) -> AnnounceEvent:
        """Return what to tell besides the numbers; `completed` is told once."""
        if is_leaving:
            return AnnounceEvent.STOPPED
        if not self.has_started:
            return AnnounceEvent.STARTED
        if how_far.left == 0 and not self._was_complete:
            self._was_complete = True
            return AnnounceEvent.COMPLETED
        return AnnounceEvent.NONE

    @property
    def is_completion_due(self) -> bool:
        """Whether a tracker that knows us has not yet heard that we have it all."""
        return self.has_started and not self._was_complete and self.progress().left == 0

    def receive(self, body: bytes | None, now: int) -> list[Address]:
        """Take an answer (None: there was none) and return the peers in it."""
        if body is not None:
            try:
                interval_us, peers = parse_response(body)
            except MessageDecodeError as error:
                self.failure = str(error)
            else:
                self.on_answer(interval_us, now)
                return peers
        self.on_failure(now)
        return []

    def on_answer(self, interval_us: int, now: int) -> None:
        """The tracker answered: it wants to hear from us again after this."""
        self.failures = 0
        self.failure = ""
        self.has_started = True
        self._next_at = now + min(max(interval_us, INTERVAL_MIN_US), INTERVAL_MAX_US)

    def on_failure(self, now: int) -> None:
        """The tracker did not answer, or refused."""
        self.failures += 1
        self._next_at = now + min(RETRY_MAX_US, RETRY_FIRST_US << min(self.failures - 1, 8))


def parse_response(body: bytes) -> tuple[int, list[Address]]:
    """Return the interval in µs, within reason, and at most PEERS_MAX peers.

    Raises:
        MessageDecodeError: not an answer, or a refusal with its reason.
    """
    if len(body) > RESPONSE_BYTES_MAX:
        raise MessageDecodeError(f"a tracker's answer of {len(body)} bytes")
    fields = bencode.decode(body, allow_unsorted=True)
    if not isinstance(fields, dict):
        raise MessageDecodeError("a tracker's answer without a dictionary")
    reason = fields.get(b"failure reason")
    if isinstance(reason, bytes):
        raise MessageDecodeError("the tracker refuses: " + reason[:100].decode("utf-8", "replace"))
    interval = fields.get(b"interval", 0)
    interval_us = interval * SECOND if isinstance(interval, int) else 0
    peers = fields.get(b"peers", b"")
    peers6 = fields.get(b"peers6", b"")
    if isinstance(peers, list):
        found = _dictionary_peers(peers)
    else:
        found = decode_peers(peers if isinstance(peers, bytes) else b"", b"")
    found += decode_peers(b"", peers6 if isinstance(peers6, bytes) else b"")
    return min(max(interval_us, INTERVAL_MIN_US), INTERVAL_MAX_US), found[:PEERS_MAX]


def _dictionary_peers(entries: Sequence[bencode.Value]) -> list[Address]:
    found = []
    for entry in entries[:PEERS_MAX]:
        host = entry.get(b"ip") if isinstance(entry, dict) else None
        port = entry.get(b"port") if isinstance(entry, dict) else None
        if not isinstance(host, bytes) or not isinstance(port, int) or not 0 < port < 65536:
            continue
        try:
            found.append(Address(str(ip_address(host.decode("ascii", "replace"))), port))
        except ValueError:
            continue
    return found
