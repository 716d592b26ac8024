"""How connections end: by FIN, by silence, by both at once; and that nothing of them stays."""

from __future__ import annotations

from itertools import pairwise

import pytest

from livestream.machine import MILLISECOND, SECOND, Address
from livestream.transport.connection import Connected, ConnectionState, Disconnected
from livestream.transport.utp.packet import PacketType
from tests.transport.utp.pair import BACKLOG, GREETING, HERE, TEXT, THERE, Pair
from tests.transport.utp.path import Narrow
from tests.transport.utp.stranger import Stranger, framed, listening

HUNG_UP = Disconnected("hung up", is_local=False)


def _greeted() -> tuple[Pair, set[PacketType]]:
    """Return a pair, and the types of packets that its path loses: none yet."""
    lost: set[PacketType] = set()

    def censor(_: Address, datagram: bytes) -> list[bytes]:
        return [] if PacketType(datagram[0] >> 4) in lost else [datagram]

    pair = Pair(censor=censor)
    pair.greet()
    return pair, lost


def _assert_gone(pair: Pair) -> None:
    for side in ("client", "server"):
        ends = [event for event in pair.events[side] if isinstance(event, Disconnected)]
        assert len(ends) == 1
        assert pair.events[side][-1] is ends[0]
    assert pair.client_end.connection_count == pair.server_end.connection_count == 0
    assert pair.client_end.get_timer() is None
    assert pair.server_end.get_timer() is None


# By word


def test_what_was_sent_before_the_fin_arrives() -> None:
    """Also when the FIN overtakes it."""
    pair, lost = _greeted()
    lost.add(PacketType.DATA)
    pair.client.send(TEXT[:1_000])
    pair.run(0.001)
    pair.client.close("done", pair.world.now)
    pair.run(0.1)
    lost.clear()
    pair.run(20)
    assert pair.messages("server") == [GREETING, TEXT[:1_000]]
    assert pair.events["server"][-1] == HUNG_UP
    _assert_gone(pair)


def test_a_lost_fin_is_sent_again() -> None:
    pair, lost = _greeted()
    lost.add(PacketType.FIN)
    pair.client.close("done", pair.world.now)
    pair.run(0.4)
    assert pair.events["server"][-1] != HUNG_UP
    lost.clear()
    pair.run(5)
    assert pair.events["server"][-1] == HUNG_UP
    pair.run(10)
    _assert_gone(pair)


def test_fins_that_never_arrive_keep_neither_side_for_long() -> None:
    pair, lost = _greeted()
    lost.add(PacketType.FIN)
    pair.client.close("done", pair.world.now)
    pair.run(8)
    assert pair.client_end.connection_count == 0
    assert isinstance(pair.events["client"][-1], Disconnected)
    pair.run(300)
    _assert_gone(pair)


def test_both_may_close_at_once() -> None:
    pair, _ = _greeted()
    assert pair.server is not None
    pair.client.close("done", pair.world.now)
    pair.server.close("done", pair.world.now)
    pair.run(10)
    assert pair.events["client"][-1] == pair.events["server"][-1] == Disconnected("done", True)
    _assert_gone(pair)


def test_a_call_that_is_taken_back_ends_quietly() -> None:
    pair = Pair()
    pair.client.close("never mind", pair.world.now)
    pair.run(30)
    assert pair.events == {"client": [Disconnected("never mind", True)], "server": []}
    assert pair.client_end.connection_count == pair.server_end.connection_count == 0


def test_a_caller_that_says_nothing_and_leaves_costs_the_callee_nothing() -> None:
    pair = Pair()
    pair.run(1)
    pair.client.close("never mind", pair.world.now)
    pair.run(30)
    assert pair.events["server"] == []
    assert pair.client_end.connection_count == pair.server_end.connection_count == 0


def test_data_after_a_fin_is_nothing() -> None:
    stranger = Stranger(listening())
    stranger.call()
    stranger.send(PacketType.FIN, stranger.seq + 2)
    stranger.send(PacketType.DATA, stranger.seq + 2, framed(b"\x14in its place"))
    stranger.send(PacketType.DATA, stranger.seq + 3, framed(b"\x14after it"))
    assert stranger.messages() == [GREETING]
    stranger.send(PacketType.DATA, stranger.seq + 1, framed(b"\x14before it"))
    assert stranger.messages() == [GREETING, b"\x14before it"]
    assert stranger.events[-1] == HUNG_UP


def test_a_fin_among_what_came_after_it_is_a_lie() -> None:
    stranger = Stranger(listening())
    stranger.call()
    stranger.send(PacketType.DATA, stranger.seq + 3, framed(b"\x14three"))
    stranger.send(PacketType.FIN, stranger.seq + 2)
    stranger.send(PacketType.DATA, stranger.seq + 1, framed(b"\x14one"))
    stranger.send(PacketType.DATA, stranger.seq + 2, framed(b"\x14two"))
    assert stranger.messages() == [GREETING, b"\x14one", b"\x14two", b"\x14three"]


