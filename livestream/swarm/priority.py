"""Canonical peer priority (BEP 40): an order of peers that both ends agree on."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from typing import Final

from livestream.machine import Address

__all__ = ["OwnHost", "crc32c", "peer_priority"]

CASTAGNOLI: Final = 0x82F63B78  # The polynomial of CRC-32C, bits reversed (RFC 3720, appendix B).
SPREAD: Final = 0x55  # What BEP 40 leaves of the bytes that a whole network shares.
VOTERS_MAX: Final = 32  # Hosts whose word on our address is remembered.


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ CASTAGNOLI * (byte & 1)
    return byte


_TABLE: Final = tuple(_remainder(byte) for byte in range(256))


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def peer_priority(one: Address, other: Address) -> int | None:
    """Return how much two peers should be connected, the same for both; higher comes first.

    None where one has IPv4 and the other IPv6, or a name: neither knows the other's view of it.
    """
    try:
        ours, theirs = (ip_address(each.host.partition("%")[0]).packed for each in (one, other))
    except ValueError:
        return None
    if len(ours) != len(theirs):
        return None
    if ours == theirs:
        ports = sorted((one.port, other.port))
        return crc32c(b"".join(port.to_bytes(2, "big") for port in ports))
    shared = 0
    while ours[shared] == theirs[shared]:
        shared += 1
    whole = max(2 if len(ours) == 4 else 6, shared + 1)
    masked = sorted(_masked(packed, whole) for packed in (ours, theirs))
    return crc32c(b"".join(masked))


def _masked(packed: bytes, whole: int) -> bytes:
    return packed[:whole] + bytes(byte & SPREAD for byte in packed[whole:])


class OwnHost:
    """Our address as peers see it (`yourip` of BEP 10): what most of them say, one vote a host."""

    def __init__(self) -> None:
        self.host: str | None = None
        self._votes: dict[str, str] = {}

    def hear(self, voter: str, host: str) -> bool:
        """Take a host's word; True if our idea of our own address changes."""
        self._votes.pop(voter, None)
        if len(self._votes) >= VOTERS_MAX:
            del self._votes[next(iter(self._votes))]
        self._votes[voter] = host
        before = self.host
        self.host = Counter(self._votes.values()).most_common(1)[0][0]
        return self.host != before
