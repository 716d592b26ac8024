"""Asking an HTTP tracker how a swarm is (BEP 48): where, and what it answered."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote_from_bytes, urlsplit, urlunsplit

from livestream.discovery.tracker import ScrapeCounts, refusal
from livestream.errors import MessageDecodeError
from livestream.wire import bencode

__all__ = ["parse_scrape", "scrape_query", "scrape_url"]

_WORD: Final = "announce"


def scrape_url(announce_url: str) -> str | None:
    """Return where to scrape; None: this tracker has no such place.

    "If the text immediately following that '/' isn't 'announce' it will be taken as a sign that
    that tracker doesn't support the scrape convention. If it does, substitute 'scrape' for
    'announce'."
    """
    try:
        parts = urlsplit(announce_url)
    except ValueError:
        return None
    folder, slash, last = parts.path.rpartition("/")
    if not slash or not last.startswith(_WORD):
        return None
    path = f"{folder}/scrape{last.removeprefix(_WORD)}"
    return urlunsplit(parts._replace(path=path))


def scrape_query(info_hash: bytes) -> str:
    """Return what to add to the URL."""
    return f"info_hash={quote_from_bytes(info_hash, safe='')}"


def parse_scrape(body: bytes, info_hash: bytes) -> ScrapeCounts:
    """Return the counts of one swarm; all are 0 when the tracker does not know it.

    Raises:
        MessageDecodeError: not an answer, or a refusal with its reason.
    """
    fields = bencode.decode(body, allow_unsorted=True)
    if not isinstance(fields, dict):
        raise MessageDecodeError("a tracker's answer without a dictionary")
    reason = fields.get(b"failure reason")
    if isinstance(reason, bytes):
        raise MessageDecodeError(refusal(reason))
    files = fields.get(b"files")
    if not isinstance(files, dict):
        raise MessageDecodeError("a tracker's answer without files")
    entry = files.get(info_hash, {})
    if not isinstance(entry, dict):
        raise MessageDecodeError("a tracker's answer without counts")
    return ScrapeCounts(
        seeds=_count(entry.get(b"complete")),
        leechers=_count(entry.get(b"incomplete")),
        completed=_count(entry.get(b"downloaded")),
    )


def _count(value: bencode.Value | None) -> int:
    return min(max(value, 0), (1 << 32) - 1) if isinstance(value, int) else 0