def test_a_fin_is_acknowledged_at_once_and_answered_by_ours() -> None:
    stranger = Stranger(listening())
    stranger.call()
    answers = stranger.send(PacketType.FIN, stranger.seq + 1)
    assert PacketType.FIN in [answer.type for answer in answers]
    assert {answer.ack for answer in answers} == {stranger.seq + 1}
    again = stranger.send(PacketType.FIN, stranger.seq + 1)
    assert {answer.ack for answer in again} == {stranger.seq + 1}


def test_a_connection_can_be_called_again_from_where_one_ended() -> None:
    endpoint = listening()
    for _ in range(3):
        stranger = Stranger(endpoint)
        stranger.call()
        stranger.send(PacketType.RESET, 0)
    assert endpoint.connection_count == 0


# By silence


@pytest.mark.parametrize("gone", [HERE, THERE])
def test_who_owes_acknowledgements_and_vanishes_is_noticed_after_8_seconds(gone: Address) -> None:
    pair, _ = _greeted()
    assert pair.server is not None
    stays, side = (pair.server, "server") if gone == HERE else (pair.client, "client")
    pair.world.remove(gone)
    for _ in range(50):
        stays.send(TEXT)
    pair.run(7)
    assert not any(isinstance(event, Disconnected) for event in pair.events[side])
    pair.run(3)
    assert pair.events[side][-1] == Disconnected("no answer", is_local=False)
    endpoint = pair.client_end if gone == THERE else pair.server_end
    assert endpoint.connection_count == 0
    assert stays.backlog_bytes == 0


def test_who_vanishes_from_an_idle_connection_is_noticed_within_minutes() -> None:
    pair, _ = _greeted()
    pair.world.remove(THERE)
    pair.run(200)
    assert pair.events["client"][-1] == Disconnected("no answer", is_local=False)
    assert pair.client_end.connection_count == 0


def test_timeouts_come_at_growing_distances() -> None:
    pair, _ = _greeted()
    pair.world.remove(THERE)
    sent: list[int] = []

    def censor(_: Address, datagram: bytes) -> list[bytes]:
        if datagram[0] >> 4 == PacketType.DATA:
            sent.append(pair.world.now)
        return [datagram]

    pair.world.censor = censor
    pair.client.send(b"\x14one row")
    pair.run(100)
    gaps = [b - a for a, b in pairwise(sent)]
    assert len(gaps) >= 5
    assert gaps[0] < SECOND // 2, "the first time soon: only the tail may be lost"
    for shorter, longer in pairwise(gaps[1:]):
        assert longer >= 1.9 * shorter


def test_who_says_something_is_not_given_up_for_8_seconds_without_news() -> None:
    """A slow path, or a machine that hardly keeps up: it is there."""
    pair, lost = _greeted()
    for _ in range(20):
        pair.client.send(TEXT)
    pair.run(0.02)
    lost.add(PacketType.STATE)
    for _ in range(4):
        pair.run(4)
        assert pair.server is not None
        pair.server.send(TEXT)
    lost.clear()
    pair.run(20)
    assert pair.messages("server") == [GREETING, *[TEXT] * 20]


def test_who_comes_back_within_seconds_loses_nothing() -> None:
    pair, lost = _greeted()
    for _ in range(20):
        pair.client.send(TEXT)
    pair.run(0.02)
    lost.update(PacketType)
    pair.run(5)
    lost.clear()
    pair.run(20)
    assert pair.messages("server") == [GREETING, *[TEXT] * 20]


def test_an_idle_connection_says_something_every_29_seconds() -> None:
    """NATs forget a mapping after 30 s; nothing is said more often than needed."""
    pair, _ = _greeted()
    pair.world.forget()
    pair.run(100)
    for source in (HERE, THERE):
        assert 3 <= pair.world.traffic_of(source).datagrams <= 4
    pair.run(1_000)
    assert pair.is_open()
    assert Connected(b"") in pair.events["client"]
    assert pair.client.state is ConnectionState.CONNECTED


# Who is not heard


def test_what_nothing_is_heard_of_is_told_from_when_it_left() -> None:
    """By that a feeder that died is left, over µTP as over QUIC."""
    gone: list[bool] = []
    pair = Pair(censor=lambda _, data: [] if gone else [data])
    pair.greet()
    seen = [pair.client.unanswered_at]
    gone.append(True)
    left_at = pair.world.now
    for _ in range(5):
        pair.client.send(TEXT)
        pair.run(0.2)
    seen.append(pair.client.unanswered_at)
    gone.clear()
    pair.run(2)
    seen.append(pair.client.unanswered_at)
    assert seen == [None, left_at, None]


def test_whoever_is_heard_is_there_however_much_is_under_way() -> None:
    pair = Pair(link=Narrow(delay_us=40 * MILLISECOND, rate_bps=2_000_000))
    pair.greet()
    longest_us = 0
    for _ in range(100):
        while pair.client.backlog_bytes < BACKLOG:
            pair.client.send(TEXT)
        pair.run(0.05)
        since = pair.client.unanswered_at
        assert since is not None
        longest_us = max(longest_us, pair.world.now - since)
    assert longest_us < 300 * MILLISECOND
