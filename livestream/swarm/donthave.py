"""Taking back a `have` (BEP 54): a peer has lost a piece."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from livestream.errors import MessageDecodeError, ProtocolError
from livestream.swarm.extension import Extension
from livestream.swarm.peer import Peer

__all__ = ["DontHave"]

LOSSES_MAX: Final = 1_000  # Of one peer: each may cost a pass over all pieces.
_INDEX: Final = Struct("!I")


class DontHave(Extension):
    """Tells those who understand it that a piece is gone, and hears of theirs."""

    name = "lt_donthave"

    def __init__(self, on_lost: Callable[[Peer, int, int], None]) -> None:
        """Take whom to tell of (peer, piece, now); it may raise ProtocolError."""
        self._on_lost = on_lost
        self._losses: dict[Peer, int] = {}

    def tell(self, peer: Peer, index: int) -> None:
        """Tell a peer that we have a piece no more, if it understands."""
        if self.name in peer.extensions:
            peer.send_extended(self.name, _INDEX.pack(index))

    def on_ready(self, peer: Peer, now: int) -> None:
        """Nothing was lost yet that this peer was told of."""

    def on_message(self, peer: Peer, payload: bytes, now: int) -> None:
        """A peer has lost a piece. Raises ProtocolError."""
        if len(payload) != _INDEX.size:
            raise MessageDecodeError(f"lt_donthave of {len(payload)} bytes")
        self._losses[peer] = self._losses.get(peer, 0) + 1
        if self._losses[peer] > LOSSES_MAX:
            raise ProtocolError("takes back too much")
        self._on_lost(peer, _INDEX.unpack(payload)[0], now)

    def forget(self, peer: Peer) -> None:
        """The session with a peer is over."""
        self._losses.pop(peer, None)

    def on_gone(self, peer: Peer, now: int) -> None:
        """What it said counts for as long as the session lasts."""

    def on_stored(self, index: int, peer: Peer | None, now: int) -> None:
        """`have` tells it."""

    def get_timer(self) -> int | None:
        """Nothing is due, ever."""
        return None

    def handle_timer(self, now: int) -> None:
        """Nothing is due, ever."""
