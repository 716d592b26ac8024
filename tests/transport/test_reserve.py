"""What a feeder promised comes at once, however narrow its line."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND, Address, Train
from livestream.sim.lines import Line
from livestream.transport.connection import MessageReceived
from tests.transport.test_endpoint import GREETING, Pair
from tests.world import Link, World

DELAY_US = 50 * MILLISECOND
LINE_BPS = 512_000
PIECE_BYTES = 4 * 1024
PIECE_EVERY_US = SECOND // 2
PIECES = 40
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


def ages_us(promised_bps: int) -> list[int]:
    """Send pieces on a connection that was promised so much; returns how long each took."""
    world = NarrowWorld()
    pair = Pair(world=world)
    pair.run(2)
    pair.client.send(GREETING)
    assert pair.server is not None
    pair.run(1)
    world.others_us = OTHERS_US
    ages: list[int] = []
    for number in range(PIECES):
        if number % 8 == 0:
            pair.client.reserve(promised_bps)  # Each time that somebody comes or goes.
        sent_at = pair.world.now
        seen = len(pair.messages("server"))
        pair.client.send_independent(bytes([number]) * PIECE_BYTES, sent_at + 10 * SECOND)
        while len(pair.messages("server")) == seen:
            pair.run(0.001)
        assert isinstance(pair.events["server"][-1], MessageReceived)
        ages.append(pair.world.now - sent_at)
        pair.run((sent_at + PIECE_EVERY_US - pair.world.now) / SECOND)
    return ages


def test_a_promised_piece_does_not_wait_for_answers_to_its_own_first_half() -> None:
    line_us = PIECE_BYTES * 8 * SECOND // LINE_BPS
    assert max(ages_us(64_000)) < DELAY_US + OTHERS_US + 1.25 * line_us


def test_what_was_not_promised_gives_way() -> None:
    line_us = PIECE_BYTES * 8 * SECOND // LINE_BPS
    assert max(ages_us(0)) > 2 * DELAY_US + OTHERS_US + line_us
