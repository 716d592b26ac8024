"""Announcing to a tracker (BEP 3, 7, 23): when, with what words, and what it answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote_from_bytes

from livestream.discovery.tracker import AnnounceEvent, refusal
from livestream.discovery.udp_tracker import Progress
from livestream.errors import MessageDecodeError
from livestream.machine import SECOND, Address
from livestream.wire import bencode
from livestream.wire.compact import decode_peers

__all__ = ["LIVE", "TORRENT", "Announcer", "Answer", "Pace", "parse_response"]

PEERS_MAX: Final = 200
INTERVAL_MIN_US: Final = 5 * SECOND
INTERVAL_MAX_US: Final = 3_600 * SECOND
HUNGRY_INTERVAL_US: Final = 120 * SECOND  # Without a `min interval`, what most clients take.
HUNGRY_OUTSIDE_US: Final = 60 * SECOND  # Never sooner, with whatever `min interval`.
HUNGRY_INSIDE_US: Final = 10 * SECOND
RESPONSE_BYTES_MAX: Final = 1 << 20
TRACKER_ID_MAX: Final = 256
FAILURE_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Pace:
    """How often trackers are asked, in µs."""

    interval_min_us: int
    "Between announces to a tracker on the internet, whatever it says itself."
    retry_first_us: int
    retry_max_us: int
    retry_growth_percent: int


LIVE: Final = Pace(
    interval_min_us=INTERVAL_MIN_US,
    retry_first_us=5 * SECOND,
    retry_max_us=60 * SECOND,  # A publisher's own tracker comes back with the publisher.
    retry_growth_percent=200,
)
TORRENT: Final = Pace(
    interval_min_us=300 * SECOND,
    retry_first_us=15 * SECOND,
    retry_max_us=3_600 * SECOND,
    retry_growth_percent=250,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tracker said."""

    interval_us: int
    peers: list[Address]
    min_interval_us: int = 0
    "Never sooner than this; 0: it did not say."
    tracker_id: bytes = b""
    "To be said again the next time."


