"""Watches a channel: node, playout clock, and the outputs that show it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

from livestream.config import LiveConfig, SwarmConfig, Transport
from livestream.discovery.link import ChannelLink
from livestream.errors import NotFoundError
from livestream.live.channel import Channel, ChannelEnded, EpochStarted, PieceVerified
from livestream.machine import MILLISECOND, SECOND, Address, Event
from livestream.media.sample import Track
from livestream.runtime.address import resolve
from livestream.runtime.clock import Clock
from livestream.runtime.keys import new_identity
from livestream.runtime.sockets import NodeDriver, check_transport
from livestream.swarm.node import Node
from livestream.swarm.peer import Peer
from livestream.swarm.swarm import transports_used
from viewer.arrivals import Arrivals
from viewer.latency import Latency
from viewer.outputs import Outputs
from viewer.playout import PieceMissed, Playout, PlayoutEnded, SamplesReleased

__all__ = ["Session", "SessionOptions", "SessionStats"]

STALL_US: Final = 300_000  # A picture that is late by less is no stall to speak of.
SILENT_MS: Final = 2_500  # A head comes each second, over a hop or a few.
LOOK_S: Final = 0.5  # How often it is looked at whether the publisher is still there.
OFF_AIR_S: Final = 300.0  # A viewer waits so long for its publisher to come back.
# Players go by the time stamps in the stream: so late a sample may be released if that saves a
# wake-up, which costs more than the sample does.
GRACE_US: Final = 10 * MILLISECOND
DRAIN_US: Final = 3 * SECOND  # After the publisher's last word, what is missing will not come.


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How to watch."""

    link: ChannelLink
    latency_us: int | None = None
    "How far behind the capture at least; None: as near as pieces come in time."
    listen: Address | None = None
    upload_bps: int | None = None
    peers: tuple[Address, ...] = ()
    timeout_s: float = 30.0
    transport: Transport | None = None
    "The only one to use; None: QUIC, and TCP where that does not get through."


SessionStats = dict[str, float | int | str]


