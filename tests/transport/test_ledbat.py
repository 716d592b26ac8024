"""LEDBAT on a bottleneck in virtual time: fills the link, keeps its queue short, gives way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from livestream.machine import MILLISECOND, SECOND
from livestream.transport.ledbat import Ledbat
from livestream.transport.precedence import Precedence
from tests.transport.bottleneck import DATAGRAM, Bottleneck, CubicFlow, LedbatFlow, Path

LIVE_US = TARGET_US = 25 * MILLISECOND
FILES_US = 60 * MILLISECOND
BASE_US = 50 * MILLISECOND
both_targets = pytest.mark.parametrize("target_us", [LIVE_US, FILES_US])


def flow(target_us: int, start: int = 0, precedence: Precedence | None = None) -> LedbatFlow:
    return LedbatFlow(Ledbat(DATAGRAM, target_us, precedence), start)


def run_for(link: Bottleneck, seconds: float) -> None:
    """Let time pass, and count from its beginning."""
    link.forget()
    link.run_until(link.now + int(seconds * SECOND))


@both_targets
def test_alone_it_fills_the_link_with_a_queue_near_its_target(target_us: int) -> None:
    link = Bottleneck([flow(target_us)])
    run_for(link, 10)
    run_for(link, 40)
    assert link.share() > 0.97
    assert link.mean_queue_us() < target_us + 10 * MILLISECOND


@both_targets
def test_acknowledgements_of_whole_trains_do_as_well(target_us: int) -> None:
    path = Path(rate_bps=100_000_000, ack_every=40, noise_us=2 * MILLISECOND)
    link = Bottleneck([flow(target_us)], path)
    run_for(link, 5)
    run_for(link, 10)
    assert link.share() > 0.95
    assert link.mean_queue_us() < target_us + 10 * MILLISECOND


@pytest.mark.parametrize(
    ("rate_mbps", "base_ms", "seconds"), [(2, 10, 30), (2, 200, 60), (100, 10, 5), (50, 200, 20)]
)
def test_alone_it_fills_slow_and_fast_short_and_long_links(
    rate_mbps: int, base_ms: int, seconds: int
) -> None:
    path = Path(rate_bps=rate_mbps * 1_000_000, base_us=base_ms * MILLISECOND)
    link = Bottleneck([flow(FILES_US)], path)
    run_for(link, seconds)
    run_for(link, seconds)
    assert link.share() > 0.9
    assert link.mean_queue_us() < FILES_US + 10 * MILLISECOND


@both_targets
def test_cubic_beside_it_has_what_it_has_alone(target_us: int) -> None:
    alone = Bottleneck([CubicFlow()])
    run_for(alone, 20)
    ours, cubic = flow(target_us), CubicFlow(start=20 * SECOND)
    link = Bottleneck([ours, cubic])
    run_for(link, 20)
    run_for(link, 20)
    assert link.share(cubic) > 0.97 * alone.share()


@both_targets
def test_it_is_back_soon_after_cubic_has_ended(target_us: int) -> None:
    link = Bottleneck([flow(target_us), CubicFlow(start=10 * SECOND, end=30 * SECOND)])
    run_for(link, 34)
    run_for(link, 1)
    assert link.share(link.flows[0]) > 0.9


@both_targets
def test_a_buffer_shorter_than_the_target_is_left_to_cubic_too(target_us: int) -> None:
    """Delays alone do not show it: the queue never is as long as the target."""
    ours, cubic = flow(target_us), CubicFlow(start=10 * SECOND)
    link = Bottleneck([ours, cubic], Path(queue_us=20 * MILLISECOND))
    run_for(link, 20)
    run_for(link, 40)
    assert link.share(cubic) > 0.8
    assert link.share() > 0.95


@both_targets
def test_a_latecomer_gets_its_share(target_us: int) -> None:
    first, second = flow(target_us), flow(target_us, start=30 * SECOND)
    link = Bottleneck([first, second])
    run_for(link, 90)
    run_for(link, 20)
    a, b = link.share(first), link.share(second)
    assert (a + b) ** 2 / (2 * (a * a + b * b)) > 0.97, "Jain's index"
    assert link.mean_queue_us() < target_us + 10 * MILLISECOND


@both_targets
@pytest.mark.parametrize("loss", [0.001, 0.01])
@pytest.mark.parametrize("ack_every", [1, 10])
def test_random_loss_does_not_starve_it(target_us: int, loss: float, ack_every: int) -> None:
    for seed in range(3):
        link = Bottleneck([flow(target_us)], Path(loss=loss, ack_every=ack_every), seed)
        run_for(link, 10)
        run_for(link, 20)
        assert link.share() > 0.85, f"seed {seed}"


@both_targets
def test_a_policer_that_drops_without_a_queue_is_not_hammered(target_us: int) -> None:
    ours = flow(target_us)
    link = Bottleneck([ours], Path(queue_us=MILLISECOND))
    run_for(link, 10)
    ours.lost = 0
    run_for(link, 30)
    assert ours.lost < 0.01 * ours.delivered
    assert link.share() > 0.4


def test_it_recovers_from_a_burst_of_losses() -> None:
    link = Bottleneck([flow(TARGET_US)])
    run_for(link, 10)
    link.loss = 1.0
    run_for(link, 0.5)
    link.loss = 0.0
    run_for(link, 5)
    run_for(link, 5)
    assert link.share() > 0.9


def test_it_gives_way_to_a_queue_that_others_cause_and_comes_back() -> None:
    link = Bottleneck([flow(TARGET_US)])
    run_for(link, 10)
    link.foreign_us = 100 * MILLISECOND
    run_for(link, 5)
    run_for(link, 5)
    assert link.share() < 0.1
    link.foreign_us = 0
    run_for(link, 5)
    run_for(link, 5)
    assert link.share() > 0.9


def test_a_shorter_route_is_noticed_at_once_and_a_longer_one_within_the_history() -> None:
    """Until then the longer one looks like a queue of others, to which it must give way."""
    link = Bottleneck([flow(TARGET_US)])
    link.foreign_us = 100 * MILLISECOND
    run_for(link, 10)
    link.foreign_us = 0
    run_for(link, 10)
    run_for(link, 5)
    assert link.share() > 0.9
    assert link.mean_queue_us() < TARGET_US + 10 * MILLISECOND
    link.foreign_us = 100 * MILLISECOND
    run_for(link, 35)
    run_for(link, 5)
    assert link.share() < 0.1
    run_for(link, 11 * 60)
    run_for(link, 60)
    assert link.share() > 0.9


@pytest.mark.parametrize("drift_ppm", [-500, 500])
def test_clocks_that_drift_apart_do_not_change_its_share(drift_ppm: int) -> None:
    """One-way delays then grow or fall for ever: 300 ms within ten minutes."""
    ours = flow(FILES_US)
    ours.is_one_way, ours.drift_ppm = True, drift_ppm
    link = Bottleneck([ours], Path(rate_bps=2_000_000))
    run_for(link, 590)
    run_for(link, 60)
    assert link.share() > 0.95
    assert link.mean_queue_us() < FILES_US + 20 * MILLISECOND


@pytest.mark.parametrize("jump_us", [-5 * SECOND, -SECOND // 3, SECOND // 3, 5 * SECOND])
def test_a_clock_that_is_set_does_not_stop_it(jump_us: int) -> None:
    ours = flow(FILES_US)
    ours.is_one_way = True
    link = Bottleneck([ours])
    run_for(link, 10)
    ours.clock_us = jump_us
    run_for(link, 5)
    run_for(link, 10)
    assert link.share() > 0.95
    assert link.mean_queue_us() < FILES_US + 10 * MILLISECOND


PROMISED_BPS = 1_000_000
QUEUE_US = 300 * MILLISECOND
FLOOR = 16 * 1024


def floor_over_a_queue(*neighbours_queues_us: int, is_promised: bool = True) -> int:
    """Return the floor of a flow with a queue before it, beside flows of its node with others."""
    precedence = Precedence()
    ours = Ledbat(DATAGRAM, LIVE_US, precedence)
    others = [Ledbat(DATAGRAM, LIVE_US, precedence) for _ in neighbours_queues_us]
    ours.set_floor_bytes(FLOOR, PROMISED_BPS if is_promised else 0)
    for step in range(60):
        now = step * 100 * MILLISECOND
        is_full = step > 20
        for other, queue_us in zip(others, neighbours_queues_us, strict=True):
            other.on_delay(BASE_US + is_full * queue_us, now)
        ours.on_delay(BASE_US + is_full * QUEUE_US, now)
    ours.on_timeout()
    return ours.window_bytes


def test_what_was_promised_goes_through_a_queue_that_only_its_receiver_has() -> None:
    meanwhile = PROMISED_BPS // 8 * QUEUE_US // SECOND
    assert floor_over_a_queue(0, QUEUE_US) == FLOOR + meanwhile
    assert floor_over_a_queue(QUEUE_US // 3) == FLOOR + meanwhile * 2 // 3


def test_what_was_promised_is_not_forgotten_when_datagrams_become_smaller() -> None:
    precedence = Precedence()
    ours, other = (Ledbat(DATAGRAM, LIVE_US, precedence) for _ in range(2))
    ours.set_floor_bytes(FLOOR, PROMISED_BPS)
    ours.set_datagram_bytes(DATAGRAM // 2)
    for step in range(60):
        other.on_delay(BASE_US, step * 100 * MILLISECOND)
        ours.on_delay(BASE_US + (step > 20) * QUEUE_US, step * 100 * MILLISECOND)
    ours.on_timeout()
    assert ours.window_bytes == FLOOR + PROMISED_BPS // 8 * QUEUE_US // SECOND


def test_a_queue_before_all_flows_may_be_our_own_and_raises_no_floor() -> None:
    assert floor_over_a_queue() == FLOOR
    assert floor_over_a_queue(QUEUE_US, 2 * QUEUE_US) == FLOOR


def test_where_nothing_was_promised_a_queue_raises_no_floor() -> None:
    assert floor_over_a_queue(0, is_promised=False) == FLOOR


def test_a_floor_rises_for_no_queue_longer_than_a_second() -> None:
    precedence = Precedence()
    ours, other = (Ledbat(DATAGRAM, LIVE_US, precedence) for _ in range(2))
    ours.set_floor_bytes(FLOOR, PROMISED_BPS)
    for step in range(300):
        other.on_delay(BASE_US, step * 100 * MILLISECOND)
        ours.on_delay(BASE_US + step * 100 * MILLISECOND, step * 100 * MILLISECOND)
    ours.on_timeout()
    assert ours.window_bytes <= FLOOR + PROMISED_BPS // 8


def test_queues_on_the_way_back_do_not_slow_it_where_delays_are_one_way() -> None:
    ledbat = Ledbat(DATAGRAM, TARGET_US)
    for step in range(200):
        ledbat.on_delay(BASE_US, step * 10 * MILLISECOND, BASE_US * (1 if step < 10 else 5))
    assert ledbat.queuing_delay_us == 0


@pytest.mark.parametrize("live_mbps", [4, 15, None])
def test_files_of_a_node_give_way_to_its_live_flows_and_use_the_rest(live_mbps: int | None) -> None:
    precedence = Precedence()
    files, live = flow(FILES_US, 0, precedence), flow(LIVE_US, 10 * SECOND, precedence)
    live.rate_bps = None if live_mbps is None else live_mbps * 1_000_000
    live.end = 40 * SECOND
    link = Bottleneck([files, live])
    run_for(link, 13)
    run_for(link, 25)
    assert link.share(live) > 0.98 * (live_mbps or 18) / 20
    assert link.share() > 0.9
    assert link.mean_queue_us() < LIVE_US + 5 * MILLISECOND
    run_for(link, 10)
    run_for(link, 10)
    assert link.share(files) > 0.93, "after the live flow's end"
    assert link.mean_queue_us() > LIVE_US


def test_a_pause_of_the_application_does_not_put_off_the_next_slowdown_for_hours() -> None:
    ledbat = Ledbat(DATAGRAM, TARGET_US)
    now = 0

    def drive(end: int, queue_us: int, *, is_used: bool) -> bool:
        """Whether the window fell to its floor before `end`."""
        nonlocal now
        while now < end:
            now += 10 * MILLISECOND
            ledbat.on_delay(BASE_US + queue_us, now)
            before = ledbat.window_bytes
            for _ in range(10):
                ledbat.on_ack(DATAGRAM, is_window_used=is_used, now=now)
            if ledbat.window_bytes < before / 2:
                return True
        return False

    drive(SECOND, 0, is_used=True)
    assert drive(60 * SECOND, 20 * MILLISECOND, is_used=True), "the first slowdown"
    drive(now + 300 * SECOND, 0, is_used=False)
    assert drive(now + 200 * SECOND, 5 * MILLISECOND, is_used=True), "the next"


def test_a_constant_offset_of_clocks_changes_nothing() -> None:
    plain, skewed = Ledbat(DATAGRAM, TARGET_US), Ledbat(DATAGRAM, TARGET_US)
    for step in range(2_000):
        now = step * 10 * MILLISECOND
        delay = BASE_US + (step * 7919) % (40 * MILLISECOND)
        for ledbat, offset in ((plain, 0), (skewed, 123_456_789)):
            ledbat.on_delay(delay + offset, now, BASE_US + delay)
            ledbat.on_ack(DATAGRAM, is_window_used=True, now=now)
        assert plain.queuing_delay_us == skewed.queuing_delay_us
        assert plain.window_bytes == skewed.window_bytes


def test_what_was_promised_is_its_floor() -> None:
    ledbat = Ledbat(DATAGRAM, TARGET_US)
    ledbat.set_floor_bytes(20_000)
    ledbat.on_timeout()
    ledbat.on_loss(0, BASE_US)
    assert ledbat.window_bytes == 20_000
    ledbat.set_floor_bytes(0)
    ledbat.on_timeout()
    assert ledbat.window_bytes == 2 * DATAGRAM


def test_a_window_that_is_not_used_does_not_grow() -> None:
    ledbat = Ledbat(DATAGRAM, TARGET_US)
    before = ledbat.window_bytes
    for step in range(100):
        ledbat.on_delay(BASE_US, step)
        ledbat.on_ack(DATAGRAM, is_window_used=False, now=step)
    assert ledbat.window_bytes == before


def drive(ledbat: Ledbat, now: int, duration_us: int, queue_of: Callable[[int], int]) -> int:
    """Acknowledge a window each 200 ms, in 100 parts, with a queue by the phase; return the end."""
    end = now + duration_us
    while now < end:
        now += 2 * MILLISECOND
        rtt_us = 200 * MILLISECOND + queue_of(now // (2 * MILLISECOND) % 100)
        ledbat.on_delay(rtt_us, now)
        ledbat.on_ack(ledbat.window_bytes // 100, is_window_used=True, now=now)
    return now


def settled() -> tuple[Ledbat, int]:
    """Return one beyond its slow start and first slowdown, on a long path, and the time."""
    ledbat = Ledbat(DATAGRAM, FILES_US)
    now = drive(ledbat, SECOND, SECOND, lambda phase: 0)
    now = drive(ledbat, now, 3 * SECOND, lambda phase: 50 * MILLISECOND)
    return ledbat, now


def test_a_link_that_is_idle_for_a_part_of_each_round_trip_is_filled() -> None:
    """A window in bursts makes a queue and leaves the link idle, in turns."""
    ledbat, now = settled()
    before = ledbat.window_bytes
    drive(ledbat, now, 4 * SECOND, lambda phase: 30 * MILLISECOND if phase < 30 else 0)
    assert ledbat.window_bytes >= 1.3 * before


def test_a_queue_that_is_never_empty_is_not_taken_for_an_idle_link() -> None:
    ledbat, now = settled()
    before = ledbat.window_bytes
    drive(ledbat, now, 4 * SECOND, lambda phase: 20 * MILLISECOND)
    assert ledbat.window_bytes <= 1.05 * before + 30 * DATAGRAM


def test_after_a_timeout_it_comes_back_as_fast_as_slow_start_does() -> None:
    """The slowdown that is due then does not make the small window the new normal."""
    ledbat, now = settled()
    before = ledbat.window_bytes
    now = drive(ledbat, now, 30 * SECOND, lambda phase: 50 * MILLISECOND)
    for _ in range(40):  # Whenever that happens.
        ledbat.on_timeout()
        now = drive(ledbat, now, 4 * SECOND, lambda phase: 0)
        assert ledbat.window_bytes >= before // 8
