"""Trains as a socket delivers them: whole, and with rows missing."""

from __future__ import annotations

from random import Random

from livestream.machine import MILLISECOND
from livestream.transport.utp.packet import PacketType
from livestream.transport.utp.sender import ROWS_AT_ONCE
from livestream.wire.image import BLOCK_BYTES
from tests.transport.utp.pair import GREETING, HERE, THERE, Pair
from tests.transport.utp.path import Narrow
from tests.transport.utp.stranger import Stranger, listening
from tests.world import Link

BLOCKS = 120


def _send_blocks(pair: Pair, count: int = BLOCKS, seed: int = 1) -> list[tuple[int, int, bytes]]:
    data = Random(seed).randbytes(count * BLOCK_BYTES)
    blocks = [
        (number // 16, number % 16 * BLOCK_BYTES, data[at : at + BLOCK_BYTES])
        for number, at in enumerate(range(0, len(data), BLOCK_BYTES))
    ]
    for index, begin, block in blocks:
        pair.client.send_block(index, begin, memoryview(block))
    return blocks


def test_blocks_of_whole_trains_are_read_as_they_were_sent() -> None:
    pair = Pair(1, Narrow(is_whole=True))
    pair.greet()
    blocks = _send_blocks(pair)
    pair.run(5)
    assert pair.blocks["server"] == blocks


def test_blocks_of_trains_with_rows_missing_are_read_as_they_were_sent() -> None:
    """Many rows are taken one by one between two readings of the events."""
    for seed in range(4):
        pair = Pair(seed, Narrow(is_whole=True, loss=0.03))
        pair.greet()
        blocks = _send_blocks(pair, seed=seed)
        pair.run(60)
        assert pair.blocks["server"] == blocks, f"seed {seed}"


def test_blocks_of_datagrams_of_one_instant_are_read_as_they_were_sent() -> None:
    pair = Pair(2, Narrow(loss=0.03))
    pair.greet()
    blocks = _send_blocks(pair)
    pair.run(60)
    assert pair.blocks["server"] == blocks


def test_whole_trains_are_acknowledged_once_each() -> None:
    pair = Pair(1, Narrow(is_whole=True))
    pair.greet()
    pair.world.forget()
    _send_blocks(pair, 400)
    pair.run(5)
    there, here = pair.world.traffic_of(THERE), pair.world.traffic_of(HERE)
    assert there.datagrams < here.datagrams / 4


def test_a_large_window_goes_out_in_parts_each_of_which_may_be_sent_at_once() -> None:
    pair = Pair(1, Link(delay_us=MILLISECOND))  # Too short a path to be paced.
    pair.greet()
    _send_blocks(pair, 400)
    pair.run(5)
    _send_blocks(pair, 100)
    now, end = pair.world.now, pair.client_end
    parts: list[int] = []
    are_due: list[bool] = []
    while part := end.trains_to_send(now):
        parts.append(sum(len(train.data) for train in part))
        timer = end.get_timer()
        assert timer is not None
        are_due.append(timer <= now)
    assert len(parts) > 1
    assert max(parts) < 2 * ROWS_AT_ONCE * 1_500
    assert are_due == [True] * (len(parts) - 1) + [False], "who asks by the timer gets it, too"


def test_a_train_of_another_version_is_none() -> None:
    stranger = Stranger(listening())
    stranger.call()
    rows = [
        bytearray(stranger.packet(PacketType.DATA, 3 + row, b"\0\0\0\0").to_bytes())
        for row in range(2)
    ]
    for row in rows:
        row[0] = 0x02
    stranger.throw(b"".join(rows), len(rows[0]))
    assert stranger.endpoint.stats.malformed == 2
    assert stranger.send(PacketType.DATA, 4, b"early")[0].ack == 2


def test_trains_in_both_directions_at_once_with_losses() -> None:
    for seed in range(3):
        link = Narrow(is_whole=True, loss=0.02, delay_us=5 * MILLISECOND)
        pair = Pair(seed, link)
        server = pair.greet()
        rng = Random(seed)
        texts = [b"\x14" + rng.randbytes(30_000) for _ in range(40)]
        for text in texts:
            pair.client.send(text)
            server.send(text)
        pair.run(60)
        assert pair.messages("server") == [GREETING, *texts], f"seed {seed}"
        assert pair.messages("client") == [GREETING, *texts], f"seed {seed}"
