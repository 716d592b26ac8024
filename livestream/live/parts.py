"""What a channel is put together from (`Parts`): the place to put something else in."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from mypy_extensions import mypyc_attr

from livestream.config import LiveConfig
from livestream.live.choker import LiveChoker
from livestream.live.clock import ChannelClock
from livestream.live.feeders import Feeders
from livestream.live.neighbours import Neighbours
from livestream.live.picker import DeadlinePicker
from livestream.live.signing import ChannelKey
from livestream.live.window import LiveVerifier, LiveWindow
from livestream.swarm.peer import Peer
from livestream.swarm.uploads import UploadQueue
from livestream.wire.live import LiveMessage

__all__ = ["Parts"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Parts:
    """Makes the parts of one channel. Simulations override what they count, compare or break."""

    def make_key(self, raw: bytes) -> ChannelKey:
        """Return what heads are checked with."""
        return ChannelKey(raw)

    def make_window(self, span_us: int) -> LiveWindow:
        """Return where pieces are kept."""
        return LiveWindow(span_us)

    def make_verifier(self, key: ChannelKey, window: LiveWindow) -> LiveVerifier:
        """Return who judges pieces."""
        return LiveVerifier(key, window)

    def make_picker(
        self,
        window: LiveWindow,
        clock: ChannelClock,
        config: LiveConfig,
        fed_from: Callable[[int], int | None],
        is_source: Callable[[Peer], bool],
    ) -> DeadlinePicker:
        """Return who asks for what is overdue."""
        return DeadlinePicker(window, clock, config, fed_from, is_source)

    def make_choker(
        self, window: LiveWindow, config: LiveConfig, *, upload_bps: int | None, is_source: bool
    ) -> LiveChoker:
        """Return who decides whom to feed."""
        return LiveChoker(window, config, upload_bps=upload_bps, is_source=is_source)

    def make_uploads(self) -> UploadQueue:
        """Return where pieces wait for connections."""
        return UploadQueue()

    def make_feeders(
        self,
        node_id: bytes,
        rng: Random,
        neighbours: Neighbours,
        send: Callable[[Peer, LiveMessage], None],
        seek: Callable[[int, int], None],
        *,
        turned: Callable[[int, int], None],
    ) -> Feeders:
        """Return who finds those that feed us."""
        return Feeders(node_id, rng, neighbours, send, seek, turned=turned)
