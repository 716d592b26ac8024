"""The quick way in and out, against aioquic's own: the same bytes, the same verdicts."""

from __future__ import annotations

from random import Random
from typing import Any, cast

import pytest
from aioquic.quic import events
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import Epoch
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.config import LIVE_DELAY_TARGET_US, TransportConfig
from livestream.transport.ledbat import Ledbat
from livestream.transport.mutual import MutualConnection
from livestream.transport.packetreader import PacketReader
from livestream.transport.pathsize import DATAGRAM_BYTES
from livestream.transport.precedence import Precedence
from livestream.transport.quic import QuicTransport
from tests.transport.identity import identity

CLIENT, SERVER = ("192.0.2.1", 1), ("192.0.2.2", 2)
DELAY_S = 0.02


class Talk:
    """Two connections, each ours or plain aioquic, and a wire that may lose datagrams."""

    def __init__(self, *, client_is_ours: bool, server_is_ours: bool) -> None:
        self.now = 1.0
        self.loss = 0.0
        self.rng = Random(1)
        self.events: dict[QuicConnection, list[events.QuicEvent]] = {}
        self.wire: list[tuple[float, QuicConnection, bytes, tuple[str, int]]] = []
        self.client = _connection(is_client=True, is_ours=client_is_ours)
        self.client.connect(SERVER, now=self.now)
        cid = self.client.original_destination_connection_id
        self.server = _connection(is_client=False, is_ours=server_is_ours, cid=cid)
        self.ends = ((self.client, CLIENT, self.server), (self.server, SERVER, self.client))
        self.events = {self.client: [], self.server: []}
        self.run(1.0)

    def run(self, seconds: float) -> None:
        """Let time pass, in steps of a millisecond."""
        until = self.now + seconds
        while self.now < until:
            for end, address, other in self.ends:
                if end.get_peer_address() is None:
                    continue
                timer = end.get_timer()
                if timer is not None and timer <= self.now:
                    end.handle_timer(now=self.now)
                for data, _ in end.datagrams_to_send(now=self.now):
                    if self.rng.random() >= self.loss:
                        self.wire.append((self.now + DELAY_S, other, data, address))
            for arrives, to, data, source in [each for each in self.wire if each[0] <= self.now]:
                self.wire.remove((arrives, to, data, source))
                to.receive_datagram(data, source, now=self.now)
            self.collect()
            self.now += 0.001

    def collect(self) -> None:
        for end, seen in self.events.items():
            while (event := end.next_event()) is not None:
                seen.append(event)

    def received(self, end: QuicConnection) -> dict[int, bytes]:
        """Return what came on each stream."""
        streams: dict[int, bytes] = {}
        for event in self.events[end]:
            if isinstance(event, events.StreamDataReceived):
                streams[event.stream_id] = streams.get(event.stream_id, b"") + event.data
        return streams

    def verdict(self, end: QuicConnection) -> int | None:
        """Return the error with which the other side ended it, if it did."""
        ended = [e for e in self.events[end] if isinstance(e, events.ConnectionTerminated)]
        return ended[0].error_code if ended else None


def _connection(*, is_client: bool, is_ours: bool, cid: bytes | None = None) -> QuicConnection:
    transport = QuicTransport(identity(1 if is_client else 2), TransportConfig())
    configuration = transport.configuration(is_client=is_client, datagram_bytes=DATAGRAM_BYTES)
    if is_ours:
        ledbat = Ledbat(DATAGRAM_BYTES, LIVE_DELAY_TARGET_US, Precedence())
        return MutualConnection(ledbat, configuration, original_destination_connection_id=cid)
    return QuicConnection(configuration=configuration, original_destination_connection_id=cid)


def _sealed(sender: QuicConnection, plain: bytes) -> bytes:
    """Return a genuine packet with these frames, whatever they are."""
    inner = cast(Any, sender)
    number = inner._packet_number
    inner._packet_number += 1
    header = bytes((0x41,)) + inner._peer_cid.cid + (number & 0xFFFF).to_bytes(2)
    return bytes(inner._cryptos[Epoch.ONE_RTT].encrypt_packet(header, plain, number))


