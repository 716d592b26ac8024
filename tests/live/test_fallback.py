"""Where UDP is dropped without a sign, a channel goes on over TCP, by itself and soon."""

from __future__ import annotations

import itertools
from random import Random

from livestream.config import SwarmConfig, Transport
from livestream.live.channel import Channel, PieceVerified
from livestream.live.head import Head
from livestream.live.piece import LivePiece
from livestream.machine import MILLISECOND, SECOND, Address
from livestream.media.records import NO_RECORD, Payload, PayloadFlags
from livestream.swarm.candidates import BETTER_AFTER_US
from livestream.swarm.node import Node
from livestream.swarm.swarm import PeerLeft, transports_used
from tests.internet import Internet
from tests.live.test_channel import PAYLOAD, PIECE_US, SIGNER, TRACK, UNIX_OFFSET_US
from tests.transport.identity import identity
from tests.world import Link

PORT = 4000


class Station:
    """One node with its channel, on an internet with streams."""

    def __init__(
        self,
        world: Internet,
        number: int,
        *,
        transport: Transport | None = None,
        upload_bps: int | None = None,
    ) -> None:
        self.address = Address(f"192.0.2.{number}", PORT)
        self.received: dict[int, int] = {}
        "Index to when it came."
        self.left: list[str] = []
        self.is_source = number == 1
        rng, me = Random(number), identity(number)
        config = SwarmConfig(transport=transport, upload_bps=upload_bps)
        self.channel = Channel(
            SIGNER.public_key,
            me.public_key,
            UNIX_OFFSET_US,
            rng,
            swarm=config,
            is_source=self.is_source,
        )
        self.channel.swarm.listen_port = PORT
        self.node = Node(me, rng, swarm=config)
        self.node.add_swarm(self.channel.swarm, world.now)
        world.add_node(self.address, self.node)

    @property
    def transports(self) -> str:
        return transports_used(self.channel.swarm.ready)

    def collect(self) -> None:
        """Take events."""
        while (event := self.node.next_event()) is not None:
            if isinstance(event, PieceVerified):
                self.received[event.piece.index] = event.received_at
            elif isinstance(event, PeerLeft):
                self.left.append(event.reason)


class Air:
    """A publisher that cuts a piece every 25 ms, and viewers that know its address."""

    def __init__(self, seed: int = 1, *, delay_us: int = 20 * MILLISECOND) -> None:
        self.world = Internet(seed, Link(delay_us=delay_us))
        self.stations: list[Station] = []
        self.next_index = 0
        self.published_at: list[int] = []

    def add(self, *, transport: Transport | None = None, upload_bps: int | None = None) -> Station:
        """Add the publisher, then viewers of it."""
        number = len(self.stations) + 1
        station = Station(self.world, number, transport=transport, upload_bps=upload_bps)
        self.stations.append(station)
        if not station.is_source:
            roots = [self.stations[0].address]
            info_hash = station.channel.swarm.info_hash
            station.node.add_candidates(info_hash, roots, self.world.now, is_root=True)
        return station

    def run(self, seconds: float) -> None:
        """Send for some virtual seconds."""
        end = self.world.now + int(seconds * SECOND)
        while self.world.now < end:
            if self.next_index % 40 == 0:
                self._head()
            self._piece()
            self.world.run_until(self.world.now + PIECE_US, self._collect)

    def _collect(self) -> None:
        for station in self.stations:
            station.collect()

    def _piece(self) -> None:
        captured_ms = (self.world.now + UNIX_OFFSET_US) // MILLISECOND
        flags = PayloadFlags.KEYFRAME if self.next_index % 40 == 0 else PayloadFlags(0)
        payload = Payload(captured_ms, flags, NO_RECORD, PAYLOAD)
        piece = LivePiece.sign(SIGNER, 7, self.next_index, payload)
        self.next_index += 1
        self.published_at.append(self.world.now)
        self.stations[0].channel.publish(piece, self.world.now)

    def _head(self) -> None:
        channel = self.stations[0].channel
        head = Head(
            epoch=7,
            time_ms=(self.world.now + UNIX_OFFSET_US) // MILLISECOND,
            first_index=channel.window.first,
            newest_index=self.next_index - 1,
            payload_bytes_max=4096,
            substreams=8,
            rate_bps=1_280_000,
            is_ended=False,
            name="test",
            keyframes=tuple(channel.window.keyframes),
            tracks=(TRACK,),
        )
        channel.set_head(head, head.sign(SIGNER), self.world.now)


def gaps_us(station: Station, since: int) -> int:
    """Return the longest time without a piece since a moment."""
    times = [since, *sorted(at for at in station.received.values() if at >= since)]
    return max(after - before for before, after in itertools.pairwise(times))


def test_where_udp_gets_through_it_is_used_and_tcp_is_not_even_tried() -> None:
    air = Air()
    air.add()
    viewer = air.add()
    air.run(5)
    assert viewer.transports == "quic"
    assert sum(air.world.bytes_by_stream.values()) == 0
    assert len(viewer.received) > 100


