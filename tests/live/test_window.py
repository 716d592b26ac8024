"""The sliding window: what it reckons of pieces that it does not hold."""

from __future__ import annotations

from livestream.live.piece import LivePiece
from livestream.live.signing import Signer
from livestream.live.window import AHEAD_MAX, LiveWindow
from livestream.machine import SECOND
from livestream.media.records import NO_RECORD, Payload, PayloadFlags

SIGNER = Signer(bytes(32))
START_MS = 1_000_000


def filled(count: int, interval_ms: int) -> LiveWindow:
    window = LiveWindow(15 * SECOND)
    window.start(1, 0, newest=-1)
    for index in range(count):
        payload = Payload(START_MS + index * interval_ms, PayloadFlags(0), NO_RECORD, b"x")
        window.put(index, LivePiece.sign(SIGNER, 1, index, payload).to_bytes(), 0)
    return window


def test_the_newest_piece_is_reckoned_by_the_pace_of_those_known() -> None:
    window = filled(200, 40)
    newest_ms = START_MS + 199 * 40
    assert window.reckon_newest(newest_ms) == 199
    assert abs(window.reckon_newest(newest_ms + 10_000) - (199 + 250)) < 10
    assert window.reckon_newest(newest_ms - 5_000) == 199, "a clock that is behind"


def test_what_is_reckoned_has_a_bound() -> None:
    window = filled(200, 0)
    assert window.reckon_newest(START_MS + 10**9) == 199 + AHEAD_MAX


def test_before_the_first_piece_only_the_head_counts() -> None:
    window = LiveWindow(15 * SECOND)
    window.start(1, 10, newest=50)
    assert window.reckon_newest(10**12) == 50
