"""The playout clock: punctual, in order, and never further behind than asked."""

from __future__ import annotations

from collections.abc import Sized
from random import Random

from livestream.machine import MILLISECOND, SECOND, Event
from livestream.media.chunker import Chunker
from livestream.media.records import NO_RECORD, Payload, PayloadFlags
from livestream.media.sample import Sample, Track, TrackKind
from viewer.playout import (
    STALL_AFTER_US,
    PieceMissed,
    Playout,
    PlayoutEnded,
    Resynced,
    SamplesReleased,
)

LATENCY_US = 1 * SECOND
UNIX_MS = 1_700_000_000_000
START = 50 * SECOND  # The caller's clock at UNIX_MS.
FRAME_US = 40 * MILLISECOND
VIDEO = Track(0, TrackKind.VIDEO, "h264", 90_000, b"")
AUDIO = Track(1, TrackKind.AUDIO, "aac", 48_000, b"")


def pieces(frames: int, gop: int = 25, with_video: bool = True) -> list[Payload]:
    """Return one piece for every 40 ms: a video sample and an audio sample, whole."""
    payloads = []
    for i in range(frames):
        chunker = Chunker(0xFFFF)
        if with_video:
            chunker.add(Sample(0, i % gop == 0, i, i, 1, b"video"), UNIX_MS + 40 * i, 0)
        audio_key = not with_video and i % gop == 0
        chunker.add(Sample(1, audio_key, i, i, 1, b"audio"), UNIX_MS + 40 * i, 0)
        chunker.finish(0)
        payload = chunker.next_payload()
        assert payload is not None
        flags = payload.flags & ~PayloadFlags.END
        payloads.append(Payload(payload.captured_ms, flags, payload.first_record, payload.data))
    return payloads


END = Payload(UNIX_MS, PayloadFlags.END, NO_RECORD, b"")


def captured_at(index: int) -> int:
    return START + index * FRAME_US


def due(index: int) -> int:
    return captured_at(index) + LATENCY_US


def drain(playout: Playout) -> list[Event]:
    events = []
    while (event := playout.next_event()) is not None:
        events.append(event)
    return events


def run_until(playout: Playout, until: int) -> list[tuple[int, Event]]:
    """Fire the timer whenever it asks for it, and return what happened when."""
    log: list[tuple[int, Event]] = []
    for _ in range(10_000):
        at = playout.get_timer()
        if at is None or at > until:
            return log
        playout.handle_timer(at)
        log += [(at, event) for event in drain(playout)]
    raise AssertionError("the timer does not get past", playout.get_timer())


def receive(playout: Playout, clip: list[Payload], index: int, now: int) -> list[Event]:
    playout.receive(index, clip[index], captured_at(index), now)
    return drain(playout)


def video(events: list[Event]) -> list[int]:
    return [sample.dts for sample in released(events) if sample.track == 0]


def audio(events: list[Event]) -> list[int]:
    return [sample.dts for sample in released(events) if sample.track == 1]


def released(events: list[Event]) -> list[Sample]:
    return [s for event in events if isinstance(event, SamplesReleased) for s in event.samples]


def is_stalled(playout: Playout) -> bool:
    return playout.stalled


def missed(events: list[Event]) -> list[int]:
    return [event.index for event in events if isinstance(event, PieceMissed)]


def test_each_piece_is_released_at_its_deadline_whatever_the_order_of_arrival() -> None:
    clip = pieces(50)
    order = list(range(50))
    Random(1).shuffle(order)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    for index in order:
        assert receive(playout, clip, index, START) == []
        assert receive(playout, clip, index, START) == []  # A duplicate.
    log = run_until(playout, due(49))
    assert [at for at, _ in log] == [due(i) for i in range(50)]
    assert [e.captured_at for _, e in log if isinstance(e, SamplesReleased)] == [
        captured_at(i) for i in range(50)
    ]
    events = [event for _, event in log]
    assert video(events) == audio(events) == list(range(50))
    assert (playout.pieces_released, playout.pieces_late, playout.next_index) == (50, 0, 50)


def test_a_missing_piece_is_skipped_when_a_later_one_is_due_and_video_waits_for_a_key() -> None:
    clip = pieces(60)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    for index in range(60):
        if index not in (30, 31):
            receive(playout, clip, index, START)
    log = run_until(playout, due(32) - 1)
    assert playout.next_index == 30
    assert playout.pieces_late == 0
    assert missed([event for _, event in log]) == []
    log += run_until(playout, due(32))
    assert missed([event for _, event in log]) == [30, 31]
    assert is_stalled(playout)
    log += run_until(playout, due(59))
    events = [event for _, event in log]
    assert video(events) == [*range(30), *range(50, 60)]
    assert audio(events) == [*range(30), *range(32, 60)]
    assert events.index(Resynced()) < next(
        i for i, event in enumerate(events) if 50 in video([event])
    )
    assert events.count(Resynced()) == 1
    assert not is_stalled(playout)
    assert playout.pieces_late == 2


