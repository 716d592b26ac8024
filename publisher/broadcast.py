"""Puts a source on the air: source, encoder, chunker, signer, node."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Final

from livestream.config import LiveConfig, SwarmConfig, Transport
from livestream.discovery.link import ChannelLink
from livestream.discovery.tracker import TrackerState
from livestream.errors import NetworkError
from livestream.live.channel import Channel
from livestream.live.head import HEAD_INTERVAL_US, KEYFRAMES_MAX, Head
from livestream.live.piece import LivePiece
from livestream.live.signing import Signer
from livestream.machine import Address, Event
from livestream.media.chunker import Chunker
from livestream.runtime.address import reachable_host
from livestream.runtime.channels import ChannelStore, StoredChannel
from livestream.runtime.clock import Clock
from livestream.runtime.keys import new_identity
from livestream.runtime.report import Report
from livestream.runtime.sockets import NodeDriver, check_transport
from livestream.runtime.tracker import HttpTracker
from livestream.swarm.node import Node
from livestream.swarm.swarm import transports_used
from publisher.feed import Feed, FeedOptions, open_feed

__all__ = ["BroadcastOptions", "run"]

TICK_S: Final = 0.01  # How often the chunker's timer and the head are looked at.
SMALL_PIECE_BYTES: Final = 4 * 1024
LARGE_PIECE_BYTES: Final = 8 * 1024
LARGE_FROM_BPS: Final = 1_500_000  # Below this, 8 KiB would take too long to fill.
LINGER_S: Final = 4.0  # After the end: viewers fetch what they still miss.
GOODBYE_S: Final = 1.0  # The same after Ctrl-C, when somebody waits for the prompt.


@dataclass(frozen=True, slots=True)
class BroadcastOptions:
    """What `livestream publish` was asked for."""

    source: str = "test"
    name: str = "live"
    key_file: str | None = None
    feed: FeedOptions = field(default_factory=FeedOptions)
    listen: Address | None = None
    upload_bps: int | None = None
    trackers: tuple[str, ...] = ()
    transport: Transport | None = None
    "The only one to use; None: whichever gets through."
    stats_file: str | None = None
    is_quiet: bool = False


class Broadcast:
    """One channel on the air, from its first piece to its last.

    Invariant: piece indexes count from 0 within an epoch, and no epoch is used twice.
    """

    def __init__(self, channel: Channel, signer: Signer, epoch: int, feed: Feed, name: str) -> None:
        self.channel = channel
        self.next_index = 0
        self._signer = signer
        self._epoch = epoch
        self._feed = feed
        self._name = name
        large = feed.rate_bps >= LARGE_FROM_BPS
        self._payload_bytes_max = LARGE_PIECE_BYTES if large else SMALL_PIECE_BYTES
        self._chunker = Chunker(self._payload_bytes_max)
        self._head_at = 0

    async def send(self, clock: Clock, driver: NodeDriver) -> None:
        """Send the source to its end, and say that it has ended."""
        self._tick(clock.now())
        ticking = asyncio.create_task(self._keep_ticking(clock, driver))
        try:
            async for captured in self._feed.samples():
                now = clock.now()
                self._chunker.add(captured.sample, captured.captured_ms, now)
                self._publish_payloads(now)
                driver.drain()
        finally:
            # However it ends, by Ctrl-C too: viewers play to the end, and do not wait for more.
            ticking.cancel()
            now = clock.now()
            self._chunker.finish(now)
            self._publish_payloads(now)
            self._sign_head(now, is_ended=True)
            driver.drain()

    async def _keep_ticking(self, clock: Clock, driver: NodeDriver) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tick(clock.now())
            driver.drain()

    def _tick(self, now: int) -> None:
        self._chunker.handle_timer(now)
        self._publish_payloads(now)
        if now >= self._head_at:
            self._head_at = now + HEAD_INTERVAL_US
            self._sign_head(now, is_ended=False)

    def _publish_payloads(self, now: int) -> None:
        while (payload := self._chunker.next_payload()) is not None:
            piece = LivePiece.sign(self._signer, self._epoch, self.next_index, payload)
            self.next_index += 1
            self.channel.publish(piece, now)

    def _sign_head(self, now: int, *, is_ended: bool) -> None:
        window = self.channel.window
        head = Head(
            epoch=self._epoch,
            time_ms=self.channel.clock.unix_ms(now),
            first_index=window.first,
            newest_index=self.next_index - 1,
            payload_bytes_max=self._payload_bytes_max,
            substreams=self.channel.config.substreams,
            rate_bps=self._feed.rate_bps,
            is_ended=is_ended,
            name=self._name,
            keyframes=tuple(window.keyframes)[-KEYFRAMES_MAX:],
            tracks=self._feed.tracks,
        )
        self.channel.set_head(head, head.sign(self._signer), now)


async def run(options: BroadcastOptions) -> int:
    """Publish until the source ends. Returns the exit code."""
    feed = await asyncio.to_thread(open_feed, options.source, options.feed)
    report = Report(options.stats_file, is_quiet=options.is_quiet)
    try:
        await _publish(feed, options, report)
    finally:
        feed.close()
        report.close()
    return 0


async def _publish(feed: Feed, options: BroadcastOptions, report: Report) -> None:
    store = ChannelStore()
    stored = store.open_or_create(options.name, options.key_file)
    clock = Clock()
    identity = new_identity()
    rng = SystemRandom()
    swarm = SwarmConfig(upload_bps=options.upload_bps, transport=options.transport)
    channel = Channel(
        stored.public_key,
        identity.public_key,
        clock.unix_offset_us,
        rng,
        live=LiveConfig(),
        swarm=swarm,
        is_source=True,
    )
    node = Node(identity, rng, swarm=swarm)
    check_transport(node, options.transport)
    node.add_swarm(channel.swarm, clock.now())
    tracker = HttpTracker(TrackerState(rng), clock.now)
    driver = NodeDriver(node, clock, _ignore, tracker.adopt)
    address = await _open_port(driver, options.listen, stored)
    channel.swarm.listen_port = address.port
    await tracker.start_without_port()
    store.save_port(stored, address.port)
    host = reachable_host(address.host)
    here = Address(host, address.port)
    link = ChannelLink(
        stored.public_key, options.name, (f"http://{here}/announce", *options.trackers), (here,)
    )
    sys.stdout.write(f"{link}\n")
    sys.stdout.flush()
    if options.upload_bps is not None and options.upload_bps < 1.15 * feed.rate_bps:
        report.say(
            f"--max-up {options.upload_bps / 1e6:.2f}M is hardly more than the stream's "
            f"{feed.rate_bps / 1e6:.2f}M: viewers will miss pieces. Give 1.15 times as much."
        )
    epoch = store.next_epoch(stored, int(time.time()))
    broadcast = Broadcast(channel, Signer(stored.private_key), epoch, feed, options.name)
    telling = asyncio.create_task(_tell(report, driver, channel, feed, clock))
    try:
        await _send_to_the_end(broadcast, clock, driver, report)
    finally:
        telling.cancel()
        node.close("the publisher leaves", clock.now())
        driver.drain()
        driver.close()
        await tracker.stop()


async def _send_to_the_end(
    broadcast: Broadcast, clock: Clock, driver: NodeDriver, report: Report
) -> None:
    """Send, say that it has ended, and stay for those who still fetch."""
    linger_s = LINGER_S
    try:
        await _until_failure(broadcast.send(clock, driver), driver)
        report.say("The source has ended; waiting for viewers to drain.")
    except asyncio.CancelledError:
        report.say("Going off the air.")
        linger_s = GOODBYE_S
        raise
    finally:
        await asyncio.sleep(linger_s if broadcast.channel.swarm.ready else 0)


async def _until_failure(work: object, driver: NodeDriver) -> None:
    """Await the work, but fail at once if the node's driver fails."""
    working = asyncio.ensure_future(work)  # type: ignore[call-overload]
    failing = asyncio.ensure_future(driver.failed())
    try:
        done, _ = await asyncio.wait((working, failing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        failing.cancel()
        await asyncio.gather(working, failing, return_exceptions=True)
    for task in done:
        task.result()


async def _open_port(driver: NodeDriver, listen: Address | None, stored: StoredChannel) -> Address:
    """Listen. A channel comes back on the port that it had, so that its links stay good."""
    if listen is not None and listen.port:
        return await driver.open(listen)
    host = listen.host if listen is not None else "0.0.0.0"  # noqa: S104 - viewers are elsewhere.
    if stored.port:
        with suppress(NetworkError):
            return await driver.open(Address(host, stored.port))
    return await driver.open(Address(host, 0))


async def _tell(
    report: Report, driver: NodeDriver, channel: Channel, feed: Feed, clock: Clock
) -> None:
    bytes_before = 0
    while True:
        await asyncio.sleep(1)
        stats = channel.swarm.stats
        up_bps = (driver.bytes_out - bytes_before) * 8
        bytes_before = driver.bytes_out
        peers = len(channel.swarm.ready)
        report.second(
            {
                "time": channel.clock.unix_ms(clock.now()) / 1000,
                "lag_s": 0.0,
                "up_bps": up_bps,
                "down_bps": 0,
                "rate_bps": feed.rate_bps,
                "peers": peers,
                "pieces_sent": sum(peer.stats.pieces_out for peer in channel.swarm.ready),
                "pieces_expired": channel.swarm.uploads.pieces_expired,
                "pieces_rejected": stats.pieces_rejected,
                "children": channel.choker.used_slots,
                "wire_bytes_out": driver.bytes_out,
                "control_bytes": channel.control_bytes,
                "transport": transports_used(channel.swarm.ready),
            },
            lambda up=up_bps, peers=peers: (  # type: ignore[misc]
                f"LIVE  in {feed.rate_bps / 1e6:.2f}M  out {up / 1e6:.2f}M  peers {peers}"
            ),
        )


def _ignore(event: Event) -> None:
    """A publisher has no picture to show: what its node reports is in its counters."""
