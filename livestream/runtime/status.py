"""How a torrent is doing, in numbers for programs and in words for people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from livestream.runtime.magnets import tracker_failure
from livestream.runtime.screen import Row
from livestream.runtime.torrent import Torrent
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.swarm import transports_used

__all__ = ["eta_text", "rate_text", "row_of", "stats_of", "why_idle"]

MOVING_BPS: Final = 1_000  # Below this nothing moves: averages fade, and never reach zero.
ETA_MAX_S: Final = 100 * 24 * 3_600
NEVER_ASKED: Final = "no peers yet: asking the trackers"


def stats_of(torrents: Sequence[Torrent]) -> dict[str, float | int | str]:
    """Return the counters of `--stats`, of several torrents together; rates are averages."""
    swarms = [torrent.swarm for torrent in torrents]
    return {
        "time": time.time(),
        "down_bps": int(8 * sum(peer.rate_in for each in swarms for peer in each.block_peers)),
        "up_bps": int(8 * sum(peer.rate_out for each in swarms for peer in each.block_peers)),
        "peers": sum(len(each.ready) for each in swarms),
        "pieces_received": sum(each.stats.pieces_received for each in swarms),
        "pieces_rejected": sum(each.stats.pieces_rejected for each in swarms),
        "blocks_wasted": sum(each.requests.blocks_wasted for each in swarms),
        "pieces_held": sum(torrent.store.held.held for torrent in torrents),
        "pieces": sum(torrent.metainfo.piece_count for torrent in torrents),
        "payload_bytes": sum(each.stats.payload_bytes for each in swarms),
        "bytes_uploaded": sum(each.stats.stream_bytes_out for each in swarms),
        "transport": transports_used(peer for each in swarms for peer in each.ready),
    }


def row_of(torrent: Torrent) -> Row:
    """Return where a torrent is that has begun."""
    peers = torrent.swarm.block_peers
    down = sum(peer.rate_in for peer in peers)
    left, wanted = torrent.left_bytes, torrent.wanted_bytes
    is_moving = not torrent.swarm.is_complete and 8 * down >= MOVING_BPS
    return Row(
        name=torrent.metainfo.name,
        share=1 - left / wanted if wanted else 1.0,
        down_bps=int(8 * down),
        up_bps=int(8 * sum(peer.rate_out for peer in peers)),
        peers=len(peers),
        eta_s=min(int(left / down), ETA_MAX_S) if is_moving else None,
        note=why_idle(torrent),
    )


def why_idle(torrent: Torrent) -> str:
    """Return why nothing comes, or that nothing is to come; empty while something does."""
    if torrent.swarm.is_complete:
        return "seeding"
    if torrent.error is not None:
        return str(torrent.error)
    peers = torrent.swarm.block_peers
    if 8 * sum(peer.rate_in for peer in peers) >= MOVING_BPS:
        return ""
    return _why_nobody_gives(peers) if peers else _why_nobody_is_here(torrent)


def _why_nobody_gives(peers: Sequence[BlockPeer]) -> str:
    giving = [peer for peer in peers if peer.is_wanted]
    if not giving:
        return f"none of {len(peers)} peers has what is missing"
    if all(peer.chokes_us for peer in giving):
        return f"all {len(giving)} peers that have what is missing choke us"
    return "asked, and waiting for data"


def _why_nobody_is_here(torrent: Torrent) -> str:
    failure = tracker_failure(torrent.tiers)
    if failure:
        return f"no peers: {failure}"
    if any(each.has_started for tier in torrent.tiers for each in tier.announcers):
        known = len(torrent.swarm.peers)
        return f"no peers: calling {known}" if known else "no peers: nobody that we know answers"
    return NEVER_ASKED if torrent.tiers else "no peers, and no tracker to ask"


def rate_text(rate_bps: int) -> str:
    """Return a rate as people read it: 12.3M, 450k, in bit/s."""
    if rate_bps >= 1_000_000:
        return f"{rate_bps / 1e6:.1f}M"
    return f"{rate_bps // 1_000}k"


def eta_text(seconds: int | None) -> str:
    """Return a duration in its two largest units; empty if there is none."""
    if seconds is None:
        return ""
    for size, large, unit, small in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m")):
        if seconds >= size:
            return f"{seconds // size}{large}{seconds % size // unit:02}{small}"
    return f"{seconds // 60}m{seconds % 60:02}s" if seconds >= 60 else f"{seconds}s"
