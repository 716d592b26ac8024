"""What to ask of a peer of blocks that others were asked for already (`Endgame`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from livestream.machine import SECOND
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.bookings import Bookings
from livestream.swarm.suspects import Suspects

__all__ = ["IDLE_SHARE", "Endgame"]

COPIES: Final = 2  # Of one block that are asked for at the end.
COPIES_MAX: Final = 8  # Of blocks that nobody who was asked is likely to give.
IDLE_SHARE: Final = 4  # A peer that owes less than this part of its depth may take over.
SOON_US: Final = SECOND // 2  # What comes sooner is left to whoever was asked.
OVERDUE_US: Final = SECOND  # What comes later than this was put behind by whoever was asked.
RESCUE_US: Final = SECOND  # An urgent block that is owed for longer is asked of a second peer.


class Endgame:
    """Books what is under way already once more, or moves it, where waiting would take longer.

    Who gave a part of a forged copy of a piece is not asked for more of it.
    """

    def __init__(self, bookings: Bookings, suspects: Suspects) -> None:
        self._bookings = bookings
        self._suspects = suspects

    def rescue(
        self, peer: BlockPeer, urgent: Iterable[int], room: int, now: int
    ) -> list[tuple[int, int, int]]:
        """Ask this peer too for urgent blocks that another owes for too long."""
        found: list[tuple[int, int, int]] = []
        for index in urgent:
            assembly = self._bookings.begun.get(index)
            if assembly is None or index not in peer.pieces or index in self._suspects:
                continue
            for block, asked in enumerate(assembly.asked):
                if len(found) >= room:
                    return found
                is_late = len(asked) == 1 and now - asked[0].owed[index, block] > RESCUE_US
                if is_late and asked[0] is not peer:
                    found += self._bookings.book(peer, assembly, (block,), now)
        return found

    def take_over(self, peer: BlockPeer, room: int, now: int) -> list[tuple[int, int, int]]:
        """This peer would be idle: move to it what others will take long to give, or skip."""
        found: list[tuple[int, int, int]] = []
        room = min(room, max(peer.depth // IDLE_SHARE, 1))
        for assembly in self._bookings.begun.values():
            if assembly.index not in peer.pieces or self._suspects.gave(peer, assembly.index):
                continue
            for block, asked in enumerate(assembly.asked):
                if len(found) >= room:
                    return found
                if len(asked) != 1 or asked[0] is peer:
                    continue
                other = asked[0]
                remaining_us = _remaining_us(other, assembly.index, block, now)
                if -OVERDUE_US < remaining_us < 2 * peer.wait_us + SOON_US:
                    continue
                self._bookings.take_back(other, assembly, block)
                assembly.free.remove(block)
                found += self._bookings.book(peer, assembly, (block,), now)
        return found

    def duplicate(self, peer: BlockPeer, room: int, now: int) -> list[tuple[int, int, int]]:
        """Every missing block was asked for: ask a second peer too, so that none holds all up.

        More only where all of those are overdue, or never gave anything.
        """
        found: list[tuple[int, int, int]] = []
        for assembly in self._bookings.begun.values():
            if assembly.index not in peer.pieces or self._suspects.gave(peer, assembly.index):
                continue
            for block, asked in enumerate(assembly.asked):
                if not asked or peer in asked:
                    continue
                is_hopeless = len(asked) < COPIES_MAX and all(
                    not other.bytes_in
                    or _remaining_us(other, assembly.index, block, now) < -OVERDUE_US
                    for other in asked
                )
                if len(asked) < COPIES or is_hopeless:
                    found += self._bookings.book(peer, assembly, (block,), now)
                    if len(found) >= room:
                        return found
        return found


def _remaining_us(peer: BlockPeer, index: int, block: int, now: int) -> int:
    """How long a peer will take yet for a block that it owes; negative: it is overdue."""
    return peer.owed[index, block] + peer.wait_us - now
