"""What goes with a datagram that goes anyway over µTP: messages that can wait for one."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND
from livestream.transport.connection import Connection
from tests.transport.utp.pair import HERE, Pair

WAIT_US = 250 * MILLISECOND
STATUS = b"\x14status"
PIECE = b"\x07" + bytes(1_000)


def quiet_pair() -> tuple[Pair, Connection]:
    """Two who have said hello, and have nothing to say."""
    pair = Pair()
    server = pair.greet()
    pair.run(5)
    pair.world.forget()
    return pair, server


def datagrams_with(company: str) -> int:
    """Return how many datagrams a message makes that waits for this."""
    pair, server = quiet_pair()
    for _ in range(10):
        pair.client.send_later(STATUS, pair.world.now + WAIT_US)
        pair.run(0.01)
        if company == "piece":
            pair.client.send_independent(PIECE, pair.world.now + SECOND)
        elif company == "acknowledgement":
            server.send_independent(PIECE, pair.world.now + SECOND)
        pair.run(0.5)
    assert pair.messages("server")[1:].count(STATUS) == 10
    return pair.world.traffic_of(HERE).datagrams


def test_it_goes_with_a_piece() -> None:
    assert datagrams_with("piece") == 10


def test_it_goes_with_an_acknowledgement() -> None:
    """Data tells what has come, so that nothing else has to."""
    assert datagrams_with("acknowledgement") == 10


def test_it_goes_alone_when_its_time_is_over() -> None:
    assert datagrams_with("nothing") == 10
    pair, _ = quiet_pair()
    pair.client.send_later(STATUS, pair.world.now + WAIT_US)
    pair.run(0.24)
    assert pair.world.traffic_of(HERE).datagrams == 0
    pair.run(0.2)
    assert pair.messages("server")[1:] == [STATUS]


def test_messages_stay_in_order() -> None:
    pair, _ = quiet_pair()
    pair.client.send_later(STATUS, pair.world.now + WAIT_US)
    pair.client.send(b"\x14second")
    pair.run(0.1)
    assert pair.messages("server")[1:] == [STATUS, b"\x14second"]