class Waiting:
    """Lets a playout wait a little, so many times. What is asked of it is counted."""

    STEP_US = 30 * MILLISECOND

    def __init__(self, times: int) -> None:
        self.latency_us = LATENCY_US
        self.times = times
        self.asked = 0
        self.told: list[int | None] = []
        "For how long the picture would stand still, each time."

    def __call__(self, still_us: int | None) -> int:
        self.asked += 1
        self.told.append(still_us)
        if self.asked <= self.times:
            self.latency_us += self.STEP_US
        return self.latency_us


def without_piece_30(times: int) -> tuple[list[Payload], Waiting, Playout]:
    """Return 60 pieces, of which a playout that may wait so many times has all but one."""
    clip, waiting = pieces(60), Waiting(times)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO], waiting)
    for index in range(60):
        if index != 30:
            receive(playout, clip, index, START)
    return clip, waiting, playout


def test_what_is_not_there_when_it_is_due_is_waited_for_and_all_after_it_is_as_much_later() -> None:
    clip, waiting, playout = without_piece_30(2)
    comes_at = due(31) + Waiting.STEP_US + 1
    log = run_until(playout, comes_at - 1)
    assert (waiting.asked, playout.next_index) == (2, 30)
    came = receive(playout, clip, 30, comes_at)
    assert video(came) == [30, 31], "what was due behind it need not wait any longer"
    log += run_until(playout, due(59) + 2 * Waiting.STEP_US)
    events = [event for _, event in log]
    assert missed(events) == []
    assert playout.pieces_late == 0
    assert video(events) == [*range(30), *range(32, 60)]
    assert log[-1][0] == due(59) + 2 * Waiting.STEP_US
    assert playout.latency_us == LATENCY_US + 2 * Waiting.STEP_US


def test_what_does_not_come_while_it_is_waited_for_is_skipped() -> None:
    _, _, playout = without_piece_30(2)
    log = run_until(playout, due(59) + 2 * Waiting.STEP_US)
    assert [(at, e.index) for at, e in log if isinstance(e, PieceMissed)] == [
        (due(31) + 2 * Waiting.STEP_US, 30)
    ]
    assert playout.pieces_late == 1
    assert playout.next_index == 60


def test_whoever_says_how_long_to_wait_is_told_what_the_picture_would_miss() -> None:
    """Key frames begin pieces 0, 25 and 50; audio is missed while the picture waits for one."""
    clip, waiting = pieces(60), Waiting(0)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO], waiting)
    for index in range(45):
        if index not in (30, 40):
            receive(playout, clip, index, START)
    run_until(playout, due(31))
    assert waiting.told == [None], "nobody knows when a key frame comes"
    for index in range(45, 60):
        receive(playout, clip, index, due(31))
    run_until(playout, due(41))
    assert waiting.told[1:] == [0], "the picture stands still already"

    clip, waiting, playout = without_piece_30(0)
    run_until(playout, due(59))
    assert waiting.told == [captured_at(50) - captured_at(29)]


def test_the_first_picture_is_waited_for_rather_than_the_next_one() -> None:
    clip, waiting = pieces(60), Waiting(2)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO], waiting)
    for index in range(1, 60):
        receive(playout, clip, index, START)
    comes_at = due(1) + Waiting.STEP_US + 1
    assert run_until(playout, comes_at - 1) == []
    assert waiting.told == [None, None], "nothing was shown that could stand still"
    assert video(receive(playout, clip, 0, comes_at)) == [0, 1]
    assert playout.pieces_late == 0


def test_without_tracks_the_track_of_the_first_key_frame_is_the_one_that_waits() -> None:
    clip = pieces(40)
    playout = Playout(LATENCY_US, 0)
    for index in range(40):
        if index != 10:
            receive(playout, clip, index, START)
    events = [event for _, event in run_until(playout, due(39))]
    assert video(events) == [*range(10), *range(25, 40)]
    assert audio(events) == [*range(10), *range(11, 40)]


