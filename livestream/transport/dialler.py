"""What a node wants of every transport: calls out, and reports of all connections (`Dialler`)."""

from __future__ import annotations

from typing import Protocol

from livestream.machine import Address
from livestream.transport.connection import Connection, ConnectionEvent

__all__ = ["Dialler"]


class Dialler(Protocol):
    """The connections of one transport, whoever opened them."""

    def connect(self, address: Address, now: int) -> Connection:
        """Open a connection; it reports `Connected` or `Disconnected`."""

    def next_event(self) -> ConnectionEvent | None:
        """Return the oldest event that was not yet taken, or None."""

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
