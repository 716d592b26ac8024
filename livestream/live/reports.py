"""What we tell our neighbours: how we are, who else has room, and what we hold (`Reports`)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from livestream.live.children import Children
from livestream.live.choker import LiveChoker
from livestream.live.feeders import Feeders
from livestream.live.neighbours import Neighbours
from livestream.live.window import LiveWindow
from livestream.machine import MILLISECOND
from livestream.swarm.peer import Peer
from livestream.swarm.whole import WholePieceSwarm
from livestream.wire.live import Rooms, Status, WindowUpdate

__all__ = ["Reports"]

WINDOW_INTERVAL_US: Final = 500 * MILLISECOND  # One goes with each status, and one in between.
ROOMS_TOLD: Final = 4
# Most neighbours are sent pieces or acknowledge some: what waits for such a datagram needs none of
# its own.
STATUS_WAIT_US: Final = 250 * MILLISECOND
WINDOW_WAIT_US: Final = 50 * MILLISECOND


class Reports:
    """Puts what neighbours must know into words, and tells them.

    Invariant: who can feed nobody tells no windows, for it is to be asked for nothing.
    """

    def __init__(
        self,
        swarm: WholePieceSwarm,
        choker: LiveChoker,
        feeders: Feeders,
        children: Children,
        neighbours: Neighbours,
        *,
        window: LiveWindow,
        rng: Random,
        send: Callable[[Peer, bytes, int | None], None],
        is_source: bool,
    ) -> None:
        self.window_at: int | None = None
        "When `tell_window` wants to be called."
        self._swarm = swarm
        self._window = window
        self._choker = choker
        self._feeders = feeders
        self._children = children
        self._neighbours = neighbours
        self._rng = rng
        self._send = send
        self._is_source = is_source
        self._changed_from: int | None = None

    def start(self) -> None:
        """Begin an epoch."""
        self._changed_from = None

    def note_stored(self, index: int, now: int) -> None:
        """We hold one more piece: those who asked are told soon."""
        known = self._changed_from
        self._changed_from = index if known is None else min(index, known)
        if self.window_at is None:
            self.window_at = now + WINDOW_INTERVAL_US

    def tell_newcomer(self, peer: Peer, now: int) -> None:
        """Tell a newcomer what we hold, and how we are."""
        if self._choker.slots_promised:
            self._send(peer, self._window_update(self._window.first), None)
        self._send(peer, self._status(now), None)

    def tell_status(self, now: int, *, can_wait: bool) -> None:
        """Tell all how we are, and of some who have room; what can wait goes along with others."""
        status = self._status(now)
        known = self._neighbours.rooms(self._rng, ROOMS_TOLD)
        roomy = [peer for _, peer in known]
        by = now + STATUS_WAIT_US if can_wait else None
        rooms = _rooms(known)
        for peer in list(self._swarm.ready):
            self._send(peer, status, by)
            # Who heard of itself would call itself.
            told = rooms if peer not in roomy else _rooms(known, besides=peer)
            if peer in self._swarm.source_peers:
                told = _rooms(self._children.name_heirs(peer))
            if told:
                self._send(peer, told, by)

    def tell_window(self, now: int) -> None:
        """Tell those who asked for it what we hold since we told it last."""
        self.window_at = None
        if self._changed_from is None or not self._choker.slots_promised:
            return
        by = now + WINDOW_WAIT_US
        payload = self._window_update(self._changed_from)
        self._changed_from = None
        for peer in self._swarm.ready:
            if peer.is_interested:
                self._send(peer, payload, by)

    # Helpers

    def _window_update(self, start: int) -> bytes:
        start = max(start, self._window.first)
        held = self._window.held.bits_from(start)
        return WindowUpdate(self._window.first, start, held).to_bytes()

    def _status(self, now: int) -> bytes:
        if self._is_source:
            lags_ms = tuple(map(int, self._children.places.crowded(now)))
        else:
            lags_ms = self._feeders.lags_ms()
        spare = min(self._choker.spare_slots + self._children.places.count_replaceable(now), 0xFF)
        children = min(self._choker.used_slots, 0xFFFF)
        return Status(self._is_source, self._choker.home, spare, children, lags_ms).to_bytes()


def _rooms(known: list[tuple[int, Peer]], besides: Peer | None = None) -> bytes:
    """Return the message that tells of them, if there are any."""
    rooms = tuple((number, peer.address) for number, peer in known if peer is not besides)
    return Rooms(rooms).to_bytes() if rooms else b""
