"""What must never happen, looked for after each step: every violation ends the run (`Checks`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from livestream.errors import UserError
from livestream.live.picker import URGENT_US
from livestream.live.window import WINDOW_BYTES_MAX
from livestream.machine import MILLISECOND, SECOND
from livestream.swarm.candidates import CANDIDATES_MAX
from livestream.swarm.uploads import BACKLOG_BYTES_MAX, QUEUE_MAX
from livestream.wire.messages import Piece, Request

if TYPE_CHECKING:
    from livestream.live.channel import Channel
    from livestream.sim.host import Host
    from livestream.sim.simulation import Simulation
    from livestream.sim.viewer import Viewer

__all__ = ["CheckError", "Checks"]

PIECE_HEADER_BYTES: Final = 9  # Id, index, begin (BEP 3).
# One piece more than the mark below which a connection takes another, and what is said beside.
CONNECTION_BACKLOG_MAX: Final = BACKLOG_BYTES_MAX + 16 * 1024 + 64 * 1024
REPAIR_LOOK_US: Final = SECOND  # How often it is looked at whether those that miss ask.
REPAIR_PATIENCE: Final = 3  # So many looks in a row without a request.
OVERDUE_US: Final = 700 * MILLISECOND  # More than any grace that the picker gives a push.
MISSED_MIN: Final = 5  # Fewer may come by themselves.
STARVED_US: Final = 3 * SECOND
SETTLED_US: Final = 10 * SECOND  # Who came later than this before the end is still finding peers.


class CheckError(UserError):
    """A run broke a rule that holds whatever the scenario."""


class Checks:
    """Looks at the whole swarm, and at every message that leaves a host.

    Invariant: it changes nothing, and takes nothing from chance: runs are the same without it.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._repair_at = simulation.world.now + REPAIR_LOOK_US
        self._requests: dict[int, int] = {}
        self._requests_before: dict[int, int] = {}
        self._silent_looks: dict[int, int] = {}

    # Each message

    def on_sent(self, host: Host, message: bytes) -> None:
        """A host gives a message to its uplink. Raises CheckError."""
        kind = message[0]
        if kind == Request.ID:
            self._requests[host.number] = self._requests.get(host.number, 0) + 1
        elif kind == Piece.ID and not host.role.is_attacker:
            _, genuine = self._simulation.notary.piece(message[PIECE_HEADER_BYTES:])
            if genuine is None:
                index = int.from_bytes(message[1:5], "big")
                self._fail(f"host {host.number} forwards piece {index}, which is forged")

    # Each step

    def look(self, now: int) -> None:
        """Look at everybody. Raises CheckError."""
        simulation = self._simulation
        self._check_bounds(simulation.publisher, simulation.channel)
        for viewer in simulation.present.values():
            self._check_bounds(viewer.host, viewer.channel)
            if viewer.bad_pieces_shown:
                self._fail(f"viewer {viewer.host.number} was shown a piece that nobody published")
        if self._simulation.internet.sees_messages and now >= self._repair_at:
            self._repair_at = now + REPAIR_LOOK_US
            for viewer in self._watchers():
                self._check_repair(viewer, now)
            self._requests_before = dict(self._requests)

    def look_at_the_end(self, now: int) -> None:
        """All that were there long enough must still be fed. Raises CheckError."""
        simulation = self._simulation
        if now - simulation.published_at > SECOND or now - simulation.on_air_at < SETTLED_US:
            return  # The publisher is off the air, or was until lately: it has yet to be found.
        for viewer in self._watchers():
            is_settled = now - viewer.joined_at > SETTLED_US
            if is_settled and not viewer.is_slow and now - viewer.last_piece_at > STARVED_US:
                silent_s = (now - viewer.last_piece_at) / SECOND
                self._fail(f"viewer {viewer.host.number} starves: nothing for {silent_s:.1f} s")

    # Helpers

    def _watchers(self) -> list[Viewer]:
        """Return those who are there now, but for attackers: who is found out is fed by nobody."""
        present = self._simulation.present.values()
        return [viewer for viewer in present if not viewer.host.role.is_attacker]

    def _check_bounds(self, host: Host, channel: Channel) -> None:
        swarm, number = channel.swarm, host.number
        for peer in swarm.ready:
            if swarm.uploads.length(peer) > QUEUE_MAX:
                waiting = swarm.uploads.length(peer)
                self._fail(f"host {number} queues {waiting} pieces for one peer")
            if peer.connection.backlog_bytes > CONNECTION_BACKLOG_MAX:
                backlog = peer.connection.backlog_bytes
                self._fail(f"host {number} has {backlog} bytes waiting in one connection")
        if len(swarm.peers) > swarm.config.peers_max + swarm.config.neighbours_wanted:
            self._fail(f"host {number} has {len(swarm.peers)} peers")
        if len(swarm.candidates) > CANDIDATES_MAX:
            self._fail(f"host {number} remembers {len(swarm.candidates)} addresses")
        if channel.window.size_bytes > WINDOW_BYTES_MAX:
            self._fail(f"host {number} keeps {channel.window.size_bytes} bytes of pieces")

    def _check_repair(self, viewer: Viewer, now: int) -> None:
        """Who misses what its neighbours hold must ask for it."""
        number = viewer.host.number
        asked = self._requests.get(number, 0) - self._requests_before.get(number, 0)
        waits = any(peer.requests_out for peer in viewer.channel.swarm.ready)
        misses = viewer.started_at is not None and self._misses(viewer, now) >= MISSED_MIN
        if asked or waits or not misses:
            self._silent_looks[number] = 0
            return
        self._silent_looks[number] = self._silent_looks.get(number, 0) + 1
        if self._silent_looks[number] >= REPAIR_PATIENCE:
            self._fail(f"viewer {number} misses pieces that its neighbours hold, and does not ask")

    def _misses(self, viewer: Viewer, now: int) -> int:
        """Count what is due to be asked for, not yet past its deadline, and held by a neighbour."""
        epoch, window = viewer.epoch, viewer.channel.window
        feeders = viewer.channel.feeders
        if epoch is None:
            return 0
        ledger = self._simulation.ledger
        latency_us = viewer.channel.config.latency_us
        first = ledger.end_captured_by(epoch, now - latency_us)
        end = ledger.end_captured_by(epoch, now - min(OVERDUE_US, latency_us * 3 // 4))
        # A push may come until shortly before the deadline, as old as it is by then.
        pushed_end = ledger.end_captured_by(epoch, now - latency_us + URGENT_US)
        return sum(
            not window.holds(index)
            and (index < pushed_end or not feeders.is_pushed(index))
            and any(peer.holds(index) for peer in viewer.channel.swarm.ready)
            for index in range(max(first, window.first), end)
        )

    def _fail(self, what: str) -> None:
        simulation = self._simulation
        seconds = (simulation.world.now - simulation.began_at) / SECOND
        raise CheckError(f"After {seconds:.2f} simulated seconds: {what}.")
