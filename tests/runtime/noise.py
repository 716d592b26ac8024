"""What the open internet sends to any port: noise that looks like something, seeded."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from random import Random

from livestream.config import TransportConfig
from livestream.machine import Address
from livestream.transport.quics import QuicEndpoint
from livestream.transport.utp.packet import Packet, PacketType
from livestream.wire.messages import PROTOCOL
from tests.transport.identity import identity

VERSIONS = [0, 1, 0x6B3343CF, 0xFF00001D, 0x0A0A0A0A, 0xFFFFFFFF]
TRACKER_MAGIC = 0x41727101980  # BEP 15.
BATCH = 40
DATAGRAMS_MIN = 1_000  # So many are noise; a busy machine takes longer over them.


def quic_header(rng: Random) -> bytes:
    """Return a long header of some version and kind, with whatever behind it."""
    first = rng.choice([0xC0, 0xD0, 0xE0, 0xF0, 0x80]) | rng.randrange(16)
    ids = b"".join(
        bytes((size,)) + rng.randbytes(size) for size in (rng.choice([0, 8, 20, 255]), 8)
    )
    token = rng.choice([b"\x00", b"\x04abcd", b"\x40\x50" + rng.randbytes(0x50), b"\xff"])
    rest = rng.randbytes(rng.choice([0, 20, 1_150, 1_300]))
    return struct.pack("!BI", first, rng.choice(VERSIONS)) + ids + token + rest


def tracker_packet(rng: Random) -> bytes:
    """Return a request or answer of BEP 15, cut anywhere."""
    packet = struct.pack("!QII", TRACKER_MAGIC, rng.randrange(4), rng.getrandbits(32))
    return (packet + rng.randbytes(82))[: rng.randrange(99)]


def utp_packet(rng: Random) -> bytes:
    """Return a packet of BEP 29: a call, or what belongs to no connection."""
    kind = PacketType(rng.randrange(5))
    connection_id, timestamp = rng.getrandbits(16), rng.getrandbits(32)
    window = rng.choice([0, 1 << 20, 0xFFFFFFFF])
    sack = rng.choice([0, 0, rng.getrandbits(100)])
    seq, ack = rng.choice([1, rng.getrandbits(16)]), rng.getrandbits(16)
    payload = rng.randbytes(rng.choice([0, 68, 1_300]))
    return Packet(kind, connection_id, timestamp, 0, window, seq, ack, sack, payload).to_bytes()


def mutated(rng: Random, datagram: bytes) -> bytes:
    """Return a genuine first datagram with a few bytes changed, or cut."""
    copy = bytearray(datagram)
    for _ in range(rng.randrange(4)):
        copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
    return bytes(copy[: rng.choice([len(copy), len(copy), rng.randrange(len(copy))])])


class Noise:
    """Sends it to one address, over UDP and TCP."""

    def __init__(self, target: Address, seed: int) -> None:
        self.datagrams_sent = 0
        self._target = target
        self._rng = Random(seed)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setblocking(False)
        self._calls: list[socket.socket] = []
        endpoint = QuicEndpoint(identity(9), TransportConfig(), self._rng)
        endpoint.connect(target, 0)
        self._initials = [bytes(train.data) for train in endpoint.trains_to_send(0)]
        self._initials += [utp_packet(self._rng) for _ in range(9)]

    def send(self) -> None:
        """Send a batch of datagrams, and something over TCP."""
        for _ in range(BATCH):
            with suppress(OSError):
                self._udp.sendto(self._datagram(), self._target)
                self.datagrams_sent += 1
        self._call()

    def batches(self, seconds: float) -> Iterator[None]:
        """Send for so long, and until it was much; the caller pauses after each batch."""
        until = time.monotonic() + seconds
        while time.monotonic() < until or self.datagrams_sent < DATAGRAMS_MIN:
            self.send()
            yield

    def close(self) -> None:
        """Stop."""
        for sock in [self._udp, *self._calls]:
            sock.close()

    def _datagram(self) -> bytes:
        rng = self._rng
        kind = rng.randrange(7)
        if kind <= 1:
            return rng.randbytes(rng.choice([0, 1, 8, 9, 20, 1_200, 1_400, 9_000]))
        if kind == 2:
            return bytes((rng.randrange(0x40, 0x80),)) + rng.randbytes(rng.randrange(60))
        if kind == 3:
            return tracker_packet(rng)
        if kind == 4:
            return mutated(rng, rng.choice(self._initials))
        if kind == 5:
            return utp_packet(rng)
        return quic_header(rng)

    def _call(self) -> None:
        rng = self._rng
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(self._target)
        self._calls.append(sock)
        if len(self._calls) > BATCH:
            self._calls.pop(0).close()
        for open_call in rng.sample(self._calls, min(3, len(self._calls))):
            junk = rng.randbytes(rng.choice([1, 68, 300, 5_000]))
            said = rng.choice(
                [junk, PROTOCOL + junk, b"GET /announce?" + junk, b"GET / HTTP/1.1\r\n"]
            )
            with suppress(OSError):
                open_call.send(said)