def test_sound_alone_goes_on_right_after_a_loss() -> None:
    clip = pieces(20, with_video=False)
    playout = Playout(LATENCY_US, 0, [AUDIO])
    for index in range(20):
        if index != 10:
            receive(playout, clip, index, START)
    events = [event for _, event in run_until(playout, due(19))]
    assert audio(events) == [*range(10), *range(11, 20)]
    assert Resynced() in events


def test_a_piece_after_its_deadline_is_played_at_once_and_counted_if_its_place_is_open() -> None:
    clip = pieces(60)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    for index in range(40):
        receive(playout, clip, index, captured_at(index))
        run_until(playout, captured_at(index))
    run_until(playout, due(39) + 20 * MILLISECOND)
    assert video(receive(playout, clip, 40, due(40) + 5 * MILLISECOND)) == [40]
    assert playout.pieces_late == 1
    assert missed(receive(playout, clip, 42, due(42))) == [41]
    assert receive(playout, clip, 41, due(42)) == []  # Its place has been passed.
    assert playout.pieces_late == 2
    assert playout.pieces_released == 42


def test_a_late_timer_makes_no_piece_late() -> None:
    clip = pieces(50)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    events: list[Event] = []
    for index in range(50):
        events += receive(playout, clip, index, due(index) - MILLISECOND)
        playout.handle_timer(due(index) + 7 * MILLISECOND)
        events += drain(playout)
    assert video(events) == list(range(50))
    assert playout.pieces_late == 0


def test_the_picture_begins_when_what_was_overdue_is_gapless_and_none_of_that_is_late() -> None:
    clip = pieces(60)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    now = due(20) + 1  # Pieces up to 20 are overdue.
    assert receive(playout, clip, 3, now) == []  # The pieces before it are on their way.
    assert receive(playout, clip, 1, now) == []
    assert receive(playout, clip, 0, now) == []  # It would stumble at once.
    assert video(receive(playout, clip, 2, now + 100 * MILLISECOND)) == [0, 1, 2, 3]
    for index in range(4, 21):
        receive(playout, clip, index, now + 200 * MILLISECOND)
    assert playout.pieces_released == 21
    assert playout.pieces_late == 0


def test_patience_at_tune_in_is_short() -> None:
    clip = pieces(60)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    now = due(0)
    for index in range(60):
        if index != 5:
            receive(playout, clip, index, now)
    log = run_until(playout, now + 499 * MILLISECOND)
    assert playout.next_index == 5
    log = run_until(playout, now + 500 * MILLISECOND)
    events = [event for _, event in log]
    assert missed(events) == [5]
    assert playout.next_index == 13


def test_at_tune_in_a_later_key_frame_that_is_due_need_not_wait_for_those_before() -> None:
    clip = pieces(60)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    now = due(30)
    assert receive(playout, clip, 26, now) == []
    events = receive(playout, clip, 25, now)
    assert video(events) == [25, 26]
    assert Resynced() not in events
    assert playout.pieces_late == 0  # Nobody could have had them in time.


def test_playout_starts_with_a_key_frame() -> None:
    clip = pieces(40)
    playout = Playout(LATENCY_US, 20, [VIDEO, AUDIO])
    for index in range(10, 40):
        receive(playout, clip, index, captured_at(39))
    assert playout.next_index == 20
    events = [event for _, event in run_until(playout, due(39))]
    assert video(events) == list(range(25, 40))
    assert audio(events) == list(range(25, 40))
    assert playout.pieces_released == 20
    assert playout.is_playing


def test_the_end_comes_after_the_last_samples_and_is_final() -> None:
    clip = [*pieces(5), END]
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    for index in range(6):
        receive(playout, clip, index, START)
    events = [event for _, event in run_until(playout, due(5))]
    assert video(events) == list(range(5))
    assert events[-1] == PlayoutEnded()
    assert playout.get_timer() is None
    assert receive(playout, clip, 5, due(5)) == []
    playout.handle_timer(due(5) + 10 * SECOND)
    assert not is_stalled(playout)


