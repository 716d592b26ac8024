"""The last packet before a pause is lost: nothing that comes later tells of it."""

from __future__ import annotations

from livestream.machine import MILLISECOND, Address
from livestream.transport.utp.packet import PacketType, parse_packet
from livestream.transport.utp.rtt import DELAYED_ACK_US
from tests.transport.utp.pair import HERE, TEXT, Pair
from tests.world import Link

DELAY_US = 50 * MILLISECOND


def test_a_lost_tail_comes_a_round_trip_and_a_late_acknowledgement_later() -> None:
    lost: list[bytes] = []
    is_losing = False

    def drop_one(source: Address, datagram: bytes) -> list[bytes]:
        is_data = source == HERE and parse_packet(datagram).type is PacketType.DATA
        if not (is_losing and is_data and not lost):
            return [datagram]
        lost.append(datagram)
        return []

    pair = Pair(link=Link(delay_us=DELAY_US), censor=drop_one)
    pair.greet()
    for _ in range(40):
        pair.client.send(TEXT[:500])
        pair.run(0.25)
    before, sent_at, is_losing = len(pair.messages("server")), pair.world.now, True
    pair.client.send(TEXT[:500])
    while len(pair.messages("server")) == before:
        pair.run(0.005)
    took_us = pair.world.now - sent_at
    assert lost
    # The way there, once it is known that no answer takes so long; ours waits 20 ms itself.
    assert 3 * DELAY_US < took_us <= 3 * DELAY_US + DELAYED_ACK_US + 50 * MILLISECOND
