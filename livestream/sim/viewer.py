"""A viewer without a screen: channel, node and the real playout clock, and what it went through."""

from __future__ import annotations

from array import array
from random import Random
from typing import Final

from livestream.config import LiveConfig, SwarmConfig
from livestream.live.channel import Channel, EpochStarted, PieceVerified
from livestream.machine import SECOND, Event
from livestream.sim.host import Host
from livestream.sim.ledger import Ledger
from livestream.sim.parts import SimParts
from livestream.sim.world import Occurrence
from livestream.swarm.node import Node
from viewer.latency import Latency
from viewer.playout import PieceMissed, Playout, SamplesReleased

__all__ = ["UNIX_OFFSET_US", "Viewer", "make_node"]

SETTLING_US: Final = SECOND // 20  # After the deadline: whatever is due has been released by then.
UNIX_OFFSET_US: Final = 1_700_000_000 * SECOND  # What Unix time is at world time 0.


def make_node(host: Host, rng: Random, channel: Channel) -> Node:
    """Return a node for a host that takes part in one channel; it knows what its line carries."""
    node = Node(host.identity, rng, swarm=channel.swarm.config, diallers=host.diallers)
    channel.swarm.listen_port = host.address.port
    node.add_swarm(channel.swarm, host.world.now)
    return node


