"""What a viewer says of those that feed it."""

from __future__ import annotations

from random import Random

from livestream.live.feeders import Feeders
from livestream.live.neighbours import Neighbours
from livestream.machine import SECOND, Address
from livestream.swarm.peer import Peer
from livestream.transport.stream import Stream
from livestream.wire.live import Feed, Status


def test_pieces_from_the_future_leave_a_lag_that_can_be_told() -> None:
    """Where clocks disagree, a piece may seem to come before its capture."""
    connection = Stream(Address("192.0.2.1", 4000), lambda stream: None, 0, is_outgoing=True)
    peer = Peer(connection, bytes(32), 0)
    neighbours = Neighbours()
    neighbours.note(peer, Status(True, 0xFF, 5, 0, (0,)))
    feeders = Feeders(b"self", Random(1), neighbours, lambda peer, message: None)
    feeders.start(1, 0)
    feeders.handle_timer([peer], 0, 0)
    assert feeders.on_feed(peer, Feed(0, 0, (b"peer",)), 1)
    feeders.note_pushed(0, peer, -20 * SECOND, 2)
    assert feeders.lags_ms() == (0,)
    assert Status(False, 0xFF, 5, 0, feeders.lags_ms()).to_bytes()
