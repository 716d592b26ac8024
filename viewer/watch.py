"""The watch command: a session, and the page, player or file that it is for."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

from livestream.discovery.announce import Announcer
from livestream.discovery.tiers import make_tiers
from livestream.errors import UserError
from livestream.machine import Address
from livestream.media.sample import Track
from livestream.runtime.http import TrackerClient
from livestream.runtime.report import Report
from viewer.outlet import Outlet
from viewer.output import OutputFile
from viewer.players import start_player, stream_url
from viewer.remuxer import Container
from viewer.session import Session, SessionOptions
from viewer.web.channel import ChannelPage, ChannelView
from viewer.web.server import WebServer

__all__ = ["WatchOptions", "run"]

FILE_DRAIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What `livestream watch` was asked for."""

    session: SessionOptions
    player: str = "auto"
    output: str | None = None
    http: Address | None = None
    trackers: tuple[str, ...] = ()
    duration_s: float | None = None
    stats_file: str | None = None
    is_quiet: bool = False


class SessionView(ChannelView):
    """What the page may see of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def channel_id(self) -> str:
        """The channel's key in hex."""
        return self._session.options.link.public_key.hex()

    @property
    def name(self) -> str:
        """The channel's name."""
        head = self._session.channel.head
        return (head.name if head else "") or self._session.options.link.name

    @property
    def link(self) -> str:
        """What to give to friends."""
        return str(self._session.options.link)

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks of the channel; empty before it is found."""
        return self._session.tracks

    def outlet(self, container: Container) -> Outlet:
        """Return where the picture comes out in this container."""
        return self._session.outputs.outlet(container)

    def stats(self) -> Mapping[str, float | int | str]:
        """Return the counters of `--stats`, the target, and why the picture stands."""
        target_s = self._session.channel.config.latency_us / 1e6
        return {
            **self._session.stats(),
            "why": self._session.why(),
            "latency_target_s": target_s,
        }

    def peers(self) -> list[dict[str, str | int | float]]:
        """Return a row for every peer."""
        return self._session.peers()

    def set_latency(self, seconds: float) -> None:
        """Change the target."""
        self._session.set_latency(int(seconds * 1e6))


async def run(options: WatchOptions) -> int:
    """Watch until the channel ends, or for the time given. Returns the exit code."""
    report = Report(options.stats_file, is_quiet=options.is_quiet)
    session = Session(options.session)
    tasks: list[asyncio.Task[None]] = []
    server: WebServer | None = None
    player: Process | None = None
    try:
        await session.open()
        tasks.append(asyncio.create_task(_announce(session, options.trackers)))
        tasks.append(asyncio.create_task(_tell(session, report)))
        if options.output is None:
            server, player = await _serve(session, options, report)
        else:
            session.outputs.outlet(_container(options.output))
        await _watch(session, options, tasks, report)
    finally:
        for task in tasks:
            task.cancel()
        session.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        if player is not None and player.returncode is None:
            player.terminate()
        if server is not None:
            await server.stop()
        report.close()
    return 0


async def _watch(
    session: Session, options: WatchOptions, tasks: list[asyncio.Task[None]], report: Report
) -> None:
    writing: asyncio.Task[None] | None = None
    if options.output is not None:
        writing = asyncio.create_task(_write(session, options.output))
    failing = asyncio.ensure_future(session.driver.failed())
    try:
        await _first(failing, session.wait_started())
        latency_us = session.channel.config.latency_us
        report.say(f"Playing {latency_us / 1e6:.1f} s behind the capture.")
        watching = _first(failing, session.wait_ended(), writing)
        if options.duration_s is None:
            await watching
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(watching, options.duration_s)
    finally:
        failing.cancel()
        if writing is not None:
            session.outputs.end()
            with suppress(TimeoutError):
                await asyncio.wait_for(writing, FILE_DRAIN_S)


async def _first(*works: object) -> None:
    """Await the first of several to finish; its error is ours."""
    futures = [asyncio.ensure_future(work) for work in works if work is not None]  # type: ignore[call-overload]
    given = [work for work in works if isinstance(work, asyncio.Future)]
    try:
        done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            future.result()
    finally:
        for future in futures:
            if future not in given and not future.done():
                future.cancel()


async def _serve(
    session: Session, options: WatchOptions, report: Report
) -> tuple[WebServer, Process | None]:
    session.outputs.outlet(Container.MP4)
    http = options.http or Address("127.0.0.1", 7070)
    server = WebServer(
        ChannelPage(SessionView(session)),
        http.host,
        http.port,
        is_port_explicit=options.http is not None,
    )
    url = await server.start()
    report.say(f"Page: {url}")
    media_url = stream_url(url, session.options.link.public_key.hex())
    player = await start_player(options.player, url, media_url, is_live=True)
    if player is None and options.player == "auto":
        report.say("No display or player here: open the page in a browser.")
    return server, player


async def _announce(session: Session, trackers: tuple[str, ...]) -> None:
    urls = (*trackers, *session.options.link.trackers)
    port = session.driver.address.port
    swarm = session.channel.swarm

    def make(url: str) -> Announcer:
        is_trusted = url in trackers  # Links come from strangers.
        return Announcer(url, swarm.info_hash, swarm.peer_id, port, is_trusted=is_trusted)

    tiers = make_tiers([(url,) for url in urls], make, SystemRandom())
    await TrackerClient(tiers, session.clock, session.learn_peers).run()


async def _tell(session: Session, report: Report) -> None:
    while True:
        await asyncio.sleep(1)
        session.measure_rates()
        stats = session.stats()
        report.second(stats, lambda stats=stats: _line(session, stats))  # type: ignore[misc]


def _line(session: Session, stats: Mapping[str, float | int | str]) -> str:
    received = max(int(stats["pieces_received"]), 1)
    why = session.why()
    return (
        f"lag {stats['lag_s']} s  buffer {stats['buffer_s']} s  "
        f"down {int(stats['down_bps']) / 1e6:.2f}M  up {int(stats['up_bps']) / 1e6:.2f}M  "
        f"peers {stats['peers']} ({stats['feeders']} feed me, depth {stats['depth']}, "
        f"children {stats['children']})  late {100 * int(stats['pieces_late']) / received:.2f} %  "
        f"from the publisher {100 * float(stats['publisher_share']):.0f} %"
        + (f"  stalled: {why}" if why else "")
    )


def _container(output: str) -> Container:
    return Container.MP4 if output.endswith(".mp4") else Container.MPEGTS


async def _write(session: Session, output: str) -> None:
    """Write the stream to a file or to stdout, whatever the reader's pace."""
    outlet = session.outputs.outlet(_container(output))
    try:
        file = await asyncio.to_thread(OutputFile, output)
    except OSError as error:
        raise UserError(
            f"Cannot write {output}: {error.strerror}. Choose another file for -o."
        ) from error
    # A reader that goes away (a pipe's other end) ends the watching, and is no error.
    with file, suppress(BrokenPipeError):
        while not outlet.has_ended:
            await file.copy(outlet.read())
