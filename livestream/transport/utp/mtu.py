"""How large a datagram the path carries (RFC 8899's way: probes that carry data)."""

from __future__ import annotations

from typing import Final

__all__ = ["MtuSearch", "datagram_ceiling", "datagram_floor"]

IPV6_MTU_MIN: Final = 1280
ETHERNET_MTU: Final = 1500
IPV4_UDP_BYTES: Final = 28
IPV6_UDP_BYTES: Final = 48
NEAR_ENOUGH: Final = 16
TRIES_MAX: Final = 2  # A probe may be lost for other reasons.


def datagram_floor() -> int:
    """Return the UDP payload that every path carries: IPv6's minimum."""
    return IPV6_MTU_MIN - IPV6_UDP_BYTES


def datagram_ceiling(host: str) -> int:
    """Return the UDP payload of a full Ethernet frame to this host."""
    return ETHERNET_MTU - (IPV6_UDP_BYTES if ":" in host else IPV4_UDP_BYTES)


class MtuSearch:
    """The ceiling first, which most paths carry; else halving what is uncertain.

    Invariant: `size` is what came through or the floor; nothing above `_limit` is tried.
    """

    def __init__(self, floor: int, ceiling: int) -> None:
        self.size = self._floor = floor
        self._limit = ceiling
        self._probing: int | None = None
        self._failures = 0
        self._is_first = True

    def next_probe(self) -> int | None:
        """Return the size to try now; None while one is under way or nothing is left to learn."""
        if self._probing is not None or self._limit - self.size < NEAR_ENOUGH:
            return None
        self._probing = self._limit if self._is_first else (self.size + self._limit + 1) // 2
        return self._probing

    def came(self, size: int) -> None:
        """A datagram of this size came through."""
        self.size = max(self.size, min(size, self._limit))
        self._finish()

    def lost(self, size: int) -> None:
        """A probe of this size did not."""
        self._failures += 1
        if self._failures >= TRIES_MAX:
            self._limit = max(self.size, size - 1)
            self._finish()
        self._probing = None

    def heard_nothing(self) -> None:
        """There was silence: what became of a probe will not be known."""
        self._probing = None

    def start_again(self) -> None:
        """The path may have changed: only the floor is certain."""
        self.size = self._floor
        self._finish()

    def _finish(self) -> None:
        self._probing = None
        self._failures = 0
        self._is_first = False
