"""What is next, and what came early: the stream in order, whatever the path did."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from livestream.transport.utp.receiving import (
    EARLY_ROW_BYTES,
    EARLY_ROWS_MAX,
    EarlyBudget,
    Receiving,
)

BUDGET = 100_000
STARTS = st.sampled_from([0, 1, 40_000, 0xFFFF - 5, 0xFFFF, (1 << 20) - 3])


def _payload(row: int) -> bytes:
    return b"%d." % row


@given(STARTS, st.lists(st.integers(-3, 40), max_size=200), st.randoms(use_true_random=False))
def test_any_order_with_copies_gives_exactly_the_stream(
    start: int, noise: list[int], rng: Random
) -> None:
    budget = EarlyBudget(BUDGET)
    receiving = Receiving(start, budget)
    rows = [*range(41), *(row for row in noise if row >= 0)]
    rng.shuffle(rows)
    rows += range(41)  # What was dropped is sent again.
    got: list[bytes] = []
    for row in rows:
        got += [bytes(part) for part in receiving.take((start + row) & 0xFFFF, _payload(row), 200)]
        booked = receiving.early_bytes + receiving.early.bit_count() * EARLY_ROW_BYTES
        assert budget.left == BUDGET - booked
        assert receiving.early_bytes <= 200
        assert not receiving.early or receiving.early_bytes
    assert b"".join(got) == b"".join(_payload(row) for row in range(41))
    assert receiving.next_seq == start + 41
    assert (receiving.early, receiving.early_bytes, budget.left) == (0, 0, BUDGET)


@given(STARTS, st.sets(st.integers(1, EARLY_ROWS_MAX + 50), max_size=60))
def test_the_mask_says_exactly_what_is_kept(start: int, aheads: set[int]) -> None:
    receiving = Receiving(start, EarlyBudget(BUDGET))
    for ahead in aheads:
        assert receiving.take((start + ahead) & 0xFFFF, b"x", BUDGET) == []
    kept = {ahead for ahead in aheads if ahead <= EARLY_ROWS_MAX}
    assert receiving.early == sum(1 << (ahead - 1) for ahead in kept)
    assert receiving.early_bytes == len(kept)
    following = 1
    while following in kept:
        following += 1
    assert len(receiving.take(start & 0xFFFF, b"y", BUDGET)) == following
    receiving.close()
    assert receiving.early_bytes == 0


def test_what_is_kept_is_a_copy() -> None:
    """The buffer that it came in belongs to the socket."""
    receiving = Receiving(1, EarlyBudget(BUDGET))
    buffer = bytearray(b"second")
    receiving.take(2, memoryview(buffer), BUDGET)
    buffer[:] = b"other!"
    assert receiving.take(1, b"first", BUDGET) == [b"first", b"second"]


def test_one_receiver_cannot_have_all_of_the_budget() -> None:
    budget = EarlyBudget(BUDGET)
    first, second = Receiving(1, budget), Receiving(1, budget)
    for row in range(2, 400):
        first.take(row, bytes(100), BUDGET)
    assert 0 < first.early_bytes <= budget.left < BUDGET
    second.take(2, bytes(100), BUDGET)
    assert second.early_bytes == 100
    first.close()
    second.close()
    assert budget.left == BUDGET


@given(st.permutations(range(12)), st.integers(0, 12), STARTS)
def test_a_fin_ends_the_stream_at_its_place_whenever_it_comes(
    order: list[int], at: int, start: int
) -> None:
    receiving = Receiving(start, EarlyBudget(BUDGET))
    got: list[bytes] = []
    for step, row in enumerate([*order, *order]):
        if step >= at:
            receiving.end((start + 12) & 0xFFFF)
        got += [bytes(part) for part in receiving.take((start + row) & 0xFFFF, b"%x" % row, 100)]
    assert b"".join(got) == b"0123456789ab"
    assert receiving.is_ended
    assert receiving.next_seq == start + 13


def test_numbers_behind_do_not_end_anything() -> None:
    receiving = Receiving(100, EarlyBudget(BUDGET))
    assert not receiving.end(99)
    assert not receiving.end(100 + EARLY_ROWS_MAX + 1)
    assert receiving.end_seq is None