def test_latency_can_change_while_playing() -> None:
    clip = pieces(100)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    for index in range(100):
        receive(playout, clip, index, START)
    run_until(playout, due(9))
    playout.set_latency(3 * SECOND)
    assert playout.get_timer() == captured_at(10) + 3 * SECOND
    playout.set_latency(SECOND // 2)
    now = due(9)
    playout.handle_timer(now)
    assert video(drain(playout)) == list(range(10, 22))
    assert playout.get_timer() == captured_at(22) + SECOND // 2
    assert playout.pieces_late == 0


def test_the_buffer_is_what_can_be_played_without_a_gap() -> None:
    clip = pieces(60)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    assert playout.buffer_us == 0
    for index in (0, 1, 2, 3, 5, 6):
        receive(playout, clip, index, START)
    assert playout.buffer_us == 3 * FRAME_US
    receive(playout, clip, 4, START)
    assert playout.buffer_us == 6 * FRAME_US
    run_until(playout, due(2))
    assert playout.buffer_us == 3 * FRAME_US
    receive(playout, clip, 50, START)
    assert playout.buffer_us == 3 * FRAME_US


def test_it_stalls_when_nothing_more_comes_and_recovers() -> None:
    clip = pieces(60)
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    for index in range(10):
        receive(playout, clip, index, START)
    run_until(playout, due(9) + STALL_AFTER_US - 1)
    assert not is_stalled(playout)
    run_until(playout, due(9) + STALL_AFTER_US)
    assert is_stalled(playout)
    assert playout.get_timer() is None
    receive(playout, clip, 10, due(10) + SECOND)
    assert not is_stalled(playout)


def test_a_publisher_that_writes_nonsense_costs_only_its_own_picture() -> None:
    clip = pieces(60)
    clip[5] = Payload(UNIX_MS, PayloadFlags(0), 0, b"\xff" * 300)
    clip[6] = Payload(UNIX_MS, PayloadFlags(0), 200, b"short")
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    for index in range(60):
        receive(playout, clip, index, START)
    events = [event for _, event in run_until(playout, due(59))]
    assert video(events) == [*range(5), *range(25, 60)]
    assert playout.pieces_malformed == 2


def test_time_stamps_that_go_back_and_unknown_tracks_never_reach_the_muxer() -> None:
    chunker = Chunker(0xFFFF)
    for number, dts in ((0, 5), (0, 5), (0, 4), (7, 9), (0, 6)):
        chunker.add(Sample(number, True, dts, dts, 1, b""), UNIX_MS, 0)
    chunker.finish(0)
    payload = chunker.next_payload()
    assert payload is not None
    playout = Playout(LATENCY_US, 0, [VIDEO])
    playout.receive(0, payload, START, due(0))
    assert video(drain(playout)) == [5, 6]
    assert playout.samples_dropped == 3


def test_memory_is_bounded_whatever_is_sent() -> None:
    piece = pieces(1)[0]
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    for index in range(1, 10_000):
        playout.receive(index, piece, START, START)
    playout.receive(0, piece, START + 3_600 * SECOND, START)
    assert playout.pieces_ignored > 1_000
    playout.handle_timer(START + 100 * SECOND)
    playout.receive(2**32 - 1, piece, START + 100 * SECOND, START + 102 * SECOND)
    assert len(drain(playout)) < 20_000
    assert playout.next_index == 2**32


def test_a_long_watch_holds_on_to_nothing() -> None:
    """Goal: the inner tables stay small though every piece is released in good order."""
    piece = pieces(1)[0]
    playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
    for index in range(5_000):
        playout.receive(index, piece, captured_at(index), captured_at(index))
        run_until(playout, captured_at(index))
    # Not vars(): a compiled object has no dictionary.
    values = [getattr(playout, name) for name in dir(playout) if not name.startswith("__")]
    tables = [value for value in values if isinstance(value, Sized)]
    assert tables
    assert sum(len(table) for table in tables) < 500


def test_random_losses_and_delays_never_break_order_or_punctuality() -> None:
    for seed in range(20):
        rng = Random(seed)
        clip = pieces(200)
        arrivals = sorted(
            (captured_at(i) + int(rng.expovariate(1 / (0.3 * SECOND))), i)
            for i in range(200)
            if rng.random() < 0.97
        )
        playout = Playout(LATENCY_US, 0, [VIDEO, AUDIO])
        log: list[tuple[int, Event]] = []
        for now, index in arrivals:
            log += run_until(playout, now)
            log += [(now, event) for event in receive(playout, clip, index, now)]
        log += run_until(playout, due(200))
        events = [event for _, event in log]
        for dts in (video(events), audio(events)):
            assert dts == sorted(set(dts)), f"seed {seed}"
        assert playout.pieces_released + len(missed(events)) == playout.next_index, f"seed {seed}"
        in_time = {i for at, i in arrivals if at <= due(i)}
        assert playout.next_index - len(in_time) <= playout.pieces_late + 1, f"seed {seed}"
        for at, event in log:
            if isinstance(event, SamplesReleased) and at > START + 2 * SECOND:
                assert at >= event.captured_at + LATENCY_US, f"seed {seed}"