class Session:
    """One channel being watched, from the first call to the last sample.

    Invariant: samples reach `outputs` in order of release, each epoch after the one before.
    """

    def __init__(self, options: SessionOptions) -> None:
        self.options = options
        self.outputs = Outputs()
        self.clock = Clock()
        self.started = asyncio.Event()
        "Set with the first sample."
        self.ended = asyncio.Event()
        identity = new_identity()
        rng = SystemRandom()
        swarm = SwarmConfig(upload_bps=options.upload_bps, transport=options.transport)
        self._latency = Latency(options.latency_us)
        self.channel = Channel(
            options.link.public_key,
            identity.public_key,
            self.clock.unix_offset_us,
            rng,
            live=LiveConfig(latency_us=self._latency.target_us),
            swarm=swarm,
        )
        self.node = Node(identity, rng, swarm=swarm)
        check_transport(self.node, options.transport)
        self.driver = NodeDriver(self.node, self.clock, self._on_event, on_turn=self._on_turn)
        self._playout: Playout | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: int | None = None
        self._arrivals = Arrivals()
        self._opened_at = 0
        self._start_us = 0
        self._late_before = 0
        self._released_at = 0
        self._lag_us = 0
        self._captured_at = 0
        self._ended_at: int | None = None
        self._wire_before = (0, 0)
        self.rates_bps = (0, 0)

    async def open(self) -> None:
        """Go on the network."""
        listen = self.options.listen or Address("0.0.0.0", 0)  # noqa: S104 - peers are elsewhere.
        self.channel.swarm.listen_port = (await self.driver.open(listen)).port
        self._opened_at = now = self.clock.now()
        self.node.add_swarm(self.channel.swarm, now)
        roots = [resolve(address) for address in (*self.options.link.peers, *self.options.peers)]
        self.node.add_candidates(self.channel.swarm.info_hash, roots, now, is_root=True)
        self.driver.drain()

    def learn_peers(self, addresses: list[Address]) -> None:
        """Take addresses that a tracker gave."""
        self.node.add_candidates(self.channel.swarm.info_hash, addresses, self.clock.now())
        self.driver.drain()

    def close(self) -> None:
        """Say goodbye and leave."""
        if self._timer is not None:
            self._timer.cancel()
        now = self.clock.now()
        self.channel.say_goodbye()
        self.driver.drain()
        self.node.close("the viewer leaves", now)
        self.driver.drain()
        self.driver.close()
        self.outputs.end()

    async def wait_started(self) -> None:
        """Wait for the picture. Raises NotFoundError when the time-out passes without one."""
        try:
            await asyncio.wait_for(self.started.wait(), self.options.timeout_s)
        except TimeoutError:
            raise NotFoundError(self._why_not_found()) from None

    async def wait_ended(self) -> None:
        """Wait for the end. Raises NotFoundError when the publisher stays away."""
        while not self.ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), LOOK_S)
            now = self.clock.now()
            silent_us = now - self._released_at
            if self._ended_at is not None and now - self._ended_at > DRAIN_US + self._latency_us:
                self._end()
            elif silent_us > OFF_AIR_S * SECOND:
                raise NotFoundError(
                    f"The channel has sent nothing for {OFF_AIR_S / 60:.0f} minutes. "
                    "Watch the same link again when its publisher is back."
                )

    def set_latency(self, latency_us: int) -> None:
        """Change how far behind the capture the picture is."""
        self._latency.ask(latency_us)
        self._follow_latency(self.clock.now())

    # Queries

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks of the channel; empty before it is found."""
        return self.outputs.tracks

    @property
    def _latency_us(self) -> int:
        return self.channel.config.latency_us

    def stats(self) -> SessionStats:
        """Return the counters of `--stats`."""
        now = self.clock.now()
        swarm = self.channel.swarm.stats
        playout = self._playout
        kept = max(swarm.kept_bytes, 1)
        return {
            "time": (now + self.clock.unix_offset_us) / 1e6,
            "lag_s": round(self._lag_now_us(now) / 1e6, 3),
            "delivery_lag_s": round(self._arrivals.age_us / 1e6, 3),
            "start_s": round(self._start_us / 1e6, 3),
            "buffer_s": round(playout.buffer_us / 1e6, 3) if playout else 0.0,
            "down_bps": self.rates_bps[0],
            "up_bps": self.rates_bps[1],
            "peers": len(self.channel.swarm.ready),
            "pieces_received": swarm.pieces_received,
            "pieces_late": self._late_before + (playout.pieces_late if playout else 0),
            "pieces_duplicate": swarm.pieces_duplicate,
            "pieces_rejected": swarm.pieces_rejected,
            "publisher_share": round(swarm.source_bytes / kept, 4),
            "control_bytes": self.channel.control_bytes,
            "payload_bytes": swarm.payload_bytes,
            "transport": transports_used(self.channel.swarm.ready),
            "feeders": len(self._feeders()),
            "children": self.channel.choker.used_slots,
            "depth": self._depth(),
        }

    def _feeders(self) -> set[Peer]:
        """Return who feeds us, in whichever substreams."""
        substreams = self.channel.head.substreams if self.channel.head else 0
        found = {self.channel.feeders.feeder(number) for number in range(substreams)}
        return {feeder for feeder in found if feeder is not None}

    def _depth(self) -> int:
        """Return over how many links the substream comes that has most; 0: nobody feeds us."""
        substreams = self.channel.head.substreams if self.channel.head else 0
        paths = [self.channel.feeders.path(number) for number in range(substreams)]
        return max((len(path) - 1 for path in paths if path), default=0)

    def _lag_now_us(self, now: int) -> int:
        """How old the picture is: while it stands still, it ages."""
        is_stalled = self._playout is not None and now - self._released_at >= STALL_US
        return now - self._captured_at if is_stalled and self._released_at else self._lag_us

    def why(self) -> str:
        """Return why the picture stands still; empty when it moves."""
        now = self.clock.now()
        if not self.channel.swarm.ready:
            return "no peers: nobody of this channel answers"
        if self.channel.head is None:
            return "peers found, waiting for the channel's head"
        is_moving = self._playout is None or now - self._released_at < STALL_US
        if is_moving or self._ended_at is not None:
            return ""
        head_age_ms = self.channel.clock.unix_ms(now) - self.channel.head.time_ms
        if head_age_ms > SILENT_MS:
            return f"the publisher has been silent for {head_age_ms // 1000} s"
        return "pieces come too slowly: a neighbour's uplink, or this downlink, is too narrow"

    def measure_rates(self) -> None:
        """Take the wire rates of the last second, and how old pieces were. Call once a second."""
        self._arrivals.end_second()
        down, up = self.driver.bytes_in, self.driver.bytes_out
        self.rates_bps = (8 * (down - self._wire_before[0]), 8 * (up - self._wire_before[1]))
        self._wire_before = (down, up)

    def peers(self) -> list[dict[str, str | int | float]]:
        """Return a row for every peer."""
        now = self.clock.now()
        feeders = self.channel.feeders
        substreams = self.channel.head.substreams if self.channel.head else 0
        rows: list[dict[str, str | int | float]] = []
        for peer in self.channel.swarm.ready:
            feeds = sum(feeders.feeder(number) is peer for number in range(substreams))
            fed = sum(peer in self.channel.choker.children(number) for number in range(substreams))
            roles = ["publisher"] if peer in self.channel.swarm.source_peers else []
            roles += [f"feeds me {feeds}"] if feeds else []
            roles += [f"fed by me {fed}"] if fed else []
            rows.append(
                {
                    "address": str(peer.address),
                    "client": peer.client,
                    "transport": peer.connection.transport.value,
                    "rtt_ms": round(peer.connection.rtt_us / 1000, 1),
                    "down_bps": int(8 * peer.down.bytes_per_second(now)),
                    "up_bps": int(8 * peer.up.bytes_per_second(now)),
                    "roles": ", ".join(roles),
                }
            )
        return rows

    # Events

    def _on_event(self, event: Event) -> None:
        if isinstance(event, PieceVerified):
            self._arrivals.note_piece(event.received_at - event.captured_at)
            if self._playout is not None:
                piece = event.piece
                self._playout.receive(
                    piece.index, piece.payload, event.captured_at, event.received_at
                )
                self._drive_playout(event.received_at)
                lag_us = event.received_at - event.captured_at
                late = self._playout.pieces_late
                if self._latency.note_piece(lag_us, late, event.received_at):
                    self._follow_latency(event.received_at)
        elif isinstance(event, EpochStarted):
            if self._playout is not None:
                self._late_before += self._playout.pieces_late
            self._ended_at = None
            self._latency.restart()
            self._playout = Playout(
                self._latency.target_us, event.first_index, event.head.tracks, self._wait
            )
            self.outputs.start(event.head.tracks)
        elif isinstance(event, ChannelEnded):
            self._ended_at = self.clock.now()

    def _wait(self, still_us: int | None) -> int:
        """Something is not there when it is due: play a little later, if that is likely to help."""
        latency_us = self._latency.wait(still_us)
        self.channel.set_latency(latency_us)
        return latency_us

    def _follow_latency(self, now: int) -> None:
        self.channel.set_latency(self._latency.target_us)
        if self._playout is not None:
            self._playout.set_latency(self._latency.target_us)
            self._drive_playout(now)

    def _drive_playout(self, now: int) -> None:
        playout = self._playout
        if playout is None:
            return
        playout.handle_timer(now)
        while (event := playout.next_event()) is not None:
            if isinstance(event, SamplesReleased):
                self._released_at = now
                self._lag_us = now - event.captured_at
                self._captured_at = event.captured_at
                self.outputs.write(event.samples)
                if event.samples and not self.started.is_set():
                    self._start_us = now - self._opened_at
                    self.started.set()
            elif isinstance(event, PieceMissed):
                self.channel.skip(event.index)
            elif isinstance(event, PlayoutEnded):
                self._end()
        timer = playout.get_timer()
        if timer == self._timer_at:
            return
        self._timer_at = timer
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if timer is not None:
            # uvloop would make nothing of half a millisecond, and wake us in vain until it is over.
            delay_s = max(0, -(-(timer + GRACE_US - now) // MILLISECOND)) / 1e3
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_turn(self) -> None:
        """The network woke us: what is due is released without a wake-up of its own."""
        if self._timer_at is not None and self._timer_at <= (now := self.clock.now()):
            self._drive_playout(now)

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        self._drive_playout(self.clock.now())

    def _end(self) -> None:
        self.outputs.end()
        self.ended.set()

    def _why_not_found(self) -> str:
        seconds = self.options.timeout_s
        stale_ms = self.channel.stale_head_ms
        if stale_ms:
            return (
                f"The channel is off the air: its newest sign of life is {stale_ms // 1000} s old. "
                "Ask its publisher, and check that this machine's clock is right."
            )
        if not self.channel.swarm.ready:
            return (
                f"Nobody of this channel answered within {seconds:.0f} s. Is the publisher on the "
                "air, is the link complete, and does its port pass the firewalls, UDP or TCP?"
            )
        return (
            f"Peers answered, but no picture came within {seconds:.0f} s. "
            "Try again, with a larger --timeout on a slow link."
        )
