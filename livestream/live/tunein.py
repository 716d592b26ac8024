"""Where a newcomer begins (`tune_in_index`)."""

from __future__ import annotations

from itertools import pairwise

from livestream.live.head import Head

__all__ = ["tune_in_index"]


def tune_in_index(head: Head, playout_ms: int) -> int:
    """Return the first piece that a viewer wants who plays what was captured at `playout_ms`.

    That is where the newest key frame before begins. In a crowd a head may be seconds old when it
    gets here: then later key frames are missing in it, and we begin by its pace one group of
    pictures before the playout point, so that the next key frame is after it.
    """
    marks = head.keyframes
    if not marks:
        return head.first_index
    past = [mark for mark in marks if mark.captured_ms <= playout_ms]
    if not past:
        return marks[0].index
    last = past[-1]
    is_told_all = last is not marks[-1] or head.time_ms >= playout_ms
    if is_told_all or len(marks) < 2:
        return last.index  # Encoders may make a group longer than all before.
    group_ms = max(later.captured_ms - earlier.captured_ms for earlier, later in pairwise(marks))
    ahead_ms = playout_ms - group_ms - last.captured_ms
    spanned_ms = max(1, last.captured_ms - marks[0].captured_ms)
    if ahead_ms <= 0:
        return last.index
    return last.index + ahead_ms * (last.index - marks[0].index) // spanned_ms
