"""A µTP transfer through a narrow link in virtual time: the link full, its queue short."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from livestream.machine import MILLISECOND, SECOND, Address
from livestream.transport.utp.packet import parse_packet
from tests.transport.utp.pair import DELAY_TARGET_US, GREETING, HERE, TEXT, THERE, Pair
from tests.transport.utp.path import Narrow

RATE_BPS = 4_000_000


@pytest.mark.parametrize("delay_ms", [5, 25, 100])
def test_a_lone_transfer_fills_the_link_and_keeps_the_queue_at_its_target(delay_ms: int) -> None:
    pair = Pair(link=Narrow(rate_bps=RATE_BPS, delay_us=delay_ms * MILLISECOND, queue_us=SECOND))
    pair.greet()
    pair.stream(5)
    pair.world.forget()
    share = pair.stream(4) / RATE_BPS
    assert share >= 0.95
    assert pair.world.traffic_of(HERE).queue_us <= DELAY_TARGET_US + 10 * MILLISECOND


def test_a_queue_shorter_than_the_target_overflows_and_is_filled_nonetheless() -> None:
    link = Narrow(rate_bps=RATE_BPS, delay_us=25 * MILLISECOND, queue_us=30 * MILLISECOND)
    pair = Pair(link=link)
    pair.greet()
    pair.stream(5)
    assert pair.stream(6) / RATE_BPS >= 0.7


@pytest.mark.parametrize("size", [1_000, 5_000])
def test_what_waits_in_a_socket_while_a_node_rests_is_no_queue(size: int) -> None:
    """A live node looks at its socket each 10 to 80 ms; its delay target is 25."""
    told_us: list[int] = []

    def listen(source: Address, datagram: bytes) -> list[bytes]:
        if source == THERE:
            told_us.append(parse_packet(datagram).difference)
        return [datagram]

    def round_trip_us(rest_us: int) -> int:
        link = Narrow(rate_bps=100_000_000, delay_us=25_000, rest_us=rest_us, is_whole=True)
        pair, rng = Pair(link=link, censor=listen), Random(1)
        pair.greet()
        pair.stream(3)  # Until it is sent in trains.
        pair.run(1)
        told_us.clear()
        for _ in range(60):
            pair.client.send(TEXT[:size])
            pair.run(0.2 + 0.1 * rng.random())
        return pair.client.rtt_us

    without_us = round_trip_us(0)
    assert round_trip_us(40 * MILLISECOND) <= without_us + 30 * MILLISECOND, "its rest"
    assert max(told_us) - min(told_us) <= 5 * MILLISECOND


@pytest.mark.parametrize("rest_ms", [20, 80])
def test_who_wakes_up_seldom_sends_as_much_all_the_same(rest_ms: int) -> None:
    """Its driver rests, or the machine is busy: what pacing held back meanwhile goes at once."""
    link = Narrow(rate_bps=RATE_BPS, delay_us=30 * MILLISECOND)
    pair = Pair(link=replace(link, rest_us=rest_ms * MILLISECOND, has_late_timers=True))
    pair.greet()
    pair.stream(10)
    assert pair.stream(5) > 0.8 * RATE_BPS


def test_no_burst_is_longer_than_a_few_milliseconds_of_the_link() -> None:
    pair = Pair(link=Narrow(rate_bps=RATE_BPS, delay_us=25 * MILLISECOND))
    pair.greet()
    pair.stream(3)
    pair.world.forget()
    pair.stream(4)
    burst_us = pair.world.traffic_of(HERE).burst_bytes * 8 * SECOND // RATE_BPS
    assert burst_us <= 8 * MILLISECOND


def test_losses_and_disorder_make_it_slow_at_most_and_never_stall_it() -> None:
    for seed in range(3):
        link = Narrow(loss=0.02, delay_us=40 * MILLISECOND, jitter_us=15 * MILLISECOND)
        pair = Pair(seed, link)
        pair.greet()
        rng = Random(seed)
        texts = [b"\x14" + rng.randbytes(4_000) for _ in range(300)]
        for text in texts:
            pair.client.send(text)
        heard, last, since = 0, pair.world.now, pair.world.now
        while heard <= len(texts):
            pair.run(0.25)
            count = len(pair.messages("server"))
            last, heard = (pair.world.now, count) if count > heard else (last, heard)
            assert pair.world.now - last <= 3 * SECOND, f"seed {seed}: a stall"
            assert pair.world.now - since <= 90 * SECOND, f"seed {seed}: too slow"
        assert pair.messages("server") == [GREETING, *texts], f"seed {seed}"


def test_an_outage_is_recovered_from_within_seconds_of_its_end() -> None:
    pair = Pair(link=Narrow(rate_bps=RATE_BPS, delay_us=25 * MILLISECOND))
    pair.greet()
    pair.stream(4)
    pair.world.censor = lambda source, datagram: []
    pair.run(3)
    pair.world.censor = None
    pair.stream(8)
    assert pair.stream(3) / RATE_BPS >= 0.9


def test_transfers_in_both_directions_do_not_slow_each_other() -> None:
    pair = Pair(link=Narrow(rate_bps=RATE_BPS, delay_us=25 * MILLISECOND))
    server = pair.greet()
    for _ in range(40):
        while server.backlog_bytes < 200_000:
            server.send(b"\x14" + bytes(20_000))
        pair.stream(0.2)
    back = sum(map(len, pair.messages("client"))) * 8
    there = sum(map(len, pair.messages("server"))) * 8
    assert min(back, there) >= 0.6 * 8 * RATE_BPS, "acknowledgements take next to nothing"
