"""A viewer that rewrites pieces: none is kept, it is dropped, the others do not notice."""

from __future__ import annotations

from livestream.config import LiveConfig
from livestream.live.window import LiveWindow
from tests.live.test_channel import Broadcast, missed
from tests.world import Link


class RewritingWindow(LiveWindow):
    """Hands out every piece with one byte changed."""

    def get(self, index: int) -> bytes | None:
        """Return a forgery."""
        data = super().get(index)
        return None if data is None else data[:-1] + bytes((data[-1] ^ 1,))


def test_forged_pieces_are_never_kept_and_their_sender_is_banned() -> None:
    window = RewritingWindow(LiveConfig().window_us)
    cast = Broadcast(5, 5, Link(delay_us=15_000), up_bps=1_920_000, first_window=window)
    cast.viewers.pop(0)
    cast.run(8)
    honest = cast.viewers
    rejected = sum(viewer.channel.swarm.stats.pieces_rejected for viewer in honest)
    assert rejected >= 1
    last = cast.next_index - 45
    for viewer in honest:
        assert missed(viewer, last - 150, last) == []
        victims = viewer.channel.swarm.stats.pieces_rejected
        assert victims <= 1, "the first forged piece ends it"
        assert (viewer.banned == 1) == (victims == 1)
        for index in range(last - 100, last):
            genuine = cast.source.channel.window.get(index)
            assert viewer.channel.window.get(index) == genuine
