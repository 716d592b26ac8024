"""Flow control, numbers that wrap, acknowledgements in time."""

from __future__ import annotations

from random import Random

import pytest

from livestream.machine import MILLISECOND, SECOND, Address
from livestream.transport.connection import ConnectionState
from livestream.transport.utp.packet import Packet, PacketType, parse_packet
from tests.transport.utp.pair import GREETING, THERE, Pair
from tests.transport.utp.path import Narrow
from tests.transport.utp.stranger import Stranger, framed, listening

PIECE = b"\x14" + bytes(50_000)


def _sending(window: int) -> tuple[Stranger, list[Packet]]:
    """Return a peer that is being sent something, and what it was sent at once."""
    stranger = Stranger(listening())
    stranger.call()
    stranger.window = window
    stranger.say(framed(b"\x14a new window"))
    assert stranger.connection is not None
    stranger.connection.send(GREETING)
    stranger.connection.send(PIECE)
    return stranger, stranger.drain()


def _data(packets: list[Packet]) -> list[Packet]:
    return [packet for packet in packets if packet.type is PacketType.DATA]


# The other side's window


def test_no_more_is_sent_than_the_other_side_takes() -> None:
    _, sent = _sending(4_000)
    assert 2 <= len(_data(sent)) <= 3
    assert sum(len(packet.payload) + 20 for packet in _data(sent)) <= 4_000


def test_a_closed_window_is_asked_with_a_row_now_and_then() -> None:
    stranger, sent = _sending(0)
    assert _data(sent) == []
    heard = _data(stranger.wait(20))
    assert 1 <= len(heard) <= 12
    assert len({packet.seq for packet in heard}) == 1


def test_a_window_that_opens_lets_everything_go_on_at_once() -> None:
    stranger, _ = _sending(0)
    stranger.wait(10)
    stranger.window = 1 << 20
    assert _data(stranger.send(PacketType.STATE, stranger.seq + 1))


def test_a_peer_that_is_there_and_takes_nothing_is_not_gone() -> None:
    """It answers each row with a window of 0, for minutes: its disk is busy."""
    stranger, _ = _sending(0)
    knocks = 0
    for _ in range(600):
        if _data(stranger.wait(0.5)):
            knocks += 1
            stranger.send(PacketType.STATE, stranger.seq + 1)
    assert stranger.connection is not None
    assert stranger.connection.state is ConnectionState.CONNECTED
    assert knocks >= 15, "no more than 20 s apart"
    stranger.window = 1 << 20
    assert _data(stranger.send(PacketType.STATE, stranger.seq + 1) + stranger.wait(20))


def test_a_closed_window_of_a_peer_that_vanished_is_noticed() -> None:
    stranger, _ = _sending(0)
    stranger.wait(120)
    assert stranger.connection is not None
    assert stranger.connection.state is ConnectionState.CLOSED
    assert stranger.endpoint.connection_count == 0


@pytest.mark.parametrize("window", [1, 500, 1_300, 2_000])
def test_a_tiny_window_is_slow_and_works(window: int) -> None:
    stranger, sent = _sending(window)
    payload = b"".join(packet.payload for packet in _data(sent))
    expected = stranger.ack
    for _ in range(400):
        for packet in _data(sent):
            if packet.seq == (expected + 1) & 0xFFFF:
                expected = packet.seq
                stranger.ack = expected
        stranger.send(PacketType.STATE, stranger.seq + 1)
        sent = stranger.wait(0.2)
        payload += b"".join(packet.payload for packet in _data(sent) if packet.seq > expected)
        if len(payload) > 30_000:
            break
    assert len(payload) > 30_000


def test_a_window_of_4_gib_is_believed_no_further_than_congestion_allows() -> None:
    _, sent = _sending(0xFFFFFFFF)
    assert 2 <= len(_data(sent)) <= 20


# Our window


def test_our_window_shrinks_by_what_waits_for_its_turn_and_comes_back() -> None:
    stranger = Stranger(listening())
    stranger.call()
    (before,) = stranger.send(PacketType.DATA, stranger.seq, b"a copy")
    (held,) = stranger.send(PacketType.DATA, stranger.seq + 2, framed(b"\x14" + bytes(995)))
    assert held.window == before.window - 1_000
    assert held.sack == 1
    stranger.send(PacketType.DATA, stranger.seq + 1, framed(b"\x14first"))
    (after,) = stranger.send(PacketType.DATA, stranger.seq, b"a copy")
    assert (after.window, after.sack) == (before.window, 0)


def test_all_of_a_window_that_was_granted_is_kept() -> None:
    """Else what was sent by the rules would have to be sent again."""
    stranger = Stranger(listening())
    stranger.call()
    (answer,) = stranger.send(PacketType.DATA, stranger.seq, b"a copy")
    rows = answer.window // 1_452
    for ahead in range(2, rows):
        (answer,) = stranger.send(PacketType.DATA, stranger.seq + ahead, bytes(1_452))
    assert answer.sack == (1 << (rows - 2)) - 1


