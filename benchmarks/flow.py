"""One end of a flow that always has something to send: a process inside `benchmarks.lab`.

    python -m benchmarks.flow receive quic 5001
    python -m benchmarks.flow send quic 10.99.0.2 5001

It says one line when it is ready; who sends begins when it is told a line, so that starting it
disturbs nobody. It ends when its stdin does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha1
from pathlib import Path
from random import Random
from typing import Final

from livestream.config import TransportConfig
from livestream.machine import Address, Event
from livestream.runtime.clock import Clock
from livestream.runtime.keys import new_identity
from livestream.runtime.loop import run_to_end
from livestream.runtime.udp import UdpDriver
from livestream.transport.connection import Connected, Connection, ConnectionEvent
from livestream.transport.dialler import Dialler
from livestream.transport.endpoint import Endpoint
from livestream.wire import bencode
from livestream.wire.messages import Piece

__all__ = ["TRANSPORTS"]

ANY: Final = "0.0.0.0"  # noqa: S104 - in a namespace of its own.
GREETING: Final = b"\x13BitTorrent protocol" + bytes(48)
MESSAGE: Final = Piece(0, 0, bytes(16_384)).to_bytes()
BACKLOG_BYTES: Final = 1 << 20  # So much is always there to send.
TORRENT_BYTES: Final = 8 << 30  # More than any measurement moves; it is a sparse file.
PIECE_LENGTH: Final = 1 << 20


class GreedySource:
    """Drives an endpoint; whoever it calls is sent as much as the transport takes."""

    def __init__(self, target_us: int, *, use_utp: bool) -> None:
        config = TransportConfig(delay_target_us=target_us)
        endpoint = Endpoint(new_identity(), config, Random(1))
        self._caller: Dialler = endpoint.utp if use_utp else endpoint.quic
        self._clock = Clock()
        self._driver = UdpDriver(endpoint, self._clock, self._on_event, on_turn=self._fill)
        self._target: Connection | None = None

    async def run(self, listen: Address, target: Address | None) -> int:
        """Serve until stdin ends."""
        await self._driver.open(listen)
        _tell("ready")
        if target is not None:
            await asyncio.to_thread(sys.stdin.readline)
            self._caller.connect(target, self._clock.now())
            self._driver.drain()
        await asyncio.to_thread(sys.stdin.read)
        self._driver.close()
        return 0

    def _on_event(self, event: Event) -> None:
        if not isinstance(event, ConnectionEvent) or not isinstance(event.event, Connected):
            return
        if event.connection.is_outgoing:
            self._target = event.connection
            self._target.send(GREETING)

    def _fill(self) -> None:
        if self._target is None:
            return
        backlog = self._target.backlog_bytes
        for _ in range((BACKLOG_BYTES - backlog) // len(MESSAGE)):
            self._target.send(MESSAGE)
        self._driver.drain()


def quic(listen: Address, target: Address | None, target_us: int) -> None:
    """Our QUIC."""
    run_to_end(GreedySource(target_us, use_utp=False).run(listen, target))


def utp(listen: Address, target: Address | None, target_us: int) -> None:
    """Our µTP."""
    run_to_end(GreedySource(target_us, use_utp=True).run(listen, target))


def tcp(listen: Address, target: Address | None, target_us: int) -> None:
    """The kernel's TCP with CUBIC."""
    del target_us
    if target is None:
        with socket.create_server(listen) as server:
            _tell("ready")
            threading.Thread(target=_end_with_stdin, daemon=True).start()
            taker, _ = server.accept()
            with suppress(ConnectionResetError):
                while taker.recv(1 << 18):
                    pass
    else:
        giver = socket.socket()
        giver.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        # It ends at once, and not when what it has buffered is through.
        giver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _tell("ready")
        sys.stdin.readline()
        threading.Thread(target=_end_with_stdin, daemon=True).start()
        giver.connect(target)
        while True:
            giver.sendall(MESSAGE)


def libtorrent(listen: Address, target: Address | None, target_us: int) -> None:
    """A libtorrent session that knows µTP only: a seed that is told whom to call, or a leecher."""
    import libtorrent as lt  # noqa: PLC0415 - who measures something else need not have it.

    del target_us  # Its own default, 100 ms.
    with tempfile.TemporaryDirectory(prefix="livestream-flow-") as name:
        folder = Path(name)
        session = lt.session(
            {
                "listen_interfaces": f"{listen.host}:{listen.port}",
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "enable_outgoing_tcp": False,
                "enable_incoming_tcp": False,
                "alert_mask": 0,
            }
        )
        parameters = lt.add_torrent_params()
        parameters.ti = lt.torrent_info(_zeros())
        parameters.save_path = str(folder)
        if target is not None:
            with (folder / "zeros").open("wb") as file:
                file.truncate(TORRENT_BYTES)
            parameters.flags |= lt.torrent_flags.seed_mode
        handle = session.add_torrent(parameters)
        while not session.listen_port():
            time.sleep(0.01)
        _tell("ready")
        if target is not None:
            sys.stdin.readline()
            handle.connect_peer(target)
        sys.stdin.read()


TRANSPORTS: Final[dict[str, Callable[[Address, Address | None, int], None]]] = {
    "quic": quic,
    "utp": utp,
    "tcp": tcp,
    "libtorrent": libtorrent,
}


def _zeros() -> bytes:
    """Return a torrent of zeros: all its pieces have the same hash."""
    digest = sha1(bytes(PIECE_LENGTH)).digest()  # noqa: S324
    info: dict[bytes, bencode.Value] = {
        b"length": TORRENT_BYTES,
        b"name": b"zeros",
        b"piece length": PIECE_LENGTH,
        b"pieces": digest * (TORRENT_BYTES // PIECE_LENGTH),
    }
    return bencode.encode({b"info": info})


def _end_with_stdin() -> None:
    sys.stdin.read()
    # The other thread is inside a blocking call, which nothing but the process' end interrupts.
    os._exit(0)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Be one end of a flow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["send", "receive"])
    parser.add_argument("transport", choices=TRANSPORTS)
    parser.add_argument("host_and_port", nargs="+")
    parser.add_argument("--target-ms", type=float, default=60)
    words = parser.parse_args()
    *host, port = words.host_and_port
    listen, target = Address(ANY, int(port)), None
    if words.role == "send":
        listen, target = Address(ANY, 0), Address(host[0], int(port))
    TRANSPORTS[words.transport](listen, target, int(words.target_ms * 1000))


if __name__ == "__main__":
    main()
