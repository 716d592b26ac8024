"""Slots: how many children a node may have, and for whom they are kept."""

from __future__ import annotations

from livestream.config import LiveConfig
from livestream.live.choker import (
    CROWD,
    RECOVERY_US,
    RESERVE_BURST_S,
    SLOTS_MIN,
    LiveChoker,
)
from livestream.live.neighbours import SLOTS_MAX
from livestream.live.piece import LivePiece
from livestream.live.window import LiveWindow
from livestream.machine import SECOND
from livestream.media.records import NO_RECORD, Payload, PayloadFlags
from tests.live.neighbourhood import RATE_BPS, SIGNER, SUBSTREAMS, UNIX_OFFSET_US, make_peer

CONFIG = LiveConfig()
PEERS = [make_peer(number) for number in range(1, 40)]


def choker(upload_x: float | None = None, *, is_source: bool = False) -> LiveChoker:
    """Return a choker of a node whose upload is this multiple of the rate."""
    upload_bps = None if upload_x is None else int(upload_x * RATE_BPS)
    made = LiveChoker(
        LiveWindow(CONFIG.window_us), CONFIG, upload_bps=upload_bps, is_source=is_source
    )
    made.start(SUBSTREAMS, RATE_BPS)
    return made


def opened(upload_x: float | None = None) -> LiveChoker:
    """Return a viewer's choker that may feed others."""
    made = choker(upload_x)
    made.open()
    return made


def test_a_viewer_feeds_nobody_before_it_is_known_to_receive() -> None:
    made = choker(3.0)
    assert made.slots == 0
    assert made.spare_slots == 0
    assert made.slots_promised > 0
    assert not made.subscribe(PEERS[0], 0, 0, 0)
    made.open()
    assert made.subscribe(PEERS[0], 0, 0, 0)


def test_slots_are_what_the_upload_carries_but_for_a_part_that_repairs() -> None:
    assert opened(1.0).slots == int(0.85 * SUBSTREAMS)
    assert opened(6.0).slots == int(0.85 * 6 * SUBSTREAMS)
    assert opened(0.05).slots == 0, "a leaf everywhere"
    assert opened(1000.0).slots == SLOTS_MAX
    assert opened(None).slots == CONFIG.slots_max


def test_the_publisher_has_its_heads_and_no_more_whatever_its_upload() -> None:
    heads = CONFIG.heads_per_substream * SUBSTREAMS
    assert choker(1000.0, is_source=True).slots == heads
    assert choker(None, is_source=True).slots == heads
    assert choker(1.5, is_source=True).slots == int(0.85 * 1.5 * SUBSTREAMS)
    assert choker(0.2, is_source=True).slots == SUBSTREAMS, "or somebody would get nothing"


def test_the_publisher_keeps_a_slot_for_each_substream_without_a_head() -> None:
    made = choker(1.25, is_source=True)
    assert made.slots == SUBSTREAMS
    assert made.subscribe(PEERS[0], 0, 0, 0)
    assert not made.subscribe(PEERS[1], 0, 0, 0), "seven substreams have none"
    for number in range(1, SUBSTREAMS):
        assert made.subscribe(PEERS[1], number, 0, 0)
    assert made.spare_slots == 0


def test_a_substream_has_so_many_heads_and_no_more() -> None:
    made = choker(None, is_source=True)
    taken = [made.subscribe(peer, 3, 0, 0) for peer in PEERS[:4]]
    assert taken == [True, True, False, False]


def test_a_viewer_may_spend_all_its_slots_in_one_substream() -> None:
    made = opened(1.0)
    taken = [made.subscribe(peer, 3, 0, 0) for peer in PEERS[:7]]
    assert taken == [True] * 6 + [False]


def test_who_subscribes_again_is_one_child_and_keeps_its_age() -> None:
    made = opened(1.0)
    for at in (5, 9):
        assert made.subscribe(PEERS[0], 3, at, at)
    assert made.used_slots == 1
    assert made.fed_since(PEERS[0], 3) == 5
    made.unsubscribe(PEERS[0], 3)
    assert made.subscribe(PEERS[0], 3, 20, 20)
    assert made.fed_since(PEERS[0], 3) == 20


