"""Compact peers: 6 bytes for IPv4 (BEP 23), 18 for IPv6 (BEP 7)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from struct import Struct
from typing import Final

from livestream.errors import MessageDecodeError
from livestream.machine import Address

__all__ = ["V4_SIZE", "V6_SIZE", "decode_peers", "encode_peers", "pair_flags"]

V4_SIZE: Final = 6
V6_SIZE: Final = 18
_V4: Final = Struct("!4sH")
_V6: Final = Struct("!16sH")
HOSTS_REMEMBERED: Final = 4_096  # The same few are told of again and again.


def encode_peers(addresses: Sequence[Address]) -> tuple[bytes, bytes]:
    """Return the IPv4 peers and the IPv6 peers."""
    v4: list[bytes] = []
    v6: list[bytes] = []
    for address in addresses:
        packed = _pack(address.host)
        (v4 if len(packed) == 4 else v6).append(packed + address.port.to_bytes(2, "big"))
    return b"".join(v4), b"".join(v6)


def decode_peers(v4: bytes, v6: bytes) -> list[Address]:
    """Return the peers of both lists; those with port 0 are left out.

    Raises:
        MessageDecodeError: a length that no list of peers has.
    """
    if len(v4) % V4_SIZE or len(v6) % V6_SIZE:
        raise MessageDecodeError(f"compact peers: {len(v4)} and {len(v6)} bytes")
    return [peer for peer in _unpack(v4, V4_SIZE) + _unpack(v6, V6_SIZE) if peer.port]


def pair_flags(peers: bytes, flags: bytes, size: int) -> list[tuple[Address, int]]:
    """Return the peers of one list, `size` bytes each, with their flags (BEP 11); 0: none given.

    Raises:
        MessageDecodeError: a length that no list of peers has.
    """
    count, rest = divmod(len(peers), size)
    if rest:
        raise MessageDecodeError(f"compact peers: {len(peers)} bytes")
    padded = flags[:count].ljust(count, b"\0")
    return [pair for pair in zip(_unpack(peers, size), padded, strict=True) if pair[0].port]


def _unpack(peers: bytes, size: int) -> list[Address]:
    if size == V4_SIZE:
        return [Address(_v4_host(host), port) for host, port in _V4.iter_unpack(peers)]
    return [Address(str(IPv6Address(host)), port) for host, port in _V6.iter_unpack(peers)]


@lru_cache(HOSTS_REMEMBERED)
def _v4_host(packed: bytes) -> str:
    a, b, c, d = packed
    return f"{a}.{b}.{c}.{d}"


@lru_cache(HOSTS_REMEMBERED)
def _pack(host: str) -> bytes:
    return ip_address(host.partition("%")[0]).packed
