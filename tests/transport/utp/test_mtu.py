"""The search for how large a datagram the path carries, alone and in a transfer."""

from __future__ import annotations

import pytest

from livestream.machine import Address
from livestream.transport.utp.mtu import (
    NEAR_ENOUGH,
    MtuSearch,
    datagram_ceiling,
    datagram_floor,
)
from livestream.transport.utp.packet import PacketType
from tests.transport.utp.pair import GREETING, HERE, TEXT, Pair
from tests.transport.utp.path import Narrow
from tests.transport.utp.stranger import Stranger, framed, listening

RATE_BPS = 8_000_000


def _search(carried: int, ceiling: int = 1_472) -> tuple[int, int]:
    """Return what is found on a path that carries so much, and after how many probes."""
    search = MtuSearch(1_232, ceiling)
    probes = 0
    while (probe := search.next_probe()) is not None:
        probes += 1
        assert search.next_probe() is None, "one at a time"
        if probe <= carried:
            search.came(probe)
        else:
            search.lost(probe)
    return search.size, probes


# Alone


def test_most_paths_carry_the_ceiling_and_are_known_after_one_probe() -> None:
    assert _search(1_472) == (1_472, 1)


@pytest.mark.parametrize("carried", [1_232, 1_233, 1_280, 1_352, 1_400, 1_452, 1_471])
def test_any_other_path_is_known_to_within_16_bytes(carried: int) -> None:
    size, probes = _search(carried)
    assert carried - NEAR_ENOUGH < size <= carried
    assert probes <= 12


def test_one_lost_probe_proves_nothing() -> None:
    search = MtuSearch(1_232, 1_472)
    search.lost(search.next_probe() or 0)
    assert search.next_probe() == 1_472


def test_the_floor_and_the_ceiling_leave_room_for_headers() -> None:
    assert datagram_floor() == 1_232
    assert datagram_ceiling("192.0.2.1") == 1_472
    assert datagram_ceiling("2001:db8::1") == 1_452


# In a transfer


def _sizes(pair: Pair) -> set[int]:
    """Watch how large the data of the client is from now on; a set that fills."""
    sizes: set[int] = set()

    def censor(source: Address, datagram: bytes) -> list[bytes]:
        if source == HERE and datagram[0] >> 4 == PacketType.DATA:
            sizes.add(len(datagram))
        return [datagram]

    pair.world.censor = censor
    return sizes


def test_a_transfer_finds_what_the_path_carries_and_takes_no_probe_for_congestion() -> None:
    pair = Pair(link=Narrow(rate_bps=RATE_BPS, datagram_bytes_max=1_400))
    pair.greet()
    sizes = _sizes(pair)
    assert pair.stream(4) > 0.6 * RATE_BPS
    sizes.clear()
    assert pair.stream(2) > 0.9 * RATE_BPS, "as if no probe had been lost"
    assert 1_400 - NEAR_ENOUGH < max(sizes) <= 1_400
    assert pair.world.traffic_of(HERE).dropped <= 12


def test_a_path_that_shrinks_only_makes_new_rows_smaller() -> None:
    """What is too large is cut up by routers, since only probes may not be."""
    pair = Pair(link=Narrow(rate_bps=RATE_BPS))
    pair.greet()
    pair.stream(3)
    pair.world.link = Narrow(rate_bps=RATE_BPS, datagram_bytes_max=1_300)
    assert pair.stream(2) > 0.9 * RATE_BPS


def test_silence_brings_the_size_down_to_what_every_path_carries() -> None:
    pair = Pair(link=Narrow(rate_bps=RATE_BPS))
    pair.greet()
    pair.stream(1)
    pair.world.censor = lambda source, datagram: []
    pair.run(5)
    pair.world.link = Narrow(rate_bps=RATE_BPS, datagram_bytes_max=datagram_floor())
    sizes = _sizes(pair)
    pair.stream(5)
    sizes.clear()
    assert pair.stream(3) > 0.9 * RATE_BPS
    assert min(sizes) <= datagram_floor()


def test_the_search_goes_on_after_a_probe_that_silence_took() -> None:
    """Neither did it arrive as a probe, nor did what came later show that it was lost."""
    stranger = Stranger(listening())
    stranger.call()
    stranger.window = 2_600  # A probe and nothing behind it.
    stranger.say(framed(b"\x14a new window"))
    assert stranger.connection is not None
    stranger.connection.send(GREETING)
    stranger.connection.send(TEXT)
    (probe,) = stranger.drain()
    (again,) = stranger.wait(1)
    assert probe.seq == again.seq
    assert len(probe.payload) == len(again.payload) == datagram_ceiling("192.0.2.1") - 20
    stranger.window = 100_000
    sizes = [len(packet.payload) + 20 for packet in stranger.listen([again])]
    assert sizes[0] == datagram_ceiling("192.0.2.1"), "another try"
