"""Designs to compare with, behind the same seams: mesh pull, and random push.

* Mesh pull (CoolStreaming): neighbours tell what they hold; everything is asked for.
* "Random peer, latest useful piece" (Bonald et al., 2008): whoever can send picks a neighbour at
  random and gives it the newest piece that it lacks; what is late is asked for as in the product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Final
from zlib import crc32

from mypy_extensions import mypyc_attr

from livestream.config import LiveConfig
from livestream.live.channel import Channel
from livestream.live.choices import Choice, Choices
from livestream.live.choker import LiveChoker
from livestream.live.clock import ChannelClock
from livestream.live.feeders import Feeders
from livestream.live.neighbours import Neighbours
from livestream.live.picker import URGENT_US, DeadlinePicker, Missing
from livestream.live.window import LiveWindow
from livestream.machine import MILLISECOND, SECOND
from livestream.pieces.bitfield import SlidingBitfield
from livestream.pieces.picker import Pick
from livestream.sim.parts import Role, SimParts
from livestream.sim.signatures import Notary
from livestream.swarm.peer import Peer
from livestream.swarm.uploads import BACKLOG_BYTES_MAX, Upload, UploadQueue, Urgency
from livestream.wire.live import LiveMessage
from livestream.wire.messages import Interested

__all__ = ["PullParts", "RandomParts"]

PULL_SHARE: Final = 1.5  # Of the rate: all of it, and what has to be asked for again.
SPREAD_US: Final = 400 * MILLISECOND  # A request, a copy, and the next window update of its taker.
REQUESTS_MAX: Final = 24  # To one neighbour at once: half a second of the channel.
LATEST: Final = 64  # Pieces behind the newest that are worth pushing: more than a second's.
TRIES: Final = 4  # Neighbours looked at before an uplink is left idle until there is news.


class _Unfed(Feeders):
    """Asks nobody to feed it, and everybody for what they hold: these designs live by windows."""

    def __init__(
        self,
        node_id: bytes,
        rng: Random,
        neighbours: Neighbours,
        send: Callable[[Peer, LiveMessage], None],
        seek: Callable[[int, int], None],
        *,
        turned: Callable[[int, int], None],
    ) -> None:
        super().__init__(node_id, rng, neighbours, send, seek, turned=turned)
        self._told: dict[Peer, None] = {}
        "Who was asked to tell what it holds."

    def note_status(self, peer: Peer, now: int) -> None:
        """Ask for the window of whoever is new."""
        if peer not in self._told:
            self._told[peer] = None
            peer.send(Interested())

    def on_gone(self, peer: Peer, now: int) -> None:
        """Forget who left."""
        self._told.pop(peer, None)

    def handle_timer(self, peers: Sequence[Peer], from_index: int, now: int) -> None:
        """Nothing is ever asked for, so that nothing is ever pushed by subscription."""
        self._timer = None


class _Pull(DeadlinePicker):
    """Asks for everything; the publisher at once for a share of the pieces, for others later.

    Were it asked by all for all, it would send each piece to everybody.
    """

    def __init__(
        self,
        window: LiveWindow,
        clock: ChannelClock,
        config: LiveConfig,
        fed_from: Callable[[int], int | None],
        is_source: Callable[[Peer], bool],
        *,
        rng: Random,
    ) -> None:
        super().__init__(window, clock, config, fed_from, is_source)
        self._salt = rng.randbytes(4)
        self._neighbours = 1

    def picks(self, holders: Sequence[Peer], now: int) -> list[Pick[Peer]]:
        self._neighbours = max(1, len(holders))
        return super().picks(holders, now)

    def _choose(
        self, choices: Choices, index: int, missing: Missing, deadline: int | None, now: int
    ) -> Choice | None:
        if not self._may_repair(index, now):
            return None
        choice = choices.quickest(index, missing.tried, REQUESTS_MAX)
        if choice is None or not choice.is_source or choices.are_all_source():
            return choice
        is_urgent = deadline is None or deadline - now < URGENT_US
        # One of the neighbours begins; another joins in for each time that a copy takes.
        turn = crc32(b"%b %d" % (self._salt, index)) % self._neighbours
        is_mine = turn <= (now - missing.known_at) // SPREAD_US
        return choice if is_urgent or is_mine else None


@mypyc_attr(allow_interpreted_subclasses=True)
class PullParts(SimParts):
    """Nobody feeds anybody: what a neighbour holds is asked for at once."""

    def __init__(self, notary: Notary, role: Role, rng: Random) -> None:
        super().__init__(notary, role, rng)
        self._rng = rng

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
        """Return feeders that are never asked."""
        return _Unfed(node_id, rng, neighbours, send, seek, turned=turned)

    def make_picker(
        self,
        window: LiveWindow,
        clock: ChannelClock,
        config: LiveConfig,
        fed_from: Callable[[int], int | None],
        is_source: Callable[[Peer], bool],
    ) -> DeadlinePicker:
        """Return a picker that may ask for everything."""
        everything = replace(config, repair_share=PULL_SHARE)
        return _Pull(window, clock, everything, fed_from, is_source, rng=self._rng)

    def make_choker(
        self, window: LiveWindow, config: LiveConfig, *, upload_bps: int | None, is_source: bool
    ) -> LiveChoker:
        """Return a choker whose publisher answers with all that the product's gives."""
        config = replace(config, reserve_share=config.heads_per_substream + config.reserve_share)
        return super().make_choker(window, config, upload_bps=upload_bps, is_source=is_source)


