"""Calls in the model: whoever is called by a crowd answers within a fifth of its upload."""

from __future__ import annotations

from random import Random

from livestream.config import SwarmConfig, Transport
from livestream.machine import MILLISECOND, SECOND
from livestream.sim.calls import HELLO_BYTES
from livestream.sim.host import Internet
from livestream.sim.links import Access, Path
from livestream.sim.world import World
from livestream.swarm.node import ANSWERS_SHARE, BURST_BYTES_MIN, Node
from livestream.transport.connection import ConnectionState

UPLINK_BPS = 800_000
CALLERS = 25


def test_a_crowd_is_answered_bit_by_bit_and_all_of_it_in_the_end() -> None:
    world = World(1)
    delay_us = 20 * MILLISECOND
    internet = Internet(world, Path(delay_us, delay_us, jitter_us=0, loss=0.0), 1)
    called = internet.add(1, Access(UPLINK_BPS), b"\x01" * 32)
    swarm = SwarmConfig(upload_bps=UPLINK_BPS)
    node = Node(called.identity, Random(1), swarm=swarm, diallers={Transport.QUIC: called})
    called.run(node, lambda _event, _now: None)
    callers = [
        internet.add(number, Access(8_000_000), b"\x02" * 32) for number in range(2, 2 + CALLERS)
    ]
    calls = [caller.connect(called.address, world.now) for caller in callers]

    def answered() -> int:
        return sum(call.state is ConnectionState.CONNECTED for call in calls)

    world.run_until(world.now + SECOND)
    within_bytes = BURST_BYTES_MIN + ANSWERS_SHARE * UPLINK_BPS / 8
    assert 0.5 * within_bytes < answered() * HELLO_BYTES <= within_bytes + HELLO_BYTES
    world.run_until(world.now + 4 * SECOND)
    assert answered() == CALLERS
