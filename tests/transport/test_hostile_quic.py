"""Whoever has shaken hands over QUIC may send what it likes: it ends its connection, at most."""

from __future__ import annotations

from random import Random
from typing import Any, Final, cast

from aioquic.buffer import encode_uint_var
from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.config import TransportConfig
from livestream.machine import MILLISECOND, SECOND, Address, Event, Train
from livestream.transport.connection import (
    Connected,
    Connection,
    ConnectionState,
    Disconnected,
    MessageReceived,
)
from livestream.transport.pathsize import DATAGRAM_BYTES
from livestream.transport.quic import QuicTransport
from livestream.transport.quics import QuicEndpoint
from livestream.wire.messages import MESSAGE_BYTES_MAX
from tests.transport.identity import identity

HERE, THERE = Address("192.0.2.1", 1000), Address("192.0.2.2", 2000)
GREETING = b"\x13BitTorrent protocol" + bytes(48)
X509_V3: Final = bytes.fromhex("a003020102")  # The certificate's field [0]: version 3 (RFC 5280).

# Integers of all lengths that there are on the wire (RFC 9000 section 16), and the limits.
NUMBERS = st.one_of(
    st.integers(0, 20),
    st.integers(0, 70_000),
    st.sampled_from([1 << 32, 1 << 60, (1 << 62) - 2, (1 << 62) - 1]),
).map(encode_uint_var)
BYTES = st.binary(max_size=40)
COUNTED = BYTES.map(lambda data: encode_uint_var(len(data)) + data)
STREAMS = st.one_of(st.integers(0, 14).map(encode_uint_var), NUMBERS)
# What follows on a frame's type (RFC 9000 section 19), by the type; so much and no more.
FIELDS: Final[dict[int, st.SearchStrategy[tuple[bytes, ...]]]] = {
    0x02: st.tuples(NUMBERS, NUMBERS, st.just(b"\x01"), NUMBERS, NUMBERS, NUMBERS),
    0x03: st.tuples(NUMBERS, NUMBERS, st.just(b"\x00"), NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    0x04: st.tuples(STREAMS, NUMBERS, NUMBERS),
    0x05: st.tuples(STREAMS, NUMBERS),
    0x06: st.tuples(NUMBERS, COUNTED),
    0x07: st.tuples(COUNTED),
    **{0x08 | bits: st.tuples(STREAMS, NUMBERS, NUMBERS, BYTES) for bits in range(8)},
    **{kind: st.tuples(NUMBERS) for kind in (0x10, 0x12, 0x13, 0x14, 0x16, 0x17, 0x19)},
    0x11: st.tuples(STREAMS, NUMBERS),
    0x15: st.tuples(STREAMS, NUMBERS),
    0x18: st.tuples(NUMBERS, NUMBERS, st.binary(max_size=30), st.just(bytes(16))),
    **{kind: st.tuples(st.just(bytes(8))) for kind in (0x1A, 0x1B)},
    0x1C: st.tuples(NUMBERS, NUMBERS, COUNTED),
    0x1D: st.tuples(NUMBERS, COUNTED),
    **{kind: st.tuples(BYTES) for kind in (0x00, 0x01, 0x1E, 0x1F, 0x30, 0x31)},
}
FRAMES = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda kind: FIELDS[kind].map(lambda fields: encode_uint_var(kind) + b"".join(fields))
)
PACKETS = st.lists(st.lists(FRAMES, min_size=1, max_size=4).map(b"".join), min_size=1, max_size=6)


