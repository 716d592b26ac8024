"""Long, fast paths: the window grows with them, and holes in megabytes under way are filled."""

from __future__ import annotations

import pytest

from livestream.machine import MILLISECOND, SECOND, Address
from livestream.transport.connection import ConnectionState
from livestream.transport.utp.packet import Packet, PacketType
from livestream.transport.utp.receiving import EARLY_ROWS_MAX
from tests.transport.utp.pair import GREETING, HERE, Pair
from tests.transport.utp.path import Narrow
from tests.transport.utp.stranger import Stranger, framed, listening

SHORT_PATH_WINDOW = 2 << 20


def _data(packets: list[Packet]) -> list[Packet]:
    return [packet for packet in packets if packet.type is PacketType.DATA]


@pytest.mark.parametrize(
    ("round_trip_us", "window"),
    [
        (10 * MILLISECOND, SHORT_PATH_WINDOW),
        (80 * MILLISECOND, 10_000_000),
        (SECOND, 16 << 20),
        (20 * SECOND, SHORT_PATH_WINDOW),  # That is no path but a clock that was set, or a lie.
    ],
)
def test_who_only_takes_data_grants_what_a_fast_path_of_that_length_holds(
    round_trip_us: int, window: int
) -> None:
    """Nothing of it is acknowledged, so both ways are measured by the delays that are told."""
    stranger = Stranger(listening())
    stranger.call()
    packet = stranger.packet(PacketType.DATA, stranger.seq + 2, b"early")
    packet.timestamp -= 3_000_000_000  # Its clock is far from ours, ...
    packet.difference = round_trip_us - 3_000_000_000  # ...and that cancels.
    (answer,) = stranger.throw(packet.to_bytes())
    assert answer.window == window - len(packet.payload)


def test_what_cannot_be_named_any_more_is_kept_nonetheless() -> None:
    """Of a large window one acknowledgement names 2,016 rows; the rest need not come again."""
    stranger = Stranger(listening())
    stranger.call()
    rows = 5_000
    assert rows < EARLY_ROWS_MAX
    for ahead in range(2, rows + 1):
        stranger.send(PacketType.DATA, stranger.seq + ahead, b"\x00" * 4)
    (answer,) = stranger.send(PacketType.DATA, stranger.seq + 1, b"\x00" * 4)
    assert answer.ack == (stranger.seq + rows) & 0xFFFF


def _behind_a_hole(window: int) -> tuple[Stranger, list[Packet], list[Packet]]:
    """Return a peer that misses the first row, what was sent, and what it gets after it says so.

    It has the rest, names only the two rows behind the hole, and has room for `window` more.
    """
    stranger = Stranger(listening())
    stranger.call()
    assert stranger.connection is not None
    stranger.connection.send(GREETING)
    stranger.connection.send(b"\x14" + bytes(50_000))
    sent = _data(stranger.drain())
    stranger.wait(0.05)
    stranger.window = window
    answers = stranger.send(PacketType.STATE, stranger.seq + 1, sack=0b11)
    return stranger, sent, _data(answers + stranger.wait(0.05))


def test_a_hole_is_filled_though_what_is_kept_behind_it_has_taken_the_window() -> None:
    _, sent, again = _behind_a_hole(window=2_000)
    assert len(sent) > 5
    assert [packet.seq for packet in again] == [sent[0].seq]


def test_the_round_trip_is_not_measured_by_what_waited_behind_a_hole() -> None:
    stranger, sent, again = _behind_a_hole(window=1 << 20)
    assert stranger.connection is not None
    rtt_us = stranger.connection.rtt_us
    stranger.wait(0.3)
    stranger.ack = sent[-1].seq
    stranger.send(PacketType.STATE, stranger.seq + 1)
    assert again
    assert stranger.connection.rtt_us <= rtt_us + 10 * MILLISECOND


def test_many_losses_at_once_are_sent_again_at_the_pace_of_the_path() -> None:
    """Not a row for each acknowledgement: nothing else is under way that would be acknowledged."""
    lost = 0

    def censor(source: Address, datagram: bytes) -> list[bytes]:
        nonlocal lost
        is_lost = is_cut and source == HERE and lost < 60 and len(datagram) > 1_000
        lost += is_lost
        return [] if is_lost else [datagram]

    is_cut = False
    link = Narrow(rate_bps=3_000_000, delay_us=150 * MILLISECOND, queue_us=SECOND)
    pair = Pair(link=link, censor=censor)
    pair.greet()
    pair.stream(8)
    pair.run(4)
    before, is_cut = len(pair.messages("server")), True
    pair.client.send(b"\x14" + bytes(110_000))
    pair.run(1.1)
    assert lost == 60
    assert len(pair.messages("server")) == before + 1


def test_a_window_that_was_overtaken_is_not_believed() -> None:
    """It tells nothing of what is kept since: what were sent for it would take the hole's room."""
    stranger, sent, _ = _behind_a_hole(window=2_000)
    late = stranger.packet(PacketType.STATE, stranger.seq + 1)
    late.timestamp -= 60 * MILLISECOND  # What tells of the hole was sent 50 ms ago.
    late.window = 1 << 20
    assert stranger.connection is not None
    stranger.connection.send(b"\x14" + bytes(60_000))
    heard = _data(stranger.throw(late.to_bytes()) + stranger.wait(0.04))
    fresh = [packet for packet in heard if packet.seq > sent[-1].seq]
    assert fresh == []


def test_the_window_of_what_is_sent_again_is_not_believed() -> None:
    """libtorrent renews its time, not its window: that is of when the packet went first."""
    stranger, sent, _ = _behind_a_hole(window=2_000)
    stranger.wait(0.05)
    again = stranger.packet(PacketType.DATA, stranger.seq, framed(b"\x14 once more"))
    again.window = 1 << 20
    assert stranger.connection is not None
    stranger.connection.send(b"\x14" + bytes(60_000))
    heard = _data(stranger.throw(again.to_bytes()) + stranger.wait(0.04))
    fresh = [packet for packet in heard if packet.seq > sent[-1].seq]
    assert fresh == []


def test_room_is_left_in_the_window_for_what_fills_the_hole() -> None:
    stranger, sent, again = _behind_a_hole(window=20_000)
    assert [packet for packet in again if packet.seq > sent[-1].seq] == []
    stranger.window = 1 << 20
    heard = _data(stranger.send(PacketType.STATE, stranger.seq + 1, sack=0b1111))
    assert [packet for packet in heard if packet.seq > sent[-1].seq], "else it would be no test"


def test_who_is_full_of_what_is_behind_a_hole_and_does_not_let_it_be_filled_is_given_up() -> None:
    """libtorrent drops what has no room, be it the next in turn, and waits for it for good."""
    stranger, sent, _ = _behind_a_hole(window=0)
    for _ in range(80):
        if any(packet.seq == sent[0].seq for packet in _data(stranger.wait(0.5))):
            stranger.send(PacketType.STATE, stranger.seq + 1, sack=0b11)
    assert stranger.connection is not None
    assert stranger.connection.state is ConnectionState.CLOSED
