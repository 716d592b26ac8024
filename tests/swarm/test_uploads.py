"""The queue of pieces to send: what goes first, what is dropped, and what shows that it waits."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND
from livestream.swarm.peer import Peer
from livestream.swarm.uploads import PUSH_WAIT_US_MAX, QUEUE_MAX, UploadQueue, Urgency
from tests.swarm.memory import QuietConnection

LATER = 2 * SECOND


class Line(QuietConnection):
    """A connection that may be full."""

    is_full = False

    @property
    def backlog_bytes(self) -> int:
        return 1 << 20 if self.is_full else 0


def make_peer(number: int) -> Peer:
    return Peer(Line(number), b"", 0)


def block(peer: Peer, *, is_full: bool = True) -> None:
    """Let a connection take nothing, or take pieces again."""
    assert isinstance(peer.connection, Line)
    peer.connection.is_full = is_full


def push(queue: UploadQueue, peer: Peer, index: int, now: int = 0, deadline: int = LATER) -> bool:
    return queue.add(peer, index, urgency=Urgency.PUSHED, deadline=deadline, now=now)


def answer(queue: UploadQueue, peer: Peer, index: int, now: int = 0, deadline: int = LATER) -> bool:
    return queue.add(peer, index, urgency=Urgency.ASKED, deadline=deadline, now=now)


def drained(queue: UploadQueue, now: int = 0) -> list[tuple[Peer, int]]:
    """Take everything that can go."""
    taken = []
    while (upload := queue.next_upload(now)) is not None:
        taken.append((upload[0], upload[1].piece))
    return taken


def test_pushes_go_before_answers_then_what_is_due_first() -> None:
    queue, one, other = UploadQueue(), make_peer(1), make_peer(2)
    answer(queue, one, 1, deadline=LATER - 900)
    push(queue, one, 2, deadline=LATER)
    push(queue, other, 3, deadline=LATER - 500)
    assert drained(queue) == [(other, 3), (one, 2), (one, 1)]


def test_of_equally_urgent_pieces_the_first_in_goes_first() -> None:
    queue, one, other = UploadQueue(), make_peer(1), make_peer(2)
    for peer, index in ((other, 9), (one, 9), (other, 1)):
        push(queue, peer, index)
    assert drained(queue) == [(other, 9), (one, 9), (other, 1)]


def test_a_full_connection_holds_up_nobody_else() -> None:
    queue, full, other = UploadQueue(), make_peer(1), make_peer(2)
    block(full)
    push(queue, full, 1)
    push(queue, other, 2)
    assert drained(queue) == [(other, 2)]
    block(full, is_full=False)
    assert drained(queue) == [(full, 1)]


def test_what_is_too_late_does_not_go_and_is_counted() -> None:
    queue, peer = UploadQueue(), make_peer(1)
    push(queue, peer, 1, deadline=1_000)
    push(queue, peer, 2, deadline=1_001)
    assert drained(queue, 1_000) == [(peer, 2)]
    assert queue.pieces_expired == peer.stats.pieces_expired == 1
    assert queue.length(peer) == 0


def test_what_was_cancelled_does_not_go_and_may_be_queued_again() -> None:
    queue, peer = UploadQueue(), make_peer(1)
    answer(queue, peer, 1)
    queue.cancel(peer, 1)
    assert queue.length(peer) == 0
    assert drained(queue) == []
    assert queue.pieces_expired == 0
    answer(queue, peer, 1)
    queue.cancel(peer, 1)
    answer(queue, peer, 1)
    assert drained(queue) == [(peer, 1)]


def test_pushes_that_are_withdrawn_do_not_go_but_answers_do() -> None:
    queue, one, other = UploadQueue(), make_peer(1), make_peer(2)
    for index in (3, 4, 11):
        push(queue, one, index)
    answer(queue, one, 19)
    push(queue, other, 11)
    queue.withdraw(one, lambda index: index % 8 == 3)
    assert sorted(drained(queue), key=lambda each: each[1]) == [(one, 4), (other, 11), (one, 19)]


def test_a_piece_is_queued_once() -> None:
    queue, peer = UploadQueue(), make_peer(1)
    assert push(queue, peer, 1)
    assert answer(queue, peer, 1)
    assert queue.length(peer) == 1
    assert drained(queue) == [(peer, 1)]


def test_nothing_is_queued_for_who_left() -> None:
    queue, peer = UploadQueue(), make_peer(1)
    push(queue, peer, 1)
    queue.drop_peer(peer)
    queue.cancel(peer, 1)
    assert queue.length(peer) == 0
    assert drained(queue) == []


def test_a_queue_has_an_end() -> None:
    queue, peer, other = UploadQueue(), make_peer(1), make_peer(2)
    taken = [push(queue, peer, index) for index in range(QUEUE_MAX + 1)]
    assert taken == [True] * QUEUE_MAX + [False]
    assert push(queue, other, 0)


# Requests in all queues


def asking(count: int) -> tuple[UploadQueue, Peer, Peer]:
    """Return a queue that takes so many requests and has them, of two peers that take nothing."""
    queue, one, other = UploadQueue(), make_peer(1), make_peer(2)
    queue.asked_max = count
    for peer in (one, other):
        block(peer)
    for index in range(count):
        assert answer(queue, one if index % 2 else other, index, deadline=SECOND)
    assert not answer(queue, one, 99), "there is no more room"
    return queue, one, other


def test_more_requests_than_can_be_answered_in_time_are_turned_down_whoever_asks() -> None:
    queue, one, other = asking(4)
    assert not answer(queue, other, 99)
    assert not answer(queue, make_peer(3), 99)
    assert answer(queue, one, 1), "that is queued already"
    assert push(queue, one, 99), "pushes are promised"


def test_a_request_that_is_answered_makes_room_for_one() -> None:
    queue, one, _ = asking(4)
    block(one, is_full=False)
    assert queue.next_upload(0) is not None
    assert answer(queue, one, 98)
    assert not answer(queue, one, 99)


def test_a_request_that_is_cancelled_makes_room_for_one_however_often() -> None:
    queue, one, _ = asking(4)
    for _ in range(2):
        queue.cancel(one, 1)
    assert answer(queue, one, 98)
    assert not answer(queue, one, 99)


def test_a_push_that_is_cancelled_makes_no_room_for_requests() -> None:
    queue, one, _ = asking(4)
    assert push(queue, one, 50)
    queue.cancel(one, 50)
    assert not answer(queue, one, 99)


def test_requests_that_are_too_late_make_room() -> None:
    queue, one, other = asking(4)
    for peer in (one, other):
        block(peer, is_full=False)
    assert drained(queue, SECOND) == []
    assert [answer(queue, one, index, now=SECOND) for index in range(5)] == [True] * 4 + [False]


def test_who_leaves_makes_room_for_the_requests_of_others() -> None:
    queue, one, other = asking(4)
    push(queue, one, 50)
    queue.drop_peer(one)
    assert [answer(queue, other, index) for index in (90, 91, 92)] == [True, True, False]


# Waiting


def test_once_a_push_has_waited_too_long_no_other_is_taken() -> None:
    queue, peer = UploadQueue(), make_peer(1)
    block(peer)
    assert push(queue, peer, 1, now=0)
    assert push(queue, peer, 2, now=PUSH_WAIT_US_MAX)
    assert not push(queue, peer, 3, now=PUSH_WAIT_US_MAX + 1)
    assert answer(queue, peer, 4, now=PUSH_WAIT_US_MAX + 1), "answers may wait"
    block(peer, is_full=False)
    drained(queue, PUSH_WAIT_US_MAX + 1)
    assert push(queue, peer, 3, now=PUSH_WAIT_US_MAX + 2)


def test_those_whose_pushes_wait_are_counted_well_before_that() -> None:
    """So that when the first push is refused, it shows whether one child is slow or all are."""
    queue, peers = UploadQueue(), [make_peer(number) for number in range(1, 5)]
    slow, slow_too, lately, asking = peers
    for peer in peers:
        block(peer)
    push(queue, slow, 1, now=0)
    push(queue, slow, 2, now=PUSH_WAIT_US_MAX // 2)
    push(queue, slow_too, 1, now=10 * MILLISECOND)
    push(queue, lately, 2, now=PUSH_WAIT_US_MAX // 2)
    answer(queue, asking, 1, now=0)
    assert queue.count_waiting(PUSH_WAIT_US_MAX // 2) == 0
    assert queue.count_waiting(PUSH_WAIT_US_MAX // 2 + 1) == 1
    assert queue.count_waiting(PUSH_WAIT_US_MAX) == 2
    queue.drop_peer(slow)
    assert queue.count_waiting(PUSH_WAIT_US_MAX) == 1


def test_who_waits_for_nothing_that_is_still_worth_sending_does_not_wait() -> None:
    queue, peer = UploadQueue(), make_peer(1)
    block(peer)
    push(queue, peer, 1, now=0, deadline=PUSH_WAIT_US_MAX)
    assert queue.count_waiting(PUSH_WAIT_US_MAX) == 0
    assert push(queue, peer, 2, now=PUSH_WAIT_US_MAX + 1)
