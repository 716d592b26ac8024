"""What a receiver says while something is missing: each packet, and nothing when that is no use."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND, Event, Train
from livestream.transport.connection import Connection, Disconnected
from livestream.transport.utp.packet import Packet, PacketType, parse_packet
from tests.transport.utp.pair import GREETING, HERE, Pair

MISSING = 3


class Sender:
    """Has sent everything but packet 3, and goes on every 10 ms as if that did not matter."""

    def __init__(self) -> None:
        self.endpoint = Pair().server_end
        self.now = SECOND
        self.send(Packet(PacketType.SYN, 7, 0, 0, 9, 1, 0))
        self.ack = parse_packet(bytes(self.endpoint.trains_to_send(self.now)[0].data)).seq - 1
        self.send_data(2)
        self.next_seq = MISSING + 1

    def send(self, packet: Packet) -> None:
        data = packet.to_bytes()
        self.endpoint.receive_train(Train(HERE, data, len(data)), self.now)

    def send_data(self, seq: int) -> list[Packet]:
        """Send one packet, and return what is answered at once."""
        payload = bytes(100)
        self.send(Packet(PacketType.DATA, 8, 0, 0, 1 << 20, seq, self.ack, payload=payload))
        return self.answers()

    def answers(self) -> list[Packet]:
        """Return what the receiver says now."""
        self.endpoint.handle_timer(self.now)
        trains = self.endpoint.trains_to_send(self.now)
        return [parse_packet(bytes(train.data)) for train in trains]

    def connections(self) -> list[Connection]:
        """Return the connections that the receiver reports."""
        reports = iter(self.endpoint.next_event, None)
        return [report.connection for report in reports if report is not None]

    def events(self) -> list[Event]:
        """Return what the receiver reports."""
        reports = iter(self.endpoint.next_event, None)
        return [report.event for report in reports if report is not None]

    def run(self, duration_us: int) -> list[int]:
        """Go on for so long; returns when something was answered, µs from now."""
        began, times = self.now, []
        while self.now < began + duration_us:
            if self.send_data(self.next_seq):
                times.append(self.now - began)
            self.next_seq += 1
            self.now += 10 * MILLISECOND
        return times


def test_what_comes_behind_a_hole_is_acknowledged_packet_by_packet() -> None:
    assert len(Sender().run(3 * SECOND // 10)) == 30


def test_a_sender_that_forgets_a_hole_hears_nothing_until_it_thinks_of_it() -> None:
    """libtorrent sends again a second time only after silence, and takes any answer for news."""
    sender = Sender()
    times = sender.run(3 * SECOND // 2)
    assert [at for at in times if at > 320 * MILLISECOND] == []
    answers = sender.send_data(MISSING)
    assert [answer.ack for answer in answers] == [sender.next_seq - 1]


def test_our_own_data_does_not_break_the_silence_either() -> None:
    """Whatever comes makes libtorrent wait for another timeout before it sends again."""
    sender = Sender()
    sender.run(SECOND // 2)
    (reported, *_) = sender.connections()
    reported.send(GREETING)
    assert sender.answers() == []
    assert sender.run(SECOND) == []
    assert PacketType.DATA in [answer.type for answer in sender.send_data(MISSING)]


def test_a_sender_that_sends_again_what_came_is_told_at_once_what_is_missing() -> None:
    """It has begun to think of what it has lost, and does not know what that is."""
    sender = Sender()
    sender.run(SECOND)
    (answer,) = sender.send_data(MISSING + 1)
    assert (answer.ack, answer.sack & 1) == (MISSING - 1, 1)


def test_a_hole_behind_which_nothing_comes_any_more_is_named_again() -> None:
    """What the sender sent again may be lost, or what it was told; libtorrent waits for seconds."""
    sender = Sender()
    sender.run(SECOND // 10)
    sender.now += SECOND
    assert sender.answers() == []
    sender.now += SECOND // 2
    assert [(answer.ack, answer.sack & 1) for answer in sender.answers()] == [(MISSING - 1, 1)]


def test_a_forgotten_hole_is_named_again_and_then_another_connection_is_due() -> None:
    """libtorrent may forget it for good, or the connection."""
    sender = Sender()
    sender.run(SECOND)
    assert len(sender.run(95 * SECOND // 100)) == 1
    assert not [event for event in sender.events() if isinstance(event, Disconnected)]
    sender.now += SECOND // 10
    assert PacketType.FIN in [answer.type for answer in sender.answers()]
    assert any(isinstance(event, Disconnected) for event in sender.events())