# Acknowledgements


def test_a_single_row_is_acknowledged_within_20_ms_and_two_at_once() -> None:
    stranger = Stranger(listening())
    stranger.call()
    stranger.wait(1)
    assert stranger.say(framed(b"\x14one")) == []
    before = stranger.now
    assert [answer.ack for answer in stranger.wait(0.02)] == [stranger.seq]
    assert stranger.now - before == 20 * MILLISECOND
    assert stranger.say(framed(b"\x14two")) == []
    assert [answer.ack for answer in stranger.say(framed(b"\x14three"))] == [stranger.seq]


def test_data_carries_the_acknowledgement() -> None:
    stranger = Stranger(listening())
    connection = stranger.call()
    stranger.wait(1)
    stranger.say(framed(b"\x14question"))
    connection.send(GREETING)
    (answer,) = stranger.drain()
    assert (answer.type, answer.ack) == (PacketType.DATA, stranger.seq)
    assert stranger.wait(0.04) == []


def test_a_hole_and_a_copy_are_told_at_once() -> None:
    stranger = Stranger(listening())
    stranger.call()
    stranger.wait(1)
    (hole,) = stranger.send(PacketType.DATA, stranger.seq + 3, b"x")
    assert (hole.ack, hole.sack) == (stranger.seq, 0b10)
    (copy,) = stranger.send(PacketType.DATA, stranger.seq, b"x")
    assert copy.ack == stranger.seq


def test_a_lost_tail_is_sent_again_before_the_timeout() -> None:
    """The last row alone, within two round trips and what an acknowledgement may wait."""
    stranger, sent = _sending(1 << 20)
    rtt_s = 0.1
    stranger.wait(rtt_s)
    stranger.listen(_data(sent))
    sent = _data(stranger.drain() + stranger.wait(rtt_s))
    stranger.listen(sent)
    tail = _data(stranger.wait(rtt_s))[-1:] or sent[-1:]
    started = stranger.now
    again = _data(stranger.wait(0.4))
    assert again, "nothing was sent again"
    assert [packet.seq for packet in again[:1]] == [tail[0].seq]
    assert stranger.now - started <= SECOND // 2


# Numbers


@pytest.mark.parametrize(
    ("loss", "is_whole"), [(0.0, True), (0.0, False), (0.03, True), (0.03, False)]
)
def test_numbers_wrap_within_a_transfer(loss: float, is_whole: bool) -> None:
    """The callee's first number is a hash; this seed's is 65,444."""
    firsts: list[int] = []

    def censor(source: Address, datagram: bytes) -> list[bytes]:
        if source == THERE and not firsts:
            firsts.append(parse_packet(datagram).seq)
        return [datagram]

    link = Narrow(loss=loss, is_whole=is_whole, jitter_us=0 if is_whole else 5_000)
    pair = Pair(2_702, link, censor=censor)
    server = pair.greet()
    assert firsts == [65_444]
    texts = [b"\x14" + Random(number).randbytes(20_000) for number in range(20)]
    for text in texts:
        server.send(text)
    pair.run(30)
    assert pair.messages("client") == [GREETING, *texts]


def test_numbers_wrap_in_what_we_receive() -> None:
    stranger = Stranger(listening(), seq=0xFFFD)
    stranger.call()
    texts = [b"\x14%d" % number for number in range(12)]
    first = stranger.seq + 1
    for number in (3, 1, 2, 5, 0, 4, 6, 9, 8, 7, 11, 10):
        stranger.send(PacketType.DATA, (first + number) & 0xFFFF, framed(texts[number]))
    assert stranger.messages() == [GREETING, *texts]
    stranger.seq = (stranger.seq + 12) & 0xFFFF
    assert stranger.send(PacketType.DATA, stranger.seq, b"a copy")[0].ack == stranger.seq


def test_more_numbers_than_there_are_are_used_in_one_transfer() -> None:
    """70,000 rows in trains: numbers come round, and are not taken for those of before."""
    stranger = Stranger(listening())
    stranger.call()
    payload = framed(b"\x14" + bytes(1_000))
    for _ in range(1_750):
        rows = []
        for _ in range(40):
            stranger.seq = (stranger.seq + 1) & 0xFFFF
            rows.append(stranger.packet(PacketType.DATA, stranger.seq, payload).to_bytes())
        stranger.throw(b"".join(rows), len(rows[0]))
    assert len(stranger.messages()) == 1 + 70_000
    assert len(stranger.send(PacketType.DATA, stranger.seq, b"a copy")) == 1
