"""What a torrent or a link says, for people and programs (`describe`)."""

from __future__ import annotations

from livestream.discovery.link import ChannelLink
from livestream.runtime.transfers import read_torrent
from livestream.torrent.magnet import Magnet

__all__ = ["describe"]


async def describe(source: str) -> dict[str, object]:
    """Return what there is to know, in the order to show it.

    Raises:
        UserError: it is neither a torrent nor a link.
    """
    if "urn:btpk:" in source:
        link = ChannelLink.parse(source)
        return {
            "kind": "channel",
            "name": link.name,
            "public_key": link.public_key.hex(),
            "trackers": list(link.trackers),
            "peers": [str(peer) for peer in link.peers],
        }
    found = await read_torrent(source)
    if isinstance(found, Magnet):
        return {
            "kind": "magnet",
            "name": found.name,
            "info_hash_v1": found.info_hash_v1.hex(),
            "info_hash_v2": found.info_hash_v2.hex(),
            "trackers": list(found.trackers),
            "web_seeds": list(found.web_seeds),
            "peers": [str(peer) for peer in found.peers],
        }
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
