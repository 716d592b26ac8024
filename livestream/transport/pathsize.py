"""How large QUIC's datagrams may be: what paths carry, as far as calls and losses have shown.

RFC 9000 section 14 and RFC 8899, without probes of their own: a call is one, for its first
datagrams are padded to the size that is wanted, and so is what answers them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from livestream.machine import SECOND

__all__ = ["DATAGRAM_BYTES", "DATAGRAM_BYTES_MIN", "BlackHole", "PathSizes"]

# Ethernet's 1,500 bytes less PPPoE (8), as much of DSL has it, and IPv6 and UDP (48). Pieces of
# 8 KiB take six datagrams and those of 4 KiB three, as they would with the 8 bytes.
DATAGRAM_BYTES: Final = 1_444
DATAGRAM_BYTES_MIN: Final = 1_200  # RFC 9000 section 14.1: what every path has to carry.
BLACK_HOLE_ROUNDS: Final = 2  # Round trips in which large datagrams are lost, and no other...
BLACK_HOLE_LOSSES: Final = 4  # ...and so many of them at least, or chance would do.
REMEMBERED_US: Final = 600 * SECOND  # RFC 8899 section 5.1.1: PMTU_RAISE_TIMER.
HOSTS_MAX: Final = 1_024
CALLS_NARROW: Final = 3  # In a row, whoever was called: the narrow place is on our own line.


class BlackHole:
    """Large datagrams vanish while others come through (RFC 8899 section 4.3).

    Invariant: what is counted was lost after the newest large datagram that is known to have come.
    """

    def __init__(self) -> None:
        self._acked = -1
        self._lost_at = 0
        self._losses = 0
        self._rounds = 0

    @property
    def is_found(self) -> bool:
        """Whether the path carries no large datagrams any more."""
        return self._rounds >= BLACK_HOLE_ROUNDS and self._losses >= BLACK_HOLE_LOSSES

    def on_acked(self, number: int, size: int) -> None:
        """A datagram has come."""
        if size > DATAGRAM_BYTES_MIN and number > self._acked:
            self._acked = number
            self._losses = self._rounds = 0

    def on_lost(self, number: int, size: int, now: int, rtt_us: int) -> None:
        """A datagram is lost, as a later one has come."""
        if size <= DATAGRAM_BYTES_MIN or number <= self._acked:
            return
        self._losses += 1
        if not self._rounds or now - self._lost_at >= rtt_us:
            self._rounds += 1
            self._lost_at = now


class PathSizes:
    """Whom to call with large datagrams, and whom not.

    Invariant: bounded; everything is tried anew after ten minutes.
    """

    def __init__(self) -> None:
        self._narrow_until: OrderedDict[str, int] = OrderedDict()
        "By host."
        self._narrow_calls = 0
        self._all_narrow_until = 0

    def size_for(self, host: str, now: int) -> int:
        """Return how large the datagrams of a call should be."""
        is_narrow = now < max(self._all_narrow_until, self._narrow_until.get(host, 0))
        return DATAGRAM_BYTES_MIN if is_narrow else DATAGRAM_BYTES

    def on_connected(self, host: str, size: int, now: int) -> None:
        """A call that began with large datagrams was answered, and these come through."""
        if size > DATAGRAM_BYTES_MIN:
            self._narrow_calls = 0
            self._narrow_until.pop(host, None)
            return
        self._narrow_calls += 1
        if self._narrow_calls >= CALLS_NARROW:
            self._all_narrow_until = now + REMEMBERED_US
        self._narrow_until[host] = now + REMEMBERED_US
        self._narrow_until.move_to_end(host)
        if len(self._narrow_until) > HOSTS_MAX:
            self._narrow_until.popitem(last=False)
