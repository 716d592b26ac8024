"""What goes with a datagram that goes anyway: messages that can wait for one."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND
from tests.transport.test_acknowledgements import LINK, Wire, quiet_pair
from tests.transport.test_endpoint import GREETING, HERE, Pair

WAIT_US = 250 * MILLISECOND


def greeted_pair() -> tuple[Pair, Wire]:
    """Two who have said hello."""
    pair, wire = quiet_pair()
    pair.client.send(GREETING)
    pair.run(1)
    wire.departed.clear()
    return pair, wire


def test_it_goes_with_a_piece() -> None:
    pair, wire = greeted_pair()
    pair.client.send_later(b"status", wire.now + WAIT_US)
    pair.run(0.1)
    assert not wire.departed.get(HERE), "it waits"
    began = wire.now
    pair.client.send_independent(bytes(1_000), wire.now + SECOND)
    pair.run(0.1)
    assert wire.departed[HERE] == [began]
    assert sorted(pair.messages("server")[1:]) == sorted([b"status", bytes(1_000)])


def test_it_goes_with_an_acknowledgement() -> None:
    """Children are sent pieces, and send none: this is all that goes their way."""
    pair, wire = greeted_pair()
    assert pair.server is not None
    pair.client.send_later(b"status", wire.now + WAIT_US)
    pair.server.send_independent(bytes(1_000), wire.now + SECOND)
    pair.run(0.1)
    assert len(wire.departed[HERE]) == 1, "the acknowledgement, and the message in it"
    assert pair.messages("server")[1:] == [b"status"]


def test_it_goes_alone_when_its_time_is_over() -> None:
    pair, wire = greeted_pair()
    by = wire.now + WAIT_US
    pair.client.send_later(b"status", by)
    pair.client.send_later(b"rooms", by + WAIT_US)
    pair.run(0.5)
    assert wire.departed[HERE] == [by], "both of them, once"
    assert pair.messages("server")[1:] == [b"status", b"rooms"]
    assert wire.now - by > LINK.delay_us


def test_what_must_go_sooner_takes_along_what_waits() -> None:
    pair, wire = greeted_pair()
    began = wire.now
    pair.client.send_later(b"status", began + WAIT_US)
    pair.client.send_later(b"window", began + WAIT_US // 5)
    pair.run(0.2)
    assert wire.departed[HERE] == [began + WAIT_US // 5]
    assert pair.messages("server")[1:] == [b"status", b"window"]


def test_messages_stay_in_order() -> None:
    pair, wire = greeted_pair()
    pair.client.send_later(b"first", wire.now + WAIT_US)
    pair.client.send(b"second")
    pair.run(0.1)
    assert pair.messages("server")[1:] == [b"first", b"second"]


def test_what_waits_ends_with_its_connection() -> None:
    pair, wire = greeted_pair()
    pair.client.send_later(b"status", wire.now + WAIT_US)
    pair.client.close("enough", wire.now)
    timer = pair.client.get_timer()
    assert timer is None or timer > wire.now + 2 * WAIT_US, "of the goodbye alone"
    pair.run(5)
    assert pair.messages("server")[1:] == []
    assert pair.client_end.connection_count == 0
