"""Torrents under way: one node, its sockets, and a disk store each (`TorrentSession`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from livestream.config import SwarmConfig
from livestream.discovery.announce import TORRENT, Announcer
from livestream.discovery.tiers import Tier, make_tiers
from livestream.discovery.udp_tracker import Progress
from livestream.errors import DiskError, NetworkError, NotFoundError
from livestream.machine import SECOND, Address, Event
from livestream.runtime.clock import Clock
from livestream.runtime.disk import DiskEvents, DiskStore
from livestream.runtime.http import TrackerClient
from livestream.runtime.keys import new_identity
from livestream.runtime.resume import ResumeRecord
from livestream.runtime.tcp import TcpDriver
from livestream.runtime.udp import UdpDriver
from livestream.runtime.webseeds import WebSeedDriver
from livestream.swarm.blocks import BlockSeams, BlockSwarm
from livestream.swarm.hashes import HashFetch, HashServe
from livestream.swarm.metadata import MetadataFetch, MetadataServe
from livestream.swarm.node import Node
from livestream.swarm.seekers import SeekerSwarm
from livestream.swarm.swarm import Swarm
from livestream.torrent.choker import TitForTat
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo
from livestream.torrent.picker import RarestFirst
from livestream.torrent.webfiles import web_sources

__all__ = ["PieceWatcher", "Torrent", "TorrentOptions", "TorrentSession"]

SAVE_INTERVAL_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 5.0
DISK_RETRY_S: Final = 30.0
PORT_TRIES: Final = 8
SILENCE_MAX_US: Final = 180 * SECOND  # Ordinary peers say something every two minutes.
PUMPS_MAX: Final = 64  # Rounds of uploads before other work gets its turn.


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TorrentOptions:
    """How one torrent is to be had."""

    folder: Path
    wanted: frozenset[int] | None = None
    "Numbers of the wanted files; None: all."
    is_sequential: bool = False
    peers: tuple[Address, ...] = ()
    trackers: tuple[str, ...] = ()
    "Named by the user."
    is_trusted: bool = False
    "Its own trackers may be anywhere: the torrent is the user's, not from the internet."
    record: Path | None = None
    "Where it is kept what is on disk; None: nowhere, so that it is hashed at each start."


class PieceWatcher:
    """Somebody who waits for pieces. Overridden by whoever does."""

    def on_held(self, index: int) -> None:
        """A piece is verified and kept."""

    def on_loaded(self, index: int) -> None:
        """A piece is in memory, or was lost after all."""


class Torrent(DiskEvents):
    """One torrent under way: its store and its swarm, and what passes between them."""

    def __init__(
        self,
        metainfo: Metainfo,
        wanted: frozenset[int] | None,
        store: DiskStore,
        swarm: BlockSwarm,
        session: TorrentSession,
    ) -> None:
        self.metainfo = metainfo
        self._wanted = wanted
        self.store = store
        self.swarm = swarm
        self.completed = asyncio.Event()
        "Set when all that is wanted is here."
        self.error: DiskError | None = None
        "Why nothing more can be kept just now."
        self._session = session
        self.watchers: list[PieceWatcher] = []
        self.tiers: list[Tier] = []
        self._tasks: list[asyncio.Task[None]] = []
        store.events = self
        if swarm.is_complete:
            self.completed.set()

    def start(self, tiers: list[Tier], clock: Clock) -> None:
        """Announce, and keep the record."""
        self.tiers = tiers
        client = TrackerClient(tiers, clock, self.learn_peers)
        self._tasks = [asyncio.create_task(client.run()), asyncio.create_task(self._keep_saving())]

    async def stop(self) -> None:
        """Finish what is on its way to the disk, and record it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close(CLOSE_TIMEOUT_S)

    def progress(self) -> Progress:
        """Return how far it is, for trackers."""
        stats = self.swarm.stats
        held, length = self.store.held, self.metainfo.length
        left = 0 if self.swarm.is_complete else length - held.held * self.metainfo.piece_length
        return Progress(stats.stream_bytes_out, stats.kept_bytes, max(left, 0))

    def wants_file(self, number: int) -> bool:
        """Whether a file is wanted; padding is none."""
        is_chosen = self._wanted is None or number in self._wanted
        return is_chosen and not self.metainfo.files[number].is_padding

    def learn_peers(self, addresses: list[Address]) -> None:
        """Take addresses that a tracker, or the user, gave."""
        self._session.add_candidates(self.swarm, addresses)

    def set_urgent(self, indexes: list[int], *, is_jump: bool = False) -> None:
        """Get these pieces first, in this order."""
        self.swarm.set_urgent(indexes, self._session.clock.now(), is_jump=is_jump)
        self._session.pump()

    # DiskEvents

    def on_verified(self, index: int, *, is_genuine: bool) -> None:
        """A piece was hashed, and kept if it is genuine."""
        self.error = None
        self.swarm.on_verified(index, is_genuine=is_genuine, now=self._session.clock.now())
        if self.swarm.is_complete:
            self.completed.set()
        if is_genuine:
            for watcher in self.watchers:
                watcher.on_held(index)
        self._session.pump()

    def on_loaded(self, index: int) -> None:
        """A piece that peers wait for is in memory."""
        self.swarm.on_loaded(index, self._session.clock.now())
        for watcher in self.watchers:
            watcher.on_loaded(index)
        self._session.pump()

    def on_disk_error(self, index: int, error: DiskError) -> None:
        """A piece could not be kept: this torrent waits, others go on."""
        self.swarm.on_store_failed(index, str(error), self._session.clock.now())
        if self.error is None:
            asyncio.get_running_loop().call_later(DISK_RETRY_S, self._retry)
        self.error = error

    def _retry(self) -> None:
        self.error = None
        self.swarm.resume(self._session.clock.now())
        self._session.pump()

    async def _keep_saving(self) -> None:
        saved = -1
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            if self.store.held.held != saved:
                saved = self.store.held.held
                with suppress(DiskError, OSError):  # It is tried again; the data is not at risk.
                    await self.store.save()