class Announcer:
    """One swarm at one tracker: a small machine whose input and output are HTTP bodies."""

    def __init__(
        self,
        url: str,
        info_hash: bytes,
        peer_id: bytes,
        port: int,
        progress: Callable[[], Progress] = Progress,
        *,
        pace: Pace = LIVE,
        is_trusted: bool = False,
        is_hungry: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take whom to ask, for whom, and how to learn how far it is.

        Args:
            url: The tracker.
            info_hash: The swarm.
            peer_id: Who we are in it.
            port: Where we listen.
            progress: Says how far we are.
            pace: How often to ask.
            is_trusted: The user named the tracker: it may be anywhere, even on this machine.
            is_hungry: Says whether we know of nobody, and so would like to ask again soon.
        """
        self.url = url
        self.is_trusted = is_trusted
        self.failures = 0
        self.failure = ""
        "Why there was no answer the last time; what the tracker said when it refused us."
        self.words = info_hash, peer_id, port
        self.progress = progress
        self.has_started = False
        "The tracker has answered once, so it knows us."
        self._pace = pace
        self._is_hungry = is_hungry
        self._was_complete = progress().left == 0
        self._tracker_id = b""
        self._is_telling_completion = False
        self._next_at = 0
        self._hungry_at = 0
        self._retry_us = 0

    def get_timer(self) -> int:
        """Return when to announce next."""
        if self._hungry_at < self._next_at and self._is_hungry():
            return self._hungry_at
        return self._next_at

    def query(self, now: int, *, is_leaving: bool = False) -> str:
        """Return what to add to the URL for an announce now; the answer goes to `receive`."""
        how_far = self.progress()
        event = self.begin(how_far, now, is_leaving=is_leaving)
        info_hash, peer_id, port = self.words
        words = (
            f"info_hash={quote_from_bytes(info_hash, safe='')}"
            f"&peer_id={quote_from_bytes(peer_id, safe='')}&port={port}"
            f"&compact=1&numwant={0 if is_leaving else 50}"
            f"&uploaded={how_far.uploaded}&downloaded={how_far.downloaded}&left={how_far.left}"
        )
        words += f"&event={event.name.lower()}" if event else ""
        identifier = quote_from_bytes(self._tracker_id, safe="")
        return words + (f"&trackerid={identifier}" if identifier else "")

    def begin(self, how_far: Progress, now: int, *, is_leaving: bool) -> AnnounceEvent:
        """Note that an announce goes out, and return what it tells beside the numbers."""
        self._next_at = self._hungry_at = now + self._pace.retry_max_us
        if is_leaving:
            return AnnounceEvent.STOPPED
        if not self.has_started:
            return AnnounceEvent.STARTED
        self._is_telling_completion = how_far.left == 0 and not self._was_complete
        if self._is_telling_completion:
            return AnnounceEvent.COMPLETED
        return AnnounceEvent.PAUSED if how_far.is_paused else AnnounceEvent.NONE

    @property
    def is_completion_due(self) -> bool:
        """Whether a tracker that knows us, and answers, has not heard that we have it all."""
        is_told = self._was_complete or self._is_telling_completion
        is_heard = self.has_started and not self.failures
        return is_heard and not is_told and self.progress().left == 0

    @property
    def has_told_completion(self) -> bool:
        """Whether there is nothing (more) to tell of having it all."""
        return self._was_complete

    def note_completion(self) -> None:
        """Another tracker of the same tier was told."""
        self._was_complete = True

    def receive(self, body: bytes | None, now: int, *, is_inside: bool = False) -> list[Address]:
        """Take an answer (None: there was none) and return the peers in it.

        Args:
            body: As it came.
            now: Machine time.
            is_inside: The tracker is on this machine or its own network.
        """
        if body is None:
            self.on_failure("no answer", now)
            return []
        try:
            answer = parse_response(body)
        except MessageDecodeError as error:
            self.on_failure(str(error), now)
            return []
        self.on_answer(answer, now, is_inside=is_inside)
        return answer.peers

    def on_answer(self, answer: Answer, now: int, *, is_inside: bool) -> None:
        """The tracker answered: it wants to hear from us again when it says."""
        self.failures = 0
        self.failure = ""
        self.has_started = True
        self._tracker_id = answer.tracker_id or self._tracker_id
        # In a closed network, who runs the tracker knows best.
        shortest_us = INTERVAL_MIN_US if is_inside else self._pace.interval_min_us
        least_us = min(max(answer.min_interval_us, shortest_us), INTERVAL_MAX_US)
        self._next_at = now + min(max(answer.interval_us, least_us), INTERVAL_MAX_US)
        hungry_us = answer.min_interval_us or (0 if is_inside else HUNGRY_INTERVAL_US)
        floor_us = HUNGRY_INSIDE_US if is_inside else HUNGRY_OUTSIDE_US
        self._hungry_at = now + min(max(hungry_us, floor_us), INTERVAL_MAX_US)
        if self._is_telling_completion:
            self._is_telling_completion = False
            self._was_complete = True

    def on_failure(self, reason: str, now: int) -> None:
        """The tracker did not answer, or refused."""
        self.failure = reason[:FAILURE_CHARACTERS_MAX]
        grown_us = self._retry_us * self._pace.retry_growth_percent // 100
        self._retry_us = self._pace.retry_first_us if not self.failures else grown_us
        self._retry_us = min(self._retry_us, self._pace.retry_max_us)
        self.failures += 1
        self._is_telling_completion = False
        self._next_at = self._hungry_at = now + self._retry_us


def parse_response(body: bytes) -> Answer:
    """Parse an answer; its intervals are within reason, its peers at most PEERS_MAX.

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
        raise MessageDecodeError(refusal(reason))
    peers = fields.get(b"peers", b"")
    peers6 = fields.get(b"peers6", b"")
    if isinstance(peers, list):
        found = _dictionary_peers(peers)
    else:
        found = decode_peers(peers if isinstance(peers, bytes) else b"", b"")
    found += decode_peers(b"", peers6 if isinstance(peers6, bytes) else b"")
    tracker_id = fields.get(b"tracker id", b"")
    return Answer(
        max(_interval_us(fields.get(b"interval")), INTERVAL_MIN_US),
        found[:PEERS_MAX],
        _interval_us(fields.get(b"min interval")),
        tracker_id[:TRACKER_ID_MAX] if isinstance(tracker_id, bytes) else b"",
    )


def _interval_us(seconds: bencode.Value | None) -> int:
    if not isinstance(seconds, int):
        return 0
    return min(max(seconds * SECOND, 0), INTERVAL_MAX_US)


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
