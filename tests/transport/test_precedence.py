"""Which of a node's flows go first, and what queue all of them have."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND
from livestream.transport.precedence import Precedence

LIVE_US = 25 * MILLISECOND
FILES_US = 60 * MILLISECOND


def test_alone_a_flow_has_its_own_target() -> None:
    precedence = Precedence()
    precedence.on_ack(FILES_US, 1_000_000, 0)
    assert precedence.target_us(FILES_US, 0) == FILES_US


def test_files_take_less_than_live_while_live_is_busy_and_soon_have_their_own_again() -> None:
    precedence = Precedence()
    precedence.on_ack(LIVE_US, 100_000, 0)
    precedence.on_ack(FILES_US, 100_000, 0)
    assert precedence.target_us(FILES_US, SECOND) < LIVE_US
    assert precedence.target_us(LIVE_US, SECOND) == LIVE_US
    assert precedence.target_us(FILES_US, 5 * SECOND) == FILES_US


def test_control_messages_alone_take_nothing_from_files() -> None:
    precedence = Precedence()
    for second in range(60):
        precedence.on_ack(LIVE_US, 2_000, second * SECOND)
        assert precedence.target_us(FILES_US, second * SECOND) == FILES_US


def test_a_slow_stream_is_busy_all_the_time() -> None:
    precedence = Precedence()
    for step in range(400):
        now = step * 100 * MILLISECOND
        precedence.on_ack(LIVE_US, 6_000, now)  # Half a Mbit/s.
        if step > 10:
            assert precedence.target_us(FILES_US, now) < LIVE_US


def test_the_queue_that_flows_share_is_the_shortest_of_any() -> None:
    precedence = Precedence()
    for step in range(40):
        now = step * 100 * MILLISECOND
        precedence.on_queue(300 * MILLISECOND, now)
        precedence.on_queue(40 * MILLISECOND, now)
    assert precedence.shared_queue_us == 40 * MILLISECOND


def test_an_empty_queue_of_some_seconds_ago_says_nothing() -> None:
    precedence = Precedence()
    precedence.on_queue(0, 0)
    precedence.on_queue(300 * MILLISECOND, SECOND)
    assert precedence.shared_queue_us == 0, "it may have been asked for nothing since"
    precedence.on_queue(300 * MILLISECOND, 2 * SECOND)
    assert precedence.shared_queue_us == 300 * MILLISECOND
    precedence.on_queue(200 * MILLISECOND, 60 * SECOND)
    precedence.on_queue(300 * MILLISECOND, 61 * SECOND)
    assert precedence.shared_queue_us == 200 * MILLISECOND