def test_a_child_gets_what_comes_from_where_it_asked_to_begin() -> None:
    made = opened(1.0)
    made.subscribe(PEERS[0], 3, 11, 0)
    made.subscribe(PEERS[1], 3, 30, 0)
    assert made.children_of_index(3) == []
    assert made.children_of_index(11) == [PEERS[0]]
    assert made.children_of_index(12) == []
    assert made.children_of_index(35) == [PEERS[0], PEERS[1]]


def test_a_new_epoch_keeps_children_and_begins_with_its_first_piece() -> None:
    made = opened(1.0)
    made.subscribe(PEERS[0], 3, 1_000, 0)
    made.start(SUBSTREAMS, RATE_BPS)
    assert made.children_of_index(3) == [PEERS[0]]
    made.start(4, RATE_BPS)
    assert made.used_slots == 0, "other substreams are other trees"


def test_who_left_is_no_child_anywhere() -> None:
    made = opened(1.0)
    for number in (1, 3, 5):
        made.subscribe(PEERS[0], number, 0, 0)
    assert made.substreams_of(PEERS[0]) == 3
    made.unsubscribe(PEERS[0], 5)
    made.unsubscribe(PEERS[0], 200)
    assert made.substreams_of(PEERS[0]) == 2
    made.drop(PEERS[0])
    assert made.used_slots == 0
    assert not made.subscribe(PEERS[0], 200, 0, 0)


def test_strangers_are_children_outside_of_home() -> None:
    made = opened(1.0)
    made.home = 3
    made.subscribe(PEERS[0], 3, 0, 0)
    made.subscribe(PEERS[1], 3, 0, 0)
    made.subscribe(PEERS[2], 5, 0, 0)
    assert made.strangers() == [(PEERS[2], 5)]
    assert made.busiest() == 3


# When the uplink does not carry them


def test_after_an_overload_there_are_fewer_slots_and_one_is_tried_again_after_a_while() -> None:
    made = opened(1.0)
    for peer in PEERS[:4]:
        made.subscribe(peer, 3, 0, 0)
    made.note_overload(0)
    assert made.slots == 3, "one less than it feeds, whatever was promised"
    made.recover(RECOVERY_US - 1, is_scarce=False)
    assert made.slots == 3
    for look in range(1, 10):
        made.recover(look * RECOVERY_US, is_scarce=False)
        assert made.slots == min(3 + look, 6)


def test_more_than_its_share_is_fed_only_where_room_is_scarce_and_somebody_was_refused() -> None:
    made = opened(1.0)
    for peer in PEERS[:6]:
        made.subscribe(peer, 3, 0, 0)
    made.recover(10 * SECOND, is_scarce=True)
    assert made.slots == 6, "nobody was refused"
    assert not made.subscribe(PEERS[6], 3, 0, 0)
    made.recover(11 * SECOND, is_scarce=False)
    assert made.slots == 6, "others have room"
    assert not made.subscribe(PEERS[6], 3, 0, 0)
    made.recover(12 * SECOND, is_scarce=True)
    assert made.slots == 7
    for look in range(13, 40):
        assert made.subscribe(PEERS[6], 3, 0, 0)
        made.subscribe(PEERS[7], 3, 0, 0)
        made.recover(look * SECOND, is_scarce=True)
    assert made.slots == 7, "the upload carries 7.7 of them"


def test_overloads_leave_no_less_than_nothing() -> None:
    made = opened(1.0)
    for _ in range(9):
        made.note_overload(0)
    assert made.slots == 0
    assert made.spare_slots == 0


def test_whatever_the_overload_the_publisher_keeps_a_slot_for_each_substream() -> None:
    """Without heads there is no channel."""
    made = choker(None, is_source=True)
    for number in range(SUBSTREAMS):
        assert made.subscribe(PEERS[number], number, 0, 0)
    for _ in range(99):
        made.note_overload(0)
    assert made.slots == SUBSTREAMS
    assert not made.subscribe(PEERS[20], 0, 0, 0), "a second one would be one too many"
    made.drop(PEERS[0])
    assert made.subscribe(PEERS[20], 0, 0, 0)


