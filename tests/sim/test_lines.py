"""A line sends at its rate, keeps a queue of so many bytes, and cuts trains only where it must."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND, Address, Train
from livestream.sim.lines import DATAGRAM_HEADERS, Line

PEER = Address("192.0.2.1", 1)
SIZE = 1_222  # 10,000 bits on the wire.


def train(count: int) -> Train:
    data = b"".join(bytes([number]) * SIZE for number in range(count))
    return Train(PEER, data, SIZE)


def test_a_train_takes_as_long_as_its_bits() -> None:
    line = Line(10_000_000, 1 << 20)
    parts = line.carry(train(20), now=SECOND)
    assert parts[-1][0] == SECOND + 20 * MILLISECOND
    assert b"".join(part.data for _, part in parts) == train(20).data
    assert line.bytes_out == 20 * (SIZE + DATAGRAM_HEADERS)


def test_a_slow_line_hands_on_datagrams_one_by_one_and_a_fast_one_trains() -> None:
    slow, fast = Line(1_000_000, 1 << 20), Line(1_000_000_000, 1 << 20)
    assert [at for at, _ in slow.carry(train(3), 0)] == [10_000, 20_000, 30_000]
    assert [len(part.data) for _, part in fast.carry(train(3), 0)] == [3 * SIZE]


def test_what_does_not_fit_in_the_queue_is_dropped_from_its_tail() -> None:
    line = Line(1_000_000, queue_bytes=5_000)
    parts = line.carry(train(10), 0)
    assert [part.data[0] for _, part in parts] == [0, 1, 2, 3]
    assert line.datagrams_dropped == 6
    assert line.backlog_bytes(0) == 5_000
    # A datagram's time later there is room for exactly one more.
    assert len(line.carry(train(2), 10 * MILLISECOND)) == 1


def test_all_trains_share_one_queue() -> None:
    line = Line(1_000_000, 1 << 20)
    line.carry(train(2), 0)
    assert line.carry(Train(Address("192.0.2.2", 1), bytes(SIZE), SIZE), 0)[0][0] == 30_000


def test_an_idle_line_takes_a_datagram_longer_than_its_queue() -> None:
    assert len(Line(1_000_000, queue_bytes=100).carry(train(1), 0)) == 1


def test_the_data_is_not_the_senders_buffer() -> None:
    buffer = bytearray(train(1).data)
    [(_, part)] = Line(1_000_000, 1 << 20).carry(Train(PEER, buffer, SIZE), 0)
    buffer[0] ^= 1
    assert part.data == train(1).data