def test_a_viewer_whose_udp_is_dropped_plays_over_tcp_within_five_seconds() -> None:
    for seed in range(3):
        air = Air(seed, delay_us=100 * MILLISECOND)
        air.add()
        began_at = air.world.now
        viewer = air.add()
        air.world.block_udp(viewer.address)
        air.run(6)
        assert viewer.transports == "tcp"
        assert min(viewer.received.values()) - began_at < 2 * SECOND
        in_time = [at for at in viewer.received.values() if at - began_at < 5 * SECOND]
        assert len(in_time) > 80, f"seed {seed}"
        assert viewer.left == []


def test_when_udp_is_blocked_midway_the_viewer_goes_on_over_tcp_within_four_seconds() -> None:
    for delay_ms, seconds in itertools.product((5, 150), (4, 4.4)):
        air = Air(delay_us=delay_ms * MILLISECOND)
        air.add()
        viewer = air.add()
        air.run(seconds)
        assert viewer.transports == "quic"
        blocked_at = air.world.now
        air.world.block_udp(viewer.address)
        air.run(8)
        assert viewer.transports == "tcp"
        assert gaps_us(viewer, blocked_at) < 4 * SECOND, f"{delay_ms} ms, {seconds} s"
        assert len(air.stations[0].channel.swarm.ready) == 1
        newest = air.next_index - 45
        assert all(index in viewer.received for index in range(newest - 80, newest))


def test_short_outages_end_no_session_and_longer_ones_change_the_transport_once() -> None:
    for outage_s, left in ((1.0, []), (3.0, ["connected twice"])):
        air = Air()
        air.add()
        viewer = air.add()
        air.run(6)
        for _ in range(3):
            air.world.block_udp(viewer.address)
            air.run(outage_s)
            air.world.block_udp(viewer.address, is_blocked=False)
            air.run(4)
        assert viewer.left == left


def test_when_udp_gets_through_again_the_viewer_goes_back_to_quic_and_misses_nothing() -> None:
    air = Air()
    air.add()
    viewer = air.add()
    air.world.block_udp(viewer.address)
    air.run(2 + BETTER_AFTER_US / SECOND)  # A minute later UDP is tried, in vain.
    assert viewer.transports == "tcp"
    air.world.block_udp(viewer.address, is_blocked=False)
    air.run(2 + BETTER_AFTER_US / SECOND)
    assert viewer.transports == "quic"
    assert viewer.left == ["connected twice"]
    newest = air.next_index - 45
    late = [
        index
        for index in range(200, newest)
        if viewer.received.get(index, 1 << 62) - air.published_at[index] > SECOND
    ]
    assert late == []


def test_viewers_over_tcp_feed_each_other_and_are_told_apart() -> None:
    """Nothing proves who they are; paths must still not run in circles."""
    air = Air()
    source = air.add(transport=Transport.TCP, upload_bps=3_000_000)
    viewers = [air.add(transport=Transport.TCP) for _ in range(4)]
    air.run(12)
    ids = {peer.node_id for peer in source.channel.swarm.ready}
    assert ids == {viewer.channel.swarm.node_id for viewer in viewers}
    newest = air.next_index - 45
    for viewer in viewers:
        assert viewer.transports == "tcp"
        assert all(index in viewer.received for index in range(newest - 160, newest))
    kept = sum(viewer.channel.swarm.stats.kept_bytes for viewer in viewers)
    from_source = sum(viewer.channel.swarm.stats.source_bytes for viewer in viewers)
    assert from_source / kept < 0.8


def test_a_cap_on_the_upload_counts_what_goes_over_tcp() -> None:
    """The publisher feeds every substream, whatever the cap: 1.3 Mbit/s, where it may give one."""
    air = Air()
    cap_bps = 1_000_000
    source = air.add(transport=Transport.TCP, upload_bps=cap_bps)
    for _ in range(4):
        air.add(transport=Transport.TCP)
    air.run(3)
    before = air.world.bytes_by_stream[source.address]
    air.run(10)
    sent = air.world.bytes_by_stream[source.address] - before
    burst = cap_bps / 8 / 2
    assert 0.8 * 10 * cap_bps / 8 < sent < 10 * cap_bps / 8 + burst


def test_a_viewer_that_may_only_use_quic_does_not_fall_back() -> None:
    air = Air()
    air.add()
    viewer = air.add(transport=Transport.QUIC)
    air.world.block_udp(viewer.address)
    air.run(8)
    assert viewer.received == {}
    assert sum(air.world.bytes_by_stream.values()) == 0


def test_a_publisher_that_takes_only_tcp_is_found_by_viewers_that_begin_with_quic() -> None:
    air = Air()
    air.add(transport=Transport.TCP)
    viewer = air.add()
    air.run(3)
    assert viewer.transports == "tcp"
    assert len(viewer.received) > 60