def test_who_can_feed_no_two_children_feeds_none() -> None:
    """Such an upload is for its own requests."""
    two_x = SLOTS_MIN / (0.85 * SUBSTREAMS)
    assert opened(two_x * 0.99).slots == 0
    assert opened(two_x * 0.99).slots_promised == 0
    assert opened(two_x * 1.01).slots == SLOTS_MIN


def test_one_more_is_wanted_as_long_as_there_is_a_slot_for_it() -> None:
    made = choker(None, is_source=True)
    assert made.wants_child(3)
    made.subscribe(PEERS[0], 3, 0, 0)
    made.subscribe(PEERS[1], 3, 0, 0)
    assert not made.wants_child(3)
    assert made.wants_child(4)
    assert not made.wants_child(200), "there is no such substream"


# Notice


def test_who_has_notice_is_fed_until_it_is_over_and_takes_no_slot() -> None:
    made = opened(1.0)
    made.subscribe(PEERS[0], 3, 0, 0)
    made.give_notice(PEERS[0], 3, SECOND)
    assert made.used_slots == 0
    assert made.children(3) == []
    made.expire(SECOND - 1)
    assert made.children_of_index(11) == [PEERS[0]]
    assert made.children_of_index(12) == []
    made.expire(SECOND)
    assert made.children_of_index(11) == []


def test_who_has_notice_and_needs_us_no_more_is_fed_no_more() -> None:
    made = opened(1.0)
    for number in (3, 4):
        made.subscribe(PEERS[0], number, 0, 0)
        made.give_notice(PEERS[0], number, SECOND)
    made.unsubscribe(PEERS[0], 3)
    assert made.children_of_index(11) == []
    assert made.children_of_index(12) == [PEERS[0]]
    made.drop(PEERS[0])
    assert made.children_of_index(12) == [], "it left"


def test_who_has_notice_and_is_taken_again_gets_each_piece_once_and_stays() -> None:
    made = opened(1.0)
    made.subscribe(PEERS[0], 3, 0, 0)
    made.give_notice(PEERS[0], 3, SECOND)
    made.subscribe(PEERS[0], 3, 0, 5)
    assert made.children_of_index(11) == [PEERS[0]]
    made.expire(SECOND)
    assert made.children_of_index(11) == [PEERS[0]]


# Requests


def served_bytes(made: LiveChoker, window: LiveWindow, seconds: int) -> int:
    """Ask for all pieces at once, ten times a second; return how many bytes were granted."""
    granted = 0
    for tenth in range(seconds * 10):
        for index in range(50):
            if made.serves(PEERS[0], index, tenth * SECOND // 10):
                granted += len(window.get(index) or b"")
    return granted


def filled() -> LiveWindow:
    window = LiveWindow(CONFIG.window_us)
    window.start(7, 0, newest=-1)
    for index in range(50):
        payload = Payload(UNIX_OFFSET_US // 1000, PayloadFlags(0), NO_RECORD, bytes(4_000))
        window.put(index, LivePiece.sign(SIGNER, 7, index, payload).to_bytes(), 0)
    return window


def test_in_a_crowd_the_publisher_answers_within_its_reserve() -> None:
    window = filled()
    made = LiveChoker(window, CONFIG, upload_bps=None, is_source=True)
    made.start(SUBSTREAMS, RATE_BPS)
    reserve = RATE_BPS / 8 * CONFIG.reserve_share
    everything = 10 * 10 * sum(len(window.get(index) or b"") for index in range(50))
    made.note_peers(CROWD - 1)
    assert served_bytes(made, window, 10) == everything, "few have nobody else to ask"
    made.note_peers(CROWD)
    given = (10 + RESERVE_BURST_S) * reserve
    assert 0.95 * given <= served_bytes(made, window, 10) <= given + 5_000


def test_viewers_answer_whoever_asks() -> None:
    made = LiveChoker(filled(), CONFIG, upload_bps=RATE_BPS, is_source=False)
    made.start(SUBSTREAMS, RATE_BPS)
    made.note_peers(50)
    assert all(made.serves(PEERS[0], index, 0) for index in range(50))
