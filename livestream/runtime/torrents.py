"""Torrents under way: one node and its sockets, and whatever torrents are on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import SystemRandom
from typing import Final

from livestream.config import FILE_DELAY_TARGET_US, SwarmConfig, Transport, TransportConfig
from livestream.discovery.announce import TORRENT, Announcer
from livestream.discovery.tiers import Tier, make_tiers
from livestream.discovery.udp_tracker import Progress
from livestream.errors import DiskError, NetworkError, UsageError
from livestream.machine import SECOND, Address, Event
from livestream.pieces.merkle import LEAF_BYTES
from livestream.runtime.address import is_address, resolve
from livestream.runtime.clock import Clock
from livestream.runtime.disk import DiskStore
from livestream.runtime.keys import new_identity
from livestream.runtime.magnets import MagnetFetch
from livestream.runtime.resume import ResumeRecord
from livestream.runtime.sockets import check_transport
from livestream.runtime.tcp import TcpDriver
from livestream.runtime.throttle import Throttle
from livestream.runtime.torrent import PieceWatcher, Torrent, TorrentHost, TorrentOptions
from livestream.runtime.udp import UdpDriver
from livestream.runtime.webseeds import WebSeedDriver
from livestream.swarm.blocks import BlockSeams, BlockSwarm
from livestream.swarm.hashes import HashServe
from livestream.swarm.leafhashes import LeafFile, LeafServe
from livestream.swarm.metadata import MetadataServe
from livestream.swarm.node import Node
from livestream.swarm.seekers import SeekerSwarm
from livestream.swarm.swarm import Swarm
from livestream.torrent.choker import TitForTat
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo
from livestream.torrent.picker import RarestFirst
from livestream.torrent.webfiles import web_sources

__all__ = ["PieceWatcher", "Torrent", "TorrentOptions", "TorrentSession"]

PORT_TRIES: Final = 8
NAMES_MAX: Final = 20  # Host names of a magnet's peers that are looked up.
SILENCE_MAX_US: Final = 180 * SECOND  # Ordinary peers say something every two minutes.
PUMPS_MAX: Final = 64  # Rounds of uploads before other work gets its turn.


class TorrentSession(TorrentHost):
    """All torrents of one process, behind one port.

    Invariant: after anything happens to the node, its sockets are served (`pump`).
    """

    def __init__(
        self,
        *,
        upload_bps: int | None = None,
        download_bps: int | None = None,
        transport: Transport | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        """Take the caps, in bit/s, the only transport to use, and who is told what swarms report.

        Raises:
            UsageError: there is no such transport here.
        """
        self.clock = Clock()
        self.torrents: list[Torrent] = []
        self._taken: dict[bytes, None] = {}
        "Info-hashes of torrents, and of those whose files are still looked at."
        self.fetches: dict[bytes, MagnetFetch] = {}
        "Magnets whose metadata is looked for, by info-hash."
        self._rng = SystemRandom()
        self._identity = new_identity()
        self._config = SwarmConfig(
            neighbours_wanted=80,
            peers_max=200,
            attempts_max=30,
            silence_max_us=SILENCE_MAX_US,
            upload_bps=upload_bps,
            transport=transport,
        )
        throttle = None if download_bps is None else Throttle(download_bps / 8, self.clock)
        self.node = Node(
            self._identity,
            self._rng,
            transport=TransportConfig(delay_target_us=FILE_DELAY_TARGET_US),
            swarm=self._config,
            allowance=throttle,
        )
        check_transport(self.node, transport)
        self.udp = UdpDriver(self.node, self.clock, on_event, on_turn=self._on_turn)
        self.tcp = TcpDriver(self.node.streams, self.clock, self._on_bytes, throttle)
        self.web = WebSeedDriver(self.node.web_seeds, self.clock, self._on_bytes, throttle)
        self._is_pumping = False
        self._pump_again: asyncio.Handle | None = None
        self._resolving: dict[asyncio.Task[None], None] = {}

    @property
    def bytes_in(self) -> int:
        """Bytes that came, from peers and web seeds, without the headers of IP, UDP and TCP."""
        return self.udp.stats.bytes_in + self.tcp.bytes_in + self.web.bytes_in

    @property
    def bytes_out(self) -> int:
        """Bytes that went to peers, without the headers of IP, UDP and TCP."""
        return self.udp.stats.bytes_out + self.tcp.bytes_out

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
        """Look what is on disk, then take part.

        Raises:
            DiskError: it cannot be looked.
            UsageError: this torrent is under way already.
        """
        self._refuse_twice(metainfo.name, metainfo.info_hashes)
        self._taken.update(dict.fromkeys(metainfo.info_hashes))
        record = ResumeRecord(options.record)
        store = DiskStore(
            metainfo,
            options.folder,
            record=record,
            wanted=options.wanted,
            is_seeding=options.is_seeding,
        )
        try:
            await store.open(on_progress)
        except DiskError:
            self._free(metainfo.info_hashes)
            raise
        picker = RarestFirst(metainfo.piece_count, self._rng, is_sequential=options.is_sequential)
        picker.close_all(store.held.flags | ~options.wanted_pieces(metainfo))
        swarm = BlockSwarm(
            metainfo.info_hash,
            self._identity.public_key,
            BlockSeams(store, picker, TitForTat(self._rng)),
            self._config,
            self._rng,
        )
        for name in metainfo.info_hashes:
            swarm.also_known_as(name)
        swarm.metadata_size = len(metainfo.info)
        swarm.listen_port = self.tcp.address.port
        swarm.speak(MetadataServe(metainfo.info))
        if not metainfo.is_private:
            swarm.exchange_peers()
        cap = self._config.upload_bps
        swarm.hashes = HashServe(metainfo.layers, metainfo.layer_base, upload_bps=cap)
        if metainfo.has_v2:
            files, base = _leaf_files(metainfo), metainfo.layer_base
            swarm.hashes.leaves = LeafServe(files, base, store.hash_leaves)
        torrent = Torrent(metainfo, options, store, swarm, self)
        self.torrents.append(torrent)
        self.node.add_swarm(swarm, self.clock.now())
        if not swarm.is_complete:
            self.node.add_web_seeds(web_sources(metainfo), self.clock.now())
        self.add_candidates(swarm, list(options.peers))
        tiers, *others = (
            self._tiers(swarm, name, metainfo.trackers, options, torrent.progress)
            for name in swarm.info_hashes
        )
        torrent.start(tiers, [tier for each in others for tier in each])
        return torrent

    async def remove(self, torrent: Torrent) -> None:
        """Leave a torrent's swarm, then finish and record what is here."""
        if torrent in self.torrents:
            self.node.remove_swarm(torrent.swarm, self.clock.now())
            self.pump()
            await torrent.stop()
            self._free(torrent.metainfo.info_hashes)
            self.torrents.remove(torrent)  # Not before: `close` stops what this was kept from.

    async def fetch(self, magnet: Magnet, options: TorrentOptions, timeout_s: float) -> Metainfo:
        """Get a magnet's metadata from its peers.

        Raises:
            NotFoundError: nobody gave it within the time.
            MetainfoError: it is genuine, and cannot be used.
            UsageError: this torrent is under way already.
        """
        self._refuse_twice(magnet.name or magnet.info_hash.hex(), magnet.info_hashes)
        swarm = SeekerSwarm(magnet.info_hash, self._identity.public_key, self._config, self._rng)
        for name in magnet.info_hashes:
            swarm.also_known_as(name)
        self.node.add_swarm(swarm, self.clock.now())
        self.add_candidates(swarm, [*magnet.peers, *options.peers])
        urls = [(url,) for url in magnet.trackers]
        tiers = [
            tier for name in swarm.info_hashes for tier in self._tiers(swarm, name, urls, options)
        ]
        fetch = self.fetches[swarm.info_hash] = MagnetFetch(magnet, swarm, tiers, self)
        try:
            return await fetch.run(timeout_s)
        finally:
            self.fetches.pop(swarm.info_hash, None)
            self.node.remove_swarm(swarm, self.clock.now())
            self.pump()

    def _refuse_twice(self, name: str, info_hashes: Sequence[bytes]) -> None:
        if any(each in self._taken for each in info_hashes):
            raise UsageError(f"{name} is under way already: give each torrent once.")

    def _free(self, info_hashes: Sequence[bytes]) -> None:
        for each in info_hashes:
            self._taken.pop(each, None)

    def _tiers(
        self,
        swarm: Swarm,
        info_hash: bytes,
        listed: Sequence[Sequence[str]],
        options: TorrentOptions,
        progress: Callable[[], Progress] = Progress,
    ) -> list[Tier]:
        """Return the trackers to ask; those of the user's own are a tier each (BEP 12)."""

        def make(url: str) -> Announcer:
            return Announcer(
                url,
                info_hash,
                swarm.peer_id,
                self.tcp.address.port,
                progress,
                pace=TORRENT,
                is_trusted=options.is_trusted or url in options.trackers,
                is_hungry=lambda: not swarm.ready and _wants_more(progress()),
            )

        return make_tiers([*((url,) for url in options.trackers), *listed], make, self._rng)

    def add_candidates(self, swarm: Swarm, addresses: list[Address]) -> None:
        """Tell a swarm where peers may be."""
        literal = [address for address in addresses if is_address(address.host)]
        self.node.add_candidates(swarm.info_hash, literal, self.clock.now())
        self.pump()
        names = [address for address in addresses if not is_address(address.host)]
        if names:  # Of a magnet: a stranger's.
            task = asyncio.create_task(self._resolve(swarm, names[:NAMES_MAX]))
            self._resolving[task] = None
            task.add_done_callback(self._resolving.pop)

    async def _resolve(self, swarm: Swarm, names: Sequence[Address]) -> None:
        """Find out what names stand for; those that stand for nothing are left out."""
        for name in names:
            with suppress(NetworkError):
                address = await asyncio.to_thread(resolve, name)
                self.node.add_candidates(swarm.info_hash, [address], self.clock.now())
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
        """Say goodbye to all, so that nothing more comes; then finish and record what is here."""
        for task in list(self._resolving):
            task.cancel()
        self.node.close("done", self.clock.now())
        self._pump()
        await self.web.close()
        self.udp.close()
        self.tcp.close()
        await asyncio.gather(*(torrent.stop() for torrent in self.torrents))

    def pump(self) -> None:
        """Carry out what the node wants, once in this turn of the loop, whoever asked for it."""
        if self._pump_again is None:
            self._pump_again = asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Carry out what the node wants until it wants nothing, or for a fair while."""
        if self._pump_again is not None:
            self._pump_again.cancel()
            self._pump_again = None
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
        self.pump()

    def _on_turn(self) -> None:
        """UDP was served already; what that brought may be for the others."""
        self.web.drain()
        if self.tcp.drain():
            self.pump()

    def _on_bytes(self) -> None:
        self.node.handle_streams(self.clock.now())
        self.pump()


def _wants_more(how_far: Progress) -> bool:
    return how_far.left > 0 and not how_far.is_paused


def _leaf_files(metainfo: Metainfo) -> dict[bytes, LeafFile]:
    """Return the files of a v2 torrent whose blocks can be proved, by their roots."""
    return {
        entry.root: LeafFile(entry.offset // metainfo.piece_length, -(-entry.length // LEAF_BYTES))
        for entry in metainfo.files
        if entry.root and not entry.is_padding
    }
