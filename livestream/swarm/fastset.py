"""The allowed fast set (BEP 6): the few pieces that a newcomer may have even while choked."""

from __future__ import annotations

from hashlib import sha1
from ipaddress import IPv4Address, ip_address
from typing import Final

__all__ = ["FAST_PIECES", "allowed_fast_set"]

FAST_PIECES: Final = 10  # BEP 6's k; whoever has more pieces than that has something to trade.


def allowed_fast_set(host: str, info_hash: bytes, count: int, size: int) -> list[int]:
    """Return up to `size` of a torrent's `count` pieces, the same ones whoever computes it.

    They depend on the first three bytes of the peer's address, so that a second address of the
    same network brings no others. For IPv6 the specification has none.
    """
    address = ip_address(host.partition("%")[0])
    if not isinstance(address, IPv4Address):
        return []
    if count <= size:
        return list(range(count))
    found: dict[int, None] = {}
    digest = address.packed[:3] + b"\x00" + info_hash
    while len(found) < size:
        digest = sha1(digest, usedforsecurity=False).digest()
        for at in range(0, 20, 4):
            if len(found) < size:
                found[int.from_bytes(digest[at : at + 4], "big") % count] = None
    return list(found)
