"""Partial seeds (BEP 21): who wants nothing more says so, and says so again when that changes.

BEP 21 has a field of the extension handshake. Of a change libtorrent tells in a message of its
own, `upload_only` with one byte, and takes no later handshake for one; others take the handshake.
"""

from __future__ import annotations

from collections.abc import Callable

from livestream.errors import MessageDecodeError
from livestream.swarm.extension import Extension
from livestream.swarm.greeting import Greeting
from livestream.swarm.peer import Peer

__all__ = ["UploadOnly"]


class UploadOnly(Extension):
    """Tells those who understand it that we want nothing more, and hears who does not."""

    name = "upload_only"

    def __init__(self, on_told: Callable[[Peer, bool, int], None]) -> None:
        """Take whom to tell of (peer, wants nothing more, now)."""
        self._on_told = on_told
        self._told: dict[Peer, bool] = {}

    def on_greeted(self, peer: Peer, *, is_upload_only: bool) -> None:
        """Our extension handshake to a peer has said it."""
        self._told[peer] = is_upload_only

    def tell(self, peer: Peer, *, is_upload_only: bool) -> bool:
        """Tell a peer, if it is news to it; False if that takes another handshake."""
        if peer.greeting is None or self._told.get(peer) == is_upload_only:
            return True
        if self.name not in peer.extensions:
            return False
        self._told[peer] = is_upload_only
        peer.send_extended(self.name, bytes((is_upload_only,)))
        return True

    def forget(self, peer: Peer) -> None:
        """The session with a peer is over."""
        self._told.pop(peer, None)

    def on_greeting(self, peer: Peer, greeting: Greeting, now: int) -> None:
        """An extension handshake came; one that does not say changes nothing."""
        said = greeting.fields.get(b"upload_only")
        if isinstance(said, int):
            self._on_told(peer, bool(said), now)

    def on_ready(self, peer: Peer, now: int) -> None:
        """The handshake has said it."""

    def on_message(self, peer: Peer, payload: bytes, now: int) -> None:
        """A peer has changed its mind. Raises MessageDecodeError."""
        if len(payload) != 1:
            raise MessageDecodeError(f"upload_only of {len(payload)} bytes")
        self._on_told(peer, payload != b"\x00", now)

    def on_gone(self, peer: Peer, now: int) -> None:
        """What it was told counts for as long as the session lasts."""

    def on_stored(self, index: int, peer: Peer | None, now: int) -> None:
        """Pieces are no news here."""

    def get_timer(self) -> int | None:
        """Nothing is due, ever."""
        return None

    def handle_timer(self, now: int) -> None:
        """Nothing is due, ever."""
