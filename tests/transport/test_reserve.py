"""What a feeder promised comes at once, however narrow its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from livestream.machine import MILLISECOND, SECOND, Address, Train
from livestream.sim.lines import Line
from livestream.transport.connection import MessageReceived
from tests.transport.test_endpoint import GREETING
from tests.transport.test_endpoint import Pair as QuicPair
from tests.transport.utp.pair import Pair as UtpPair
from tests.transport.utp.path import Narrow
from tests.world import Link, World

DELAY_US = 50 * MILLISECOND
LINE_BPS = 512_000
PIECE_BYTES = 4 * 1024
PIECE_EVERY_US = SECOND // 2
PIECES = 40
LINE_US = PIECE_BYTES * 8 * SECOND // LINE_BPS  # What a piece takes to leave.
OTHERS_US = 60 * MILLISECOND  # What the queue of other flows adds.


class NarrowWorld(World):
    """Whoever sends has a line of its own, with a long queue, which others may be in, too."""

    def __init__(self) -> None:
        super().__init__(1, Link(delay_us=DELAY_US))
        self.lines: dict[Address, Line] = {}
        self.others_us = 0

    def depart(self, source: Address, train: Train) -> None:
        line = self.lines.setdefault(source, Line(LINE_BPS, 64 * 1024))
        for datagram in train.datagrams():
            at = line.offer(len(datagram) + 28, self.now)
            assert at is not None
            self.fly(
                at + DELAY_US + self.others_us,
                train.address,
                Train(source, datagram, len(datagram)),
            )


def over_quic() -> QuicPair:
    """Return a connection over a narrow line, in whose way are others."""
    world = NarrowWorld()
    pair = QuicPair(world=world)
    pair.run(2)
    pair.client.send(GREETING)
    assert pair.server is not None
    pair.run(1)
    world.others_us = OTHERS_US
    return pair


def over_utp() -> UtpPair:
    """Return the same over µTP."""
    link = Narrow(rate_bps=LINE_BPS, delay_us=DELAY_US)
    pair = UtpPair(link=link)
    pair.greet()
    pair.world.link = replace(link, delay_us=DELAY_US + OTHERS_US)
    return pair


def ages_us(pair: QuicPair | UtpPair, promised_bps: int) -> list[int]:
    """Send pieces on a connection that is promised so much; returns how long each took."""
    ages: list[int] = []
    for number in range(PIECES):
        if number % 8 == 0:
            pair.client.reserve(promised_bps)  # Each time that somebody comes or goes.
        sent_at = pair.world.now
        seen = len(pair.messages("server"))
        piece = b"\x14" + bytes([number]) * (PIECE_BYTES - 1)
        pair.client.send_independent(piece, sent_at + 10 * SECOND)
        while len(pair.messages("server")) == seen:
            pair.run(0.001)
        assert isinstance(pair.events["server"][-1], MessageReceived)
        ages.append(pair.world.now - sent_at)
        pair.run((sent_at + PIECE_EVERY_US - pair.world.now) / SECOND)
    return ages


@pytest.mark.parametrize("connected", [over_quic, over_utp])
def test_a_promised_piece_does_not_wait_for_answers_to_its_own_first_half(
    connected: Callable[[], QuicPair | UtpPair],
) -> None:
    assert max(ages_us(connected(), 64_000)) < DELAY_US + OTHERS_US + 1.25 * LINE_US


def test_what_was_not_promised_gives_way() -> None:
    assert max(ages_us(over_quic(), 0)) > 2 * DELAY_US + OTHERS_US + LINE_US
    assert max(ages_us(over_utp(), 0)) > DELAY_US + OTHERS_US + 2 * LINE_US
