"""The seam `Extension`: a protocol of its own between peers of a swarm (BEP 10)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from livestream.swarm.peer import Peer

__all__ = ["Extension"]


class Extension(ABC):
    """Speaks one BEP 10 extension with every peer that offers it too."""

    name: str
    "As in the `m` dictionary of the extension handshake."

    @abstractmethod
    def on_ready(self, peer: Peer, now: int) -> None:
        """The peer is there and speaks this extension."""

    @abstractmethod
    def on_message(self, peer: Peer, payload: bytes, now: int) -> None:
        """A message came. Raises MessageDecodeError for one that is none: the peer is dropped."""

    @abstractmethod
    def on_gone(self, peer: Peer, now: int) -> None:
        """The peer that was ready has left."""

    @abstractmethod
    def on_stored(self, index: int, peer: Peer | None, now: int) -> None:
        """A piece is verified and kept; it came from `peer`, or is our own."""

    @abstractmethod
    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called, or None."""

    @abstractmethod
    def handle_timer(self, now: int) -> None:
        """Do what is due."""
