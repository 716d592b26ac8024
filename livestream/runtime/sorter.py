"""One TCP port for peers and for HTTP: a caller's first byte says which it is (`CallerSorter`)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

__all__ = ["CallerSorter"]

PEER_BYTE: Final = b"\x13"  # BEP 3: "character nineteen"; no HTTP method begins with it.
HELD_MAX: Final = 100  # Callers that have said nothing yet; the oldest makes room.
SILENCE_MAX_S: Final = 5.0


class CallerSorter:
    """Holds callers until they speak. A port that is open to both needs one hole in a firewall.

    Invariant: a socket in `_held` has a reader and a time limit, and is nobody else's yet.
    """

    def __init__(self, on_http: Callable[[socket.socket], None]) -> None:
        """Take whom to give those that are no peers."""
        self._on_http = on_http
        self._held: dict[socket.socket, tuple[Callable[[], None], asyncio.TimerHandle]] = {}

    def hold(self, sock: socket.socket, on_peer: Callable[[], None]) -> None:
        """Take a caller's socket, until it is `on_peer`'s or that of HTTP."""
        if len(self._held) >= HELD_MAX:
            self._hang_up(next(iter(self._held)))
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._held[sock] = on_peer, loop.call_later(SILENCE_MAX_S, self._hang_up, sock)
        loop.add_reader(sock.fileno(), self._on_readable, sock)

    def close(self) -> None:
        """Hang up on whoever is held."""
        for sock in list(self._held):
            self._hang_up(sock)

    def _on_readable(self, sock: socket.socket) -> None:
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        if not first:
            self._hang_up(sock)
            return
        on_peer = self._release(sock)
        if first == PEER_BYTE:
            on_peer()
        else:
            self._on_http(sock)

    def _release(self, sock: socket.socket) -> Callable[[], None]:
        on_peer, limit = self._held.pop(sock)
        limit.cancel()
        asyncio.get_running_loop().remove_reader(sock.fileno())
        return on_peer

    def _hang_up(self, sock: socket.socket) -> None:
        self._release(sock)
        sock.close()
