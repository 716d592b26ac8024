"""Where a newcomer begins."""

from __future__ import annotations

from livestream.live.head import Head, KeyframeMark
from livestream.live.tunein import tune_in_index

NOW_MS = 1_700_000_000_000
GROUP_MS = 2_000
GROUP_PIECES = 100


def head(*ages_ms: int, age_ms: int = 0) -> Head:
    """Return a head of this age, with key frames that were captured so long ago.

    Each group of pictures takes two seconds and a hundred pieces; the oldest begins at piece 1000.
    """
    oldest_ms = max(ages_ms, default=0)
    marks = tuple(
        KeyframeMark(1_000 + (oldest_ms - age) * GROUP_PIECES // GROUP_MS, NOW_MS - age)
        for age in ages_ms
    )
    return Head(
        epoch=1,
        time_ms=NOW_MS - age_ms,
        first_index=900,
        newest_index=1_300,
        payload_bytes_max=4096,
        substreams=8,
        rate_bps=1_600_000,
        is_ended=False,
        name="test",
        keyframes=marks,
        tracks=(),
    )


def test_a_newcomer_begins_with_the_newest_key_frame_before_its_playout_point() -> None:
    fresh = head(5_100, 3_100, 1_100)
    assert tune_in_index(fresh, NOW_MS - 2_000) == 1_100
    assert tune_in_index(fresh, NOW_MS - 3_100) == 1_100, "exactly there counts as before"
    assert tune_in_index(fresh, NOW_MS - 1_000) == 1_200


def test_of_a_head_that_is_seconds_old_its_pace_tells_where_the_key_frame_must_be() -> None:
    """Six seconds have passed: three groups, and we begin one before the playout point."""
    stale = head(12_000, 10_000, 8_000, age_ms=7_500)
    assert tune_in_index(stale, NOW_MS - 2_000) == 1_200 + 2 * GROUP_PIECES


def test_a_head_a_little_old_still_has_the_right_key_frame() -> None:
    """The next one is not due before the playout point."""
    assert tune_in_index(head(7_900, 5_900, 3_900, age_ms=3_000), NOW_MS - 2_000) == 1_200


def test_the_longest_group_counts_where_they_differ() -> None:
    """Else we would begin after the key frame that we need."""
    stale = head(13_000, 8_000, 7_500, age_ms=7_000)
    assert stale.keyframes[-1].index == 1_275
    assert tune_in_index(stale, NOW_MS - 2_000) == 1_275 + 500 // 20


def test_where_a_group_is_long_for_once_a_head_that_covers_it_is_believed() -> None:
    """It would tell of a later key frame, had there been one."""
    assert tune_in_index(head(12_000, 10_000, 8_000, age_ms=500), NOW_MS - 2_000) == 1_200


def test_one_key_frame_tells_no_pace() -> None:
    assert tune_in_index(head(9_000, age_ms=8_000), NOW_MS - 2_000) == 1_000


def test_without_key_frames_all_that_there_is_is_wanted() -> None:
    assert tune_in_index(head(), NOW_MS - 2_000) == 900


def test_when_all_key_frames_are_after_the_playout_point_the_first_of_them_it_is() -> None:
    """The channel has only begun."""
    assert tune_in_index(head(1_500, 500), NOW_MS - 2_000) == 1_000


def test_key_frames_of_one_moment_are_no_division_by_nothing() -> None:
    assert tune_in_index(head(9_000, 9_000, age_ms=8_000), NOW_MS - 2_000) == 1_000