class TorrentSession:
    """All torrents of one process, behind one port.

    Invariant: after anything happens to the node, its sockets are served (`pump`).
    """

    def __init__(self, *, upload_bps: int | None = None) -> None:
        self.clock = Clock()
        self.torrents: list[Torrent] = []
        self._rng = SystemRandom()
        self._identity = new_identity()
        self._config = SwarmConfig(
            neighbours_wanted=80,
            peers_max=200,
            attempts_max=30,
            silence_max_us=SILENCE_MAX_US,
            upload_bps=upload_bps,
        )
        self.node = Node(self._identity, self._rng, swarm=self._config)
        self.udp = UdpDriver(self.node, self.clock, self._on_event, on_turn=self.pump)
        self.tcp = TcpDriver(self.node.streams, self.clock, self._on_bytes)
        self.web = WebSeedDriver(self.node.web_seeds, self.clock, self._on_bytes)
        self._is_pumping = False
        self._pump_again: asyncio.Handle | None = None

    @property
    def bytes_in(self) -> int:
        """Bytes that came by TCP, from peers and web seeds."""
        return self.tcp.bytes_in + self.web.bytes_in

    async def open(self, listen: Address) -> Address:
        """Listen for TCP and UDP on one port. Raises NetworkError."""
        error = NetworkError("no port")
        for _ in range(1 if listen.port else PORT_TRIES):
            address = await self.tcp.open(listen)
            try:
                await self.udp.open(address)
            except NetworkError as failure:
                error = failure
                self.tcp.close()
            else:
                return address
        raise error

    async def add(
        self,
        metainfo: Metainfo,
        options: TorrentOptions,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Torrent:
        """Look what is on disk, then take part. Raises DiskError."""
        record = ResumeRecord(options.record)
        store = DiskStore(metainfo, options.folder, record=record, wanted=options.wanted)
        await store.open(on_progress)
        picker = RarestFirst(metainfo.piece_count, self._rng, is_sequential=options.is_sequential)
        picker.close_all(store.held.flags | ~_wanted_pieces(metainfo, options.wanted))
        swarm = BlockSwarm(
            metainfo.info_hash,
            self._identity.public_key,
            BlockSeams(store, picker, TitForTat(self._rng)),
            self._config,
            self._rng,
        )
        swarm.metadata_size = len(metainfo.info)
        swarm.listen_port = self.tcp.address.port
        swarm.speak(MetadataServe(metainfo.info))
        swarm.hashes = HashServe(metainfo.layers, metainfo.layer_base)
        torrent = Torrent(metainfo, options.wanted, store, swarm, self)
        self.torrents.append(torrent)
        self.node.add_swarm(swarm, self.clock.now())
        if not swarm.is_complete:
            self.node.add_web_seeds(web_sources(metainfo), self.clock.now())
        self.add_candidates(swarm, list(options.peers))
        tiers = self._tiers(swarm, metainfo.trackers, options, torrent.progress)
        torrent.start(tiers, self.clock)
        return torrent

    async def fetch(self, magnet: Magnet, options: TorrentOptions, timeout_s: float) -> Metainfo:
        """Get a magnet's metadata from its peers.

        Raises:
            NotFoundError: nobody gave it within the time.
            MetainfoError: it is genuine, and cannot be used.
        """
        swarm = SeekerSwarm(magnet.info_hash, self._identity.public_key, self._config, self._rng)
        found: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        hashes = magnet.info_hash_v1, magnet.info_hash_v2
        swarm.speak(MetadataFetch(hashes, partial(_resolve, found), swarm.ban))
        self.node.add_swarm(swarm, self.clock.now())
        self.add_candidates(swarm, [*magnet.peers, *options.peers])
        tiers = self._tiers(swarm, [(url,) for url in magnet.trackers], options)

        def learn(addresses: list[Address]) -> None:
            self.add_candidates(swarm, addresses)

        announcing = asyncio.create_task(TrackerClient(tiers, self.clock, learn).run())
        try:
            async with asyncio.timeout(timeout_s):
                trackers = [[url] for url in magnet.trackers]
                metainfo = Metainfo.from_info(await found, trackers, web_seeds=magnet.web_seeds)
                if metainfo.layers_missing and not magnet.info_hash_v1:
                    metainfo = await self._fetch_layers(swarm, metainfo)
        except TimeoutError:
            what = "metadata" if found.cancelled() else "piece hashes"
            raise NotFoundError(
                f"Nobody gave the {what} of {magnet.info_hash.hex()} within {timeout_s:.0f} s. "
                "Is somebody sharing it, and do its trackers answer? --peer HOST:PORT names a peer."
            ) from None
        finally:
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)
            self.node.remove_swarm(swarm, self.clock.now())
            self.pump()
        return metainfo

    async def _fetch_layers(self, swarm: SeekerSwarm, metainfo: Metainfo) -> Metainfo:
        """Get a v2 torrent's piece layers from its peers. Raises MetainfoError."""
        found: asyncio.Future[dict[bytes, bytes]] = asyncio.get_running_loop().create_future()
        counts, base = metainfo.layers_missing, metainfo.layer_base
        fetch = HashFetch(counts, base, partial(_resolve, found), swarm.ban)
        swarm.seek(fetch, self.clock.now())
        self.pump()
        layers = await found
        return await asyncio.to_thread(
            Metainfo.from_info, metainfo.info, metainfo.trackers, layers, metainfo.web_seeds
        )

    def _tiers(
        self,
        swarm: Swarm,
        listed: Sequence[Sequence[str]],
        options: TorrentOptions,
        progress: Callable[[], Progress] = Progress,
    ) -> list[Tier]:
        """Return the trackers to ask; those of the user's own are a tier each (BEP 12)."""

        def make(url: str) -> Announcer:
            return Announcer(
                url,
                swarm.info_hash,
                swarm.peer_id,
                self.tcp.address.port,
                progress,
                pace=TORRENT,
                is_trusted=options.is_trusted or url in options.trackers,
                is_hungry=lambda: not swarm.ready and progress().left > 0,
            )

        return make_tiers([*((url,) for url in options.trackers), *listed], make, self._rng)

    def add_candidates(self, swarm: Swarm, addresses: list[Address]) -> None:
        """Tell a swarm where peers may be."""
        self.node.add_candidates(swarm.info_hash, addresses, self.clock.now())
        self.pump()

    def web_seed_failures(self) -> list[str]:
        """Return, for people, which web seeds of unfinished torrents are out of use, and why."""
        return [
            f"web seed {url}: {reason}"
            for torrent in self.torrents
            if not torrent.swarm.is_complete
            for url, reason in self.node.web_seeds.failures(torrent.metainfo.info_hash).items()
        ]

    async def close(self) -> None:
        """Stop every torrent, say goodbye, and go."""
        await asyncio.gather(*(torrent.stop() for torrent in self.torrents))
        self.node.close("done", self.clock.now())
        self.pump()
        await self.web.close()
        self.udp.close()
        self.tcp.close()

    def pump(self) -> None:
        """Carry out what the node wants until it wants nothing, or for a fair while."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            for _ in range(PUMPS_MAX):
                self.udp.drain()
                self.web.drain()
                if not self.tcp.drain():
                    return
        finally:
            self._is_pumping = False
        if self._pump_again is None:
            self._pump_again = asyncio.get_running_loop().call_soon(self._on_turn)

    def _on_turn(self) -> None:
        self._pump_again = None
        self.pump()

    def _on_bytes(self) -> None:
        self.node.handle_streams(self.clock.now())
        self.pump()

    def _on_event(self, event: Event) -> None:
        """What swarms report is in their counters."""


def _resolve(future: asyncio.Future[_T], result: _T) -> None:
    """Hand over a result, unless nobody waits for it any more."""
    if not future.done():
        future.set_result(result)


def _wanted_pieces(metainfo: Metainfo, wanted: frozenset[int] | None) -> NDArray[np.bool_]:
    """Return, as flags by piece, which have bytes of wanted files."""
    flags = np.full(metainfo.piece_count, wanted is None, dtype=np.bool_)
    for number in wanted or ():
        if number < len(metainfo.files):
            flags[metainfo.pieces_of(metainfo.files[number])] = True
    return flags