class Viewer:
    """Watches, and passes on.

    Invariant: what `lags_us` holds was released to the decoder, in the order of release.
    """

    def __init__(
        self,
        host: Host,
        ledger: Ledger,
        config: LiveConfig,
        parts: SimParts,
        rng: Random,
        *,
        latency: Latency,
        upload_bps: int,
        skew_us: int = 0,
        is_slow: bool = False,
    ) -> None:
        self.host = host
        self.is_slow = is_slow
        "Its line cannot carry the channel."
        self.joined_at = host.world.now
        self.started_at: int | None = None
        "When the first sample was released."
        self.left_at: int | None = None
        self.first_index = 0
        "The first piece of the present epoch that was released."
        self.lags_us = array("I")
        "Of each release to the decoder: how long ago it was captured, in truth."
        self.delivery_lags_us = array("I")
        "The same of each piece's arrival."
        self.delivery_hops = array("B")
        "Beside each of them: how many links from the publisher it was fed along; 0: not fed."
        self.bad_pieces_shown = 0
        self.late_before = 0
        "Pieces of earlier epochs that were late..."
        self.due_before = 0
        "...of so many that were due."
        self._ledger = ledger
        self.skew_us = skew_us
        "How far its Unix clock is ahead, in truth."
        self.channel = Channel(
            ledger.public_key,
            host.public_key,
            UNIX_OFFSET_US + skew_us,
            rng,
            live=config,
            swarm=SwarmConfig(upload_bps=upload_bps, transport=host.transport),
            parts=parts,
        )
        parts.adopt(self.channel)
        self.node = make_node(host, rng, self.channel)
        self.playout: Playout | None = None
        self.latency = latency
        self._plays_at: int | None = None
        self.on_time: dict[int, int] = {}
        "Pieces that were there at their deadline, by the second of their capture."
        self.last_piece_at = self.joined_at
        host.run(self.node, self._on_event)

    # Queries

    @property
    def epoch(self) -> int | None:
        """Which run of the publisher it watches."""
        return self.channel.window.epoch

    def due(self, now: int) -> tuple[int, int]:
        """Return the pieces of the present epoch that were due while it watched: first, end."""
        if self.playout is None or self.started_at is None or self.epoch is None:
            return 0, 0
        until = self.left_at if self.left_at is not None else now
        due_us = self.channel.config.latency_us + SETTLING_US
        end = self._ledger.end_captured_by(self.epoch, until - due_us)
        return self.first_index, max(end, self.first_index)

    def late(self, now: int) -> int:
        """Return how many pieces of the present epoch were not there when they were due."""
        if self.playout is None:
            return 0
        _, end = self.due(now)
        return self.playout.pieces_late + max(0, end - self.playout.next_index)

    def forget_figures(self, now: int) -> None:
        """Begin the figures anew: what was until now is warming up."""
        first, end = self.due(now)
        self.due_before = -(end - first)
        self.late_before = -min(self.late(now), end - first)
        self.lags_us = array("I")
        self.delivery_lags_us = array("I")
        self.delivery_hops = array("B")

    def leave(self, now: int, *, says_goodbye: bool) -> None:
        """Go, with a word or without."""
        self.left_at = now
        if says_goodbye:
            self.channel.say_goodbye()
            self.host.settle(now)
            self.node.close("the viewer leaves", now)
            self.host.settle(now)
        self.host.crash()

    def play(self, at: int, now: int) -> None:
        """The playout's timer."""
        if self._plays_at != at or self.left_at is not None:
            return
        self._plays_at = None
        if self.playout is not None:
            self.playout.handle_timer(now)
            self._drain(self.playout, now)

    # Helpers

    def _on_event(self, event: Event, now: int) -> None:
        if isinstance(event, PieceVerified):
            self._on_piece(event, now)
        elif isinstance(event, EpochStarted):
            self._begin(event)

    def _begin(self, event: EpochStarted) -> None:
        if self.playout is not None:
            due = max(self.playout.next_index - self.first_index, 0)
            self.due_before += due
            self.late_before += min(self.playout.pieces_late, due)
        latency_us = self.channel.config.latency_us
        self.playout = Playout(latency_us, event.first_index, event.head.tracks, self._wait)
        self.latency.restart()
        self.first_index = event.first_index

    def _on_piece(self, event: PieceVerified, now: int) -> None:
        piece = event.piece
        known = self._ledger.find(piece.epoch, piece.index)
        if known is None or known.data != piece.payload.data:
            self.bad_pieces_shown += 1
            return
        self.last_piece_at = now
        lag_us = now - known.captured_at
        self.delivery_lags_us.append(lag_us)
        head = self.channel.head
        path = self.channel.feeders.path(piece.index % head.substreams) if head is not None else ()
        self.delivery_hops.append(max(len(path) - 1, 0))
        if lag_us <= self.channel.config.latency_us:
            second = known.captured_at // SECOND
            self.on_time[second] = self.on_time.get(second, 0) + 1
        if self.playout is not None:
            self.playout.receive(piece.index, piece.payload, event.captured_at, now)
            self._drain(self.playout, now)
            seen_us = now - event.captured_at
            if self.latency.note_piece(seen_us, self.playout.pieces_late, now):
                self.channel.set_latency(self.latency.target_us)
                self.playout.set_latency(self.latency.target_us)
                self._drain(self.playout, now)

    def _wait(self, still_us: int | None) -> int:
        latency_us = self.latency.wait(still_us)
        self.channel.set_latency(latency_us)
        return latency_us

    def _drain(self, playout: Playout, now: int) -> None:
        while (event := playout.next_event()) is not None:
            if isinstance(event, SamplesReleased):
                if self.started_at is None:
                    self.started_at = now
                    self.first_index = max(self.first_index, playout.next_index - 1)
                captured_at = event.captured_at + self.skew_us - self.channel.clock.skew_us
                self.lags_us.append(max(0, now - captured_at))
            elif isinstance(event, PieceMissed):
                self.channel.skip(event.index)
        at = playout.get_timer()
        if at is not None and (self._plays_at is None or at < self._plays_at):
            self._plays_at = max(at, now + 1)
            self.host.world.plan(self._plays_at, _Play(self, self._plays_at))


class _Play(Occurrence):
    __slots__ = ("_at", "_viewer")

    def __init__(self, viewer: Viewer, at: int) -> None:
        self._viewer = viewer
        self._at = at

    def happen(self, now: int) -> None:
        self._viewer.play(self._at, now)
