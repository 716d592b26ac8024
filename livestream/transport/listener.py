"""Answers first datagrams: version negotiation, Retry when many knock, new connections."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from aioquic._buffer import Buffer
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from livestream.machine import SECOND, Address, Train
from livestream.transport.connection import ConnectionState
from livestream.transport.mutual import CID_BYTES, FIRST_CID_BYTES
from livestream.transport.quic import Quic, QuicTransport

__all__ = ["Listener"]

INITIAL_BYTES_MIN: Final = 1200  # RFC 9000 section 14.1: smaller ones are not answered.
VERSIONS: Final = [int(QuicProtocolVersion.VERSION_1), int(QuicProtocolVersion.VERSION_2)]
LONG_HEADER: Final = 0x80


class Listener:
    """Turns strangers' datagrams into answers or connections.

    Invariant: a caller that must prove its address costs no memory before it has.
    """

    def __init__(self, transport: QuicTransport, rng: Random) -> None:
        self._transport = transport
        self._rng = rng
        self._retry = QuicRetryTokenHandler()
        self._unfinished: dict[Quic, None] = {}

    def destination_of(self, datagram: bytes) -> bytes:
        """Return the connection id that a datagram is for; empty if it has none."""
        if not datagram:
            return b""
        if not datagram[0] & LONG_HEADER:
            return datagram[1 : 1 + CID_BYTES]
        size = datagram[5] if len(datagram) > 5 else 0
        return datagram[6 : 6 + size]

    def count_unfinished(self) -> int:
        """Return how many callers have not finished their handshake."""
        for connection in list(self._unfinished):
            if connection.state is not ConnectionState.CONNECTING:
                del self._unfinished[connection]
        return len(self._unfinished)

    def forget(self, connection: Quic) -> None:
        """A connection is gone."""
        self._unfinished.pop(connection, None)

    def receive(
        self,
        datagram: bytes,
        address: Address,
        on_change: Callable[[Quic], None],
        now: int,
        *,
        must_prove: bool,
    ) -> tuple[Train | None, Quic | None]:
        """Return an answer, or a new connection, or neither."""
        if len(datagram) < INITIAL_BYTES_MIN or not datagram[0] & LONG_HEADER:
            return None, None
        header = _header_of(datagram)
        if header is None or header.version is None:
            return None, None
        if header.version not in VERSIONS:
            answer = encode_quic_version_negotiation(
                source_cid=header.destination_cid,
                destination_cid=header.source_cid,
                supported_versions=VERSIONS,
            )
            return Train(address, answer, len(answer)), None
        is_first = header.packet_type is QuicPacketType.INITIAL
        if not is_first or len(header.destination_cid) < FIRST_CID_BYTES:
            return None, None
        if must_prove and not header.token:
            return self._challenge(header, address, now), None
        return None, self._accept(header, address, on_change, now)

    def _challenge(self, header: QuicHeader, address: Address, now: int) -> Train:
        """Ask for proof of the address: smaller than what was sent, and nothing remembered."""
        source_cid = self._rng.randbytes(FIRST_CID_BYTES)
        token = self._retry.create_token(
            address=(address.host, address.port),
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source_cid,
            now=now / SECOND,
        )
        answer = encode_quic_retry(
            version=header.version or VERSIONS[0],
            source_cid=source_cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        return Train(address, answer, len(answer))

    def _accept(
        self, header: QuicHeader, address: Address, on_change: Callable[[Quic], None], now: int
    ) -> Quic | None:
        original_cid, retry_cid = header.destination_cid, None
        if header.token:
            try:
                original_cid = self._retry.validate_token(
                    address=(address.host, address.port),
                    destination_cid=header.destination_cid,
                    token=header.token,
                    now=now / SECOND,
                )
            except ValueError:
                return None
            retry_cid = header.destination_cid
        connection = self._transport.accept(address, original_cid, retry_cid, on_change, now)
        connection.cids[header.destination_cid] = None
        self._unfinished[connection] = None
        return connection


def _header_of(datagram: bytes) -> QuicHeader | None:
    """Return the header of what may be a caller's datagram."""
    try:
        header = pull_quic_header(Buffer(data=datagram), host_cid_length=CID_BYTES)
    except ValueError:
        return None
    return None if header.packet_type is QuicPacketType.VERSION_NEGOTIATION else header