class Certificate:
    """Some bytes, where aioquic expects the certificate that it is to send."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def public_bytes(self, encoding: Encoding) -> bytes:
        """Return them."""
        assert encoding is Encoding.DER
        return self._der


class Caller:
    """Somebody with an aioquic of its own who calls our endpoint; nothing is lost.

    Invariant: `now` is the same for both.
    """

    def __init__(self, *, certificate: bytes | None = None) -> None:
        self.endpoint = QuicEndpoint(identity(2), TransportConfig(), Random(1))
        self.events: list[Event] = []
        self.connection: Connection | None = None
        "Our endpoint's."
        self.now = SECOND
        configuration = QuicTransport(identity(1), TransportConfig()).configuration(
            is_client=True, datagram_bytes=DATAGRAM_BYTES
        )
        if certificate is not None:
            configuration.certificate = Certificate(certificate)
        configuration.connection_id_length = 8
        self.quic = QuicConnection(configuration=configuration)
        self.quic.connect((THERE.host, THERE.port), now=self.now / SECOND)
        for _ in range(8):
            self.exchange()

    def exchange(self) -> None:
        """Carry what either side has to say to the other, and let 30 ms pass."""
        for data, _ in self.quic.datagrams_to_send(now=self.now / SECOND):
            self.deliver(data)
        self.hear()

    def hear(self) -> None:
        """Say nothing, and let 30 ms pass."""
        for train in self.endpoint.trains_to_send(self.now):
            for data in train.datagrams():
                self.quic.receive_datagram(data, (THERE.host, THERE.port), now=self.now / SECOND)
        self.now += 30 * MILLISECOND
        timer = self.endpoint.get_timer()
        if timer is not None and timer <= self.now:
            self.endpoint.handle_timer(self.now)
        self._collect()

    def deliver(self, data: bytes) -> None:
        """Let a datagram of the caller arrive."""
        self.endpoint.receive_train(Train(HERE, data, len(data)), self.now)
        self._collect()

    def send_frames(self, frames: bytes) -> None:
        """Send a packet with these frames, under the connection's keys (RFC 9001 section 5)."""
        quic = cast(Any, self.quic)
        number = quic._packet_number
        quic._packet_number += 1
        pair = quic._cryptos[Epoch.ONE_RTT]
        header = bytes((0x43 | pair.key_phase << 2,)) + quic._peer_cid.cid + number.to_bytes(4)
        self.deliver(pair.encrypt_packet(header, frames.ljust(8, b"\0"), number))

    def _collect(self) -> None:
        while (report := self.endpoint.next_event()) is not None:
            self.connection = report.connection
            self.events.append(report.event)


def certificate_of_version(version: int) -> bytes:
    """Return our certificate with another version number; its signature does not fit."""
    der = identity(1).certificate
    assert der.count(X509_V3) == 1
    return der.replace(X509_V3, X509_V3[:-1] + bytes((version,)))


def test_a_certificate_of_a_version_that_there_is_not_ends_the_call_and_nothing_else() -> None:
    caller = Caller(certificate=certificate_of_version(48))
    assert caller.events == [Disconnected("cannot be read: InvalidVersion", is_local=True)]
    assert caller.endpoint.connection_count == 0
    assert caller.endpoint.get_timer() is None


def test_a_certificate_that_is_none_ends_the_call_and_nothing_else() -> None:
    for certificate in (b"\x30\x00", bytes(400)):
        caller = Caller(certificate=certificate)
        for _ in range(60):
            caller.exchange()
        assert [type(event) for event in caller.events] == [Disconnected]
        assert caller.endpoint.connection_count == 0


def test_a_stream_that_does_not_end_is_not_kept_for_ever() -> None:
    caller = Caller()
    caller.quic.send_stream_data(2, bytes(MESSAGE_BYTES_MAX + 1))
    for _ in range(400):
        caller.exchange()
    assert caller.events[1:] == [
        Disconnected(f"a message of {MESSAGE_BYTES_MAX + 1} bytes or more", is_local=True)
    ]


def test_a_stream_that_ends_is_a_message_unless_it_is_empty() -> None:
    caller = Caller()
    for number, data in enumerate((b"", b"\x07piece")):
        caller.quic.send_stream_data(2 + 4 * number, data, end_stream=True)
    caller.exchange()
    assert caller.events[1:] == [MessageReceived(b"\x07piece")]


@settings(max_examples=150)
@given(PACKETS, st.booleans())
def test_no_frame_is_raised_through(packets: list[bytes], has_data: bool) -> None:
    """Whatever it is, the endpoint goes on, and tells of the connection's end exactly once."""
    caller = Caller()
    assert caller.events == [Connected(identity(1).public_key)]
    connection = caller.connection
    assert connection is not None
    if has_data:
        caller.quic.send_stream_data(0, GREETING)
        caller.exchange()
        connection.send(GREETING)
        connection.send_independent(bytes(30_000), caller.now + SECOND)
        caller.exchange()
    for frames in packets:
        caller.send_frames(frames)
        connection.send(b"\x14more")
        connection.send_independent(bytes(3_000), caller.now + SECOND)
        assert connection.backlog_bytes < 1 << 20
        caller.endpoint.trains_to_send(caller.now)
    for _ in range(40):
        caller.now += SECOND
        caller.hear()
    assert connection.state is ConnectionState.CLOSED, "nobody acknowledges anything any more"
    assert sum(isinstance(event, Disconnected) for event in caller.events) == 1
    assert caller.endpoint.connection_count == 0
