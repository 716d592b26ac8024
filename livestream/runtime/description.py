"""What a torrent or a link says, and what its trackers and peers do (`describe`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import SystemRandom

from livestream.discovery.link import ChannelLink
from livestream.errors import UsageError
from livestream.live.channel import info_hash_of
from livestream.machine import Address
from livestream.runtime.scraping import TrackerCounts, scrape
from livestream.runtime.sources import is_from_internet, read_torrent
from livestream.runtime.visiting import find_peers, new_peer_id, visit_peers
from livestream.swarm.visit import VisitReport
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo
from livestream.wire.messages import Handshake

__all__ = ["Inquiry", "describe"]


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What to ask on the network beside what the source says itself."""

    is_scraping: bool = False
    is_visiting: bool = False
    trackers: tuple[str, ...] = ()
    "Named by the user."
    peers: tuple[Address, ...] = ()


async def describe(source: str, inquiry: Inquiry | None = None) -> dict[str, object]:
    """Return what there is to know, in the order to show it.

    Raises:
        UserError: it is neither a torrent nor a link.
    """
    asked = inquiry or Inquiry()
    if "urn:btpk:" in source:
        link = ChannelLink.parse(source)
        if asked.is_visiting:
            raise UsageError("--peers is for torrents: `livestream watch` shows a channel's peers.")
        known = _channel(link)
        tiers = [(url,) for url in link.trackers]
        return known | await _ask(asked, info_hash_of(link.public_key), tiers, (), None)
    found = await read_torrent(source)
    if isinstance(found, Magnet):
        tiers = [(url,) for url in found.trackers]
        return _magnet(found) | await _ask(asked, found.info_hash, tiers, found.peers, None)
    trusted = () if is_from_internet(source) else found.trackers
    return _torrent(found) | await _ask(
        asked, found.info_hash, found.trackers, (), found.piece_count, trusted=trusted
    )


async def _ask(
    inquiry: Inquiry,
    info_hash: bytes,
    listed: Sequence[Sequence[str]],
    peers: Sequence[Address],
    piece_count: int | None,
    *,
    trusted: Sequence[Sequence[str]] = (),
) -> dict[str, object]:
    tiers = [*((url,) for url in inquiry.trackers), *listed]
    named = [*inquiry.trackers, *(url for tier in trusted for url in tier)]
    answers: dict[str, object] = {}
    if inquiry.is_scraping:
        urls = list(dict.fromkeys(url for tier in tiers for url in tier))
        counts = await scrape(urls, info_hash, trusted=named)
        answers["scrape"] = [_shown_counts(each) for each in counts]
    if inquiry.is_visiting:
        rng = SystemRandom()
        handshake = Handshake(info_hash, new_peer_id(rng))
        found = await find_peers(tiers, handshake, named, rng)
        callees = list(dict.fromkeys([*inquiry.peers, *peers, *found]))
        reports = await visit_peers(callees, handshake, piece_count)
        answers["swarm"] = [_shown_visit(each) for each in reports]
    return answers


def _shown_counts(tracker: TrackerCounts) -> dict[str, object]:
    if tracker.counts is None:
        return {"tracker": tracker.url, "failure": tracker.failure}
    counts = tracker.counts
    return {
        "tracker": tracker.url,
        "seeders": counts.seeds,
        "leechers": counts.leechers,
        "downloads": counts.completed,
    }


def _shown_visit(report: VisitReport) -> dict[str, object]:
    if report.failure:
        return {"address": str(report.address), "failure": report.failure}
    percent = None if report.share is None else round(100 * report.share, 1)
    return {"address": str(report.address), "client": report.client, "percent": percent}


def _channel(link: ChannelLink) -> dict[str, object]:
    return {
        "kind": "channel",
        "name": link.name,
        "public_key": link.public_key.hex(),
        "trackers": list(link.trackers),
        "peers": [str(peer) for peer in link.peers],
    }


def _magnet(found: Magnet) -> dict[str, object]:
    return {
        "kind": "magnet",
        "name": found.name,
        "info_hash_v1": found.info_hash_v1.hex(),
        "info_hash_v2": found.info_hash_v2.hex(),
        "trackers": list(found.trackers),
        "web_seeds": list(found.web_seeds),
        "peers": [str(peer) for peer in found.peers],
    }


def _torrent(found: Metainfo) -> dict[str, object]:
    return {
        "kind": "torrent",
        "name": found.name,
        "length": found.length,
        "info_hash_v1": found.info_hash_v1.hex() if found.has_v1 else "",
        "info_hash_v2": found.info_hash_v2.hex() if found.has_v2 else "",
        "piece_length": found.piece_length,
        "pieces": found.piece_count,
        "is_private": found.is_private,
        "trackers": [url for tier in found.trackers for url in tier],
        "web_seeds": list(found.web_seeds),
        "comment": found.comment,
        "created_by": found.created_by,
        "magnet": str(Magnet.of(found)),
        "files": [
            {"number": number, "length": entry.length, "path": "/".join(entry.path)}
            for number, entry in enumerate(found.files)
            if not entry.is_padding
        ],
    }
