"""µTP between two endpoints in virtual time: what arrives, in spite of what the path does."""

from __future__ import annotations

from random import Random

from livestream.machine import MILLISECOND
from livestream.transport.connection import Connected, Disconnected
from tests.transport.utp.pair import GREETING, Pair
from tests.world import Link


def _texts(seed: int, count: int) -> list[bytes]:
    rng = Random(seed)
    return [b"\x14" + rng.randbytes(rng.choice([0, 17, 1_200, 40_000])) for _ in range(count)]


def test_messages_arrive_in_order_both_ways_on_a_bad_path() -> None:
    for seed in range(4):
        pair = Pair(seed, Link(delay_us=40 * MILLISECOND, jitter_us=20 * MILLISECOND, loss=0.03))
        server = pair.greet()
        texts = _texts(seed, 60)
        for text in texts:
            pair.client.send(text)
            server.send(text)
        pair.run(60)
        assert pair.messages("server") == [GREETING, *texts], f"seed {seed}"
        assert pair.messages("client") == [GREETING, *texts], f"seed {seed}"


def test_a_call_is_reported_once_on_both_sides() -> None:
    pair = Pair()
    pair.greet()
    for side in ("client", "server"):
        assert pair.events[side][0] == Connected(b"")
        assert sum(isinstance(event, Connected) for event in pair.events[side]) == 1


def test_a_goodbye_ends_both_sides_and_costs_no_memory() -> None:
    pair = Pair()
    pair.greet()
    pair.client.close("done", pair.world.now)
    pair.run(10)
    assert isinstance(pair.events["client"][-1], Disconnected)
    assert pair.events["server"][-1] == Disconnected("hung up", is_local=False)
    assert pair.client_end.connection_count == pair.server_end.connection_count == 0
