"""What was said before a goodbye arrives, over µTP as over TCP."""

from __future__ import annotations

from livestream.machine import MILLISECOND
from livestream.transport.connection import Disconnected
from tests.transport.utp.pair import GREETING, Pair
from tests.transport.utp.path import Narrow


def test_what_waited_for_the_window_arrives_before_the_goodbye() -> None:
    pair = Pair(link=Narrow(rate_bps=8_000_000, delay_us=25 * MILLISECOND, loss=0.01))
    pair.greet()
    texts = [b"\x14" + bytes([number]) * 50_000 for number in range(20)]
    for text in texts:
        pair.client.send(text)
    assert pair.client.backlog_bytes > 500_000
    pair.client.close("done", pair.world.now)
    pair.run(10)
    assert pair.messages("server") == [GREETING, *texts]
    assert isinstance(pair.events["server"][-1], Disconnected)
    assert pair.client_end.connection_count == pair.server_end.connection_count == 0


def test_whoever_takes_nothing_any_more_does_not_keep_us() -> None:
    pair = Pair(link=Narrow(rate_bps=8_000_000, delay_us=25 * MILLISECOND))
    pair.greet()
    pair.client.send(b"\x14" + bytes(2_000_000))
    pair.world.censor = lambda source, datagram: []
    pair.client.close("done", pair.world.now)
    pair.run(10)
    assert pair.client_end.connection_count == 0