PAIRS = [(True, True), (True, False), (False, True)]


@pytest.fixture(params=PAIRS, ids=["ours both", "our client", "our server"])
def talk(request: pytest.FixtureRequest) -> Talk:
    client_is_ours, server_is_ours = request.param
    return Talk(client_is_ours=client_is_ours, server_is_ours=server_is_ours)


def _say_much(talk: Talk) -> dict[QuicConnection, dict[int, bytes]]:
    """Let both open streams of all sizes, and say something on the one they share."""
    said: dict[QuicConnection, dict[int, bytes]] = {talk.client: {}, talk.server: {}}
    for size in (1, 100, 1_400, 1_500, 8_300, 40_000):
        for end, streams in said.items():
            stream_id = end.get_next_available_stream_id(is_unidirectional=True)
            streams[stream_id] = talk.rng.randbytes(size)
            end.send_stream_data(stream_id, streams[stream_id], end_stream=True)
            talk.run(0.01)
    for end, streams in said.items():  # The client opens it, and is answered.
        streams[0] = talk.rng.randbytes(3_000)
        end.send_stream_data(0, streams[0])
        talk.run(0.5)
    return said


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_all_bytes_come_whether_the_other_side_is_ours_or_not(talk: Talk, loss: float) -> None:
    talk.loss = loss
    said = _say_much(talk)
    talk.run(5.0)
    assert talk.received(talk.server) == said[talk.client]
    assert talk.received(talk.client) == said[talk.server]


def test_more_streams_than_were_allowed_at_first_can_be_opened(talk: Talk) -> None:
    for number in range(400):
        stream_id = talk.client.get_next_available_stream_id(is_unidirectional=True)
        talk.client.send_stream_data(stream_id, b"%d" % number, end_stream=True)
        talk.run(0.01)
    talk.run(1.0)
    assert [*talk.received(talk.server).values()] == [b"%d" % number for number in range(400)]


def test_more_than_the_first_allowance_of_bytes_can_be_sent(talk: Talk) -> None:
    data = bytes(6 << 20)
    talk.client.send_stream_data(0, data)
    talk.run(60.0)
    assert len(talk.received(talk.server).get(0, b"")) == len(data)


def test_what_comes_after_hundreds_of_lost_packets_is_understood(talk: Talk) -> None:
    # A packet's number is cut to one byte only where that tells it from all that may not have come.
    talk.client.send_stream_data(0, b"before")
    talk.run(0.5)
    talk.loss = 1.0
    for _ in range(300):
        talk.client.send_stream_data(0, b"x")
        talk.run(0.001)
    talk.loss = 0.0
    talk.client.send_stream_data(4, b"after")
    talk.run(DELAY_S + 0.002)
    assert talk.received(talk.server)[4] == b"after"


def test_a_packet_says_its_number_in_one_byte_while_few_are_under_way() -> None:
    talk = Talk(client_is_ours=True, server_is_ours=True)
    talk.client.send_stream_data(0, b"before")
    talk.run(0.5)
    talk.client.send_stream_data(0, b"x")
    [(datagram, _)] = talk.client.datagrams_to_send(now=talk.now)
    flags, id_bytes, number_bytes, frame, tag_bytes = 1, 4, 1, 3 + len(b"x"), 16
    assert len(datagram) == flags + id_bytes + number_bytes + frame + tag_bytes


@pytest.mark.parametrize("is_client", [True, False])
def test_new_keys_are_taken_from_either_side(talk: Talk, is_client: bool) -> None:
    (talk.client if is_client else talk.server).request_key_update()
    said = _say_much(talk)
    talk.run(2.0)
    assert talk.received(talk.server) == said[talk.client]
    assert talk.received(talk.client) == said[talk.server]


def test_a_datagram_that_comes_twice_counts_once(talk: Talk) -> None:
    datagram = _sealed(talk.client, b"\x0a\x02\x05hello")
    for _ in range(2):
        talk.server.receive_datagram(datagram, CLIENT, now=talk.now)
    talk.collect()
    assert talk.received(talk.server) == {2: b"hello"}