class RandomParts(SimParts):
    """Everybody pushes to whom chance says, the newest piece that it lacks."""

    def __init__(self, notary: Notary, role: Role, rng: Random) -> None:
        super().__init__(notary, role, rng)
        self._uploads = _LatestUseful()

    def adopt(self, channel: Channel) -> None:
        """Let the pushes choose among the channel's peers."""
        self._uploads.peers = channel.swarm.ready

    def make_window(self, span_us: int) -> LiveWindow:
        """Return a window that the pushes choose from."""
        window = super().make_window(span_us)
        self._uploads.window = window
        return window

    def make_uploads(self) -> UploadQueue:
        """Return the queue that pushes without being asked."""
        return self._uploads

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
        """Return feeders that call what is pushed at random fed, so that it is not asked for."""
        self._uploads.rng = rng
        return _FedByChance(node_id, rng, neighbours, send, seek, turned=turned)

    def make_choker(
        self, window: LiveWindow, config: LiveConfig, *, upload_bps: int | None, is_source: bool
    ) -> LiveChoker:
        """Return the choker; it tells what a node may give."""
        choker = super().make_choker(window, config, upload_bps=upload_bps, is_source=is_source)
        gives = self._role in (Role.HONEST, Role.POLLUTER)
        self._uploads.gives = gives and (is_source or (upload_bps or 0) > 0)
        return choker


class _FedByChance(_Unfed):
    def fed_from(self, number: int) -> int | None:
        return 0


class _LatestUseful(UploadQueue):
    """What was asked for first; then the newest piece for a neighbour that chance names."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = Random(0)
        self.window: LiveWindow | None = None
        self.gives = True
        self.peers: dict[Peer, None] = {}
        "Those of the swarm; see `RandomParts.adopt`."
        self._given: dict[Peer, SlidingBitfield] = {}

    def drop_peer(self, peer: Peer) -> None:
        super().drop_peer(peer)
        self._given.pop(peer, None)

    @property
    def is_idle(self) -> bool:
        return False

    def next_upload(self, now: int) -> tuple[Peer, Upload] | None:
        asked = super().next_upload(now)
        window = self.window
        if asked is not None or not self.gives or window is None or not self.peers:
            return asked
        peers = list(self.peers)
        for _ in range(min(TRIES, len(peers))):
            peer = self.rng.choice(peers)
            if peer.connection.backlog_bytes >= BACKLOG_BYTES_MAX:
                continue
            index = self._latest_useful(peer, window)
            if index is not None:
                self._order += 1
                return peer, Upload(Urgency.ASKED, now + 2 * SECOND, self._order, index, now)
        return None

    def _latest_useful(self, peer: Peer, window: LiveWindow) -> int | None:
        given = self._given.setdefault(peer, SlidingBitfield())
        start = max(window.first, window.newest - LATEST + 1)
        theirs = peer.held.bits_from(start) | given.bits_from(start)
        useful = window.held.bits_from(start) & ~theirs
        if useful <= 0:
            return None
        index = start + useful.bit_length() - 1
        given.add(index)
        return index
