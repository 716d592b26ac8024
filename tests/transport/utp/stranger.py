"""A peer whose every packet is written by hand, against a real endpoint (`Stranger`)."""

from __future__ import annotations

from random import Random

from livestream.config import TransportConfig
from livestream.machine import SECOND, Address, Event, Train
from livestream.transport.connection import MessageReceived
from livestream.transport.stream import Stream
from livestream.transport.utp.endpoint import UtpEndpoint
from livestream.transport.utp.packet import Packet, PacketType, parse_packet
from tests.transport.utp.pair import GREETING

SOMEWHERE = Address("198.51.100.7", 6881)
WINDOW = 1 << 20


def listening(connections_max: int = 400) -> UtpEndpoint:
    """Return an endpoint that nobody has called yet."""
    return UtpEndpoint(TransportConfig(connections_max=connections_max), Random(7))


class Stranger:
    """Knows what a caller knows; says what the test wants.

    Invariant: `answers` has every packet that came to this address and was not taken.
    """

    def __init__(
        self,
        endpoint: UtpEndpoint,
        address: Address = SOMEWHERE,
        connection_id: int = 500,
        seq: int = 1,
    ) -> None:
        self.endpoint = endpoint
        self.address = address
        self.connection_id = connection_id
        self.seq = seq
        "Of the SYN, then of what was sent last."
        self.ack = 0
        self.window = WINDOW
        self.now = 10 * SECOND
        self.bytes_out = 0
        self.bytes_in = 0
        self.connection: Stream | None = None
        self.events: list[Event] = []

    # What it says

    def syn(self) -> list[Packet]:
        """Ask for a connection."""
        answers = self.send(PacketType.SYN, self.seq, connection_id=self.connection_id)
        states = [answer for answer in answers if answer.type is PacketType.STATE]
        if states:
            self.ack = (states[0].seq - 1) & 0xFFFF
        return answers

    def call(self) -> Stream:
        """Go through the whole handshake, BEP 3's included."""
        self.syn()
        self.say(GREETING)
        assert self.connection is not None, "not accepted"
        return self.connection

    def say(self, payload: bytes) -> list[Packet]:
        """Send the next data."""
        self.seq = (self.seq + 1) & 0xFFFF
        return self.send(PacketType.DATA, self.seq, payload)

    def send(
        self,
        kind: PacketType,
        seq: int,
        payload: bytes = b"",
        *,
        sack: int = 0,
        ack: int | None = None,
        connection_id: int | None = None,
    ) -> list[Packet]:
        """Send any packet; return what comes back at once."""
        packet = self.packet(kind, seq, payload)
        packet.sack = sack
        packet.ack = self.ack if ack is None else ack
        if connection_id is not None:
            packet.connection_id = connection_id
        return self.throw(packet.to_bytes())

    def packet(self, kind: PacketType, seq: int, payload: bytes = b"") -> Packet:
        """Return a packet of this connection, for sending as one likes."""
        connection_id = (self.connection_id + 1) & 0xFFFF
        return Packet(kind, connection_id, self.now, 0, self.window, seq, self.ack, payload=payload)

    def throw(self, data: bytes, datagram_size: int | None = None) -> list[Packet]:
        """Send any bytes, as one datagram or as a train; return what comes back at once."""
        self.bytes_out += len(data)
        train = Train(self.address, data, datagram_size or max(1, len(data)))
        self.endpoint.receive_train(train, self.now)
        return self.drain()

    # What it hears

    def drain(self) -> list[Packet]:
        """Take what the endpoint wants to say, and report, now."""
        answers: list[Packet] = []
        while True:
            trains = self.endpoint.trains_to_send(self.now)
            while (report := self.endpoint.next_event()) is not None:
                assert isinstance(report.connection, Stream)
                self.connection = report.connection
                self.events.append(report.event)
            if not trains:
                return answers
            for train in trains:
                if train.address == self.address:
                    self.bytes_in += len(train.data)
                    answers += [parse_packet(datagram) for datagram in train.datagrams()]

    def wait(self, seconds: float) -> list[Packet]:
        """Say nothing for a while; return what is heard."""
        end = self.now + int(seconds * SECOND)
        answers = self.drain()
        calls = 0
        while (timer := self.endpoint.get_timer()) is not None and timer <= end:
            calls = calls + 1 if timer <= self.now else 0
            assert calls < 20, "a timer that does not move"
            self.now = max(self.now, timer)
            self.endpoint.handle_timer(self.now)
            answers += self.drain()
        self.now = end
        return answers

    def listen(self, answers: list[Packet]) -> list[Packet]:
        """Acknowledge the data among some answers; return what comes back at once."""
        numbers = [each.seq for each in answers if each.type in (PacketType.DATA, PacketType.FIN)]
        if not numbers:
            return []
        self.ack = numbers[-1]
        return self.send(PacketType.STATE, (self.seq + 1) & 0xFFFF)

    def messages(self) -> list[bytes]:
        """Return the messages that the endpoint read, the handshake first."""
        return [event.data for event in self.events if isinstance(event, MessageReceived)]


def framed(message: bytes) -> bytes:
    """Return a message with its length before it (BEP 3)."""
    return len(message).to_bytes(4, "big") + message