def test_a_datagram_that_was_changed_on_its_way_counts_for_nothing(talk: Talk) -> None:
    datagram = _sealed(talk.client, b"\x0a\x02\x05hello")
    for at in range(len(datagram)):
        changed = bytearray(datagram)
        changed[at] ^= 0x10
        talk.server.receive_datagram(bytes(changed), CLIENT, now=talk.now)
    talk.run(0.5)
    assert talk.received(talk.server) == {}
    assert talk.verdict(talk.client) is None


def test_what_is_not_usual_is_left_to_aioquic() -> None:
    talk = Talk(client_is_ours=True, server_is_ours=True)
    reader = PacketReader(talk.server)
    for size in (0, 10, 1_000):
        assert reader.read(_sealed(talk.client, b"\x0a\x02\x00" + bytes(size)), CLIENT, talk.now)
        assert reader.is_taken
        assert reader.is_eliciting
    assert not reader.read(b"\xc0" + bytes(1_200), CLIENT, talk.now), "a handshake"
    assert not reader.read(_sealed(talk.client, b"\x01\x00\x00"), SERVER, talk.now), "elsewhere"


BROKEN = {
    "a stream that ends before it begins": b"\x0e\x02",
    "a stream shorter than it says": b"\x0a\x02\x40\xffshort",
    "an offset beyond all bounds": b"\x0e\x02" + b"\xff" * 8 + b"\x01x",
    "more than the stream may carry": b"\x0e\x02\x80\x20\x00\x00\x01x",
    "more than the connection may carry": b"\x0e\x02\x80\xff\x00\x00\x01x",
    "a stream that only we may write": b"\x0a\x03\x01x",
    "a stream that we did not open": b"\x0a\x01\x01x",
    "too many streams": b"\x0a\x7f\xfe\x01x",
    "an acknowledgement that is cut off": b"\x02\x05\x00\x00",
    "an acknowledgement below zero": b"\x02\x05\x00\x00\x09",
    "a range below zero": b"\x02\x05\x00\x01\x00\x04\x09",
    "no such frame": b"\x01\x3e\x00",
    "a frame's kind that is cut off": b"\x01\xff",
    "a handshake's frame": b"\x01\x07\x00",
    "two ends": b"\x0b\x02\x02ab\x0f\x02\x01\x02cd",
}


@pytest.mark.parametrize("plain", BROKEN.values(), ids=BROKEN.keys())
def test_whoever_breaks_the_rules_hears_the_same_from_us_as_from_aioquic(plain: bytes) -> None:
    verdicts = [_judged(plain, is_ours=is_ours) for is_ours in (True, False)]
    assert verdicts[0] == verdicts[1]
    assert verdicts[0][0] not in (None, QuicErrorCode.NO_ERROR, QuicErrorCode.INTERNAL_ERROR)


FRAMES = st.one_of(
    st.binary(max_size=30),
    st.builds(
        lambda kind, stream, data: bytes((kind, stream, len(data))) + data,
        st.sampled_from([0x0A, 0x0B]),
        st.integers(0, 12),
        st.binary(max_size=20),
    ),
    st.builds(
        lambda largest, first: bytes((2, largest, 0, 0, first)),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(FRAMES, min_size=1, max_size=4))
def test_any_frames_get_the_same_verdict_from_us_as_from_aioquic(frames: list[bytes]) -> None:
    plain = b"".join(frames) + bytes(2)  # With less there is nothing to take the sample of.
    assert _judged(plain, is_ours=True) == _judged(plain, is_ours=False)


def _judged(plain: bytes, *, is_ours: bool) -> tuple[int | None, dict[int, bytes]]:
    """Return what a server says to a client that sends this, and what it took of it."""
    talk = Talk(client_is_ours=False, server_is_ours=is_ours)
    talk.server.receive_datagram(_sealed(talk.client, plain), CLIENT, now=talk.now)
    talk.collect()
    talk.run(0.6)  # Who is told of the end waits three probe timeouts before it says so.
    return talk.verdict(talk.client), talk.received(talk.server)
