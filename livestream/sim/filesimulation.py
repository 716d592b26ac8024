"""One run of a file swarm: one seed, many downloaders, until all have the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from livestream.config import FILE_DELAY_TARGET_US, SwarmConfig, TransportConfig
from livestream.discovery.tracker import Announce, AnnounceEvent, TrackerState
from livestream.machine import MILLISECOND, SECOND, Event
from livestream.sim.contents import Contents, MemoryStore
from livestream.sim.filescenario import FileScenario
from livestream.sim.host import Host, Internet
from livestream.sim.internets import Links
from livestream.sim.links import Access, Path
from livestream.sim.packets import PacketInternet
from livestream.sim.streams import StreamInternet
from livestream.sim.world import Occurrence, World
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.blocks import BlockSeams, BlockSwarm
from livestream.swarm.node import Node
from livestream.swarm.peer import Peer
from livestream.torrent.choker import TitForTat
from livestream.torrent.picker import RarestFirst

__all__ = ["Downloader", "FileSimulation"]

INFO_HASH: Final = b"a file in simulation"
STEP_US: Final = 100 * MILLISECOND
HASHING_US: Final = MILLISECOND  # 256 KiB at 250 MB/s.
ANNOUNCE_US: Final = 30 * SECOND
ANNOUNCE_AGAIN_US: Final = 5 * SECOND  # The first time: who comes early finds others soon.
WANTED: Final = 50
FREE_RIDER_BPS: Final = 8_000  # Even to whom it would give a few pieces when choked (BEP 6).
SILENCE_MAX_US: Final = 180 * SECOND  # As for torrents: they may have nothing to say for long.


class _GivesNothing(TitForTat):
    """A free rider's choker: nobody is ever unchoked."""

    def on_interested(self, peer: BlockPeer, now: int) -> bool:
        super().on_interested(peer, now)
        self.unchoked.clear()
        return False

    def serves(self, peer: Peer, index: int, now: int) -> bool:
        return False

    def rank(
        self, peers: Sequence[BlockPeer], now: int, *, is_seed: bool, has_spare_upload: bool
    ) -> list[BlockPeer]:
        super().rank(peers, now, is_seed=is_seed, has_spare_upload=has_spare_upload)
        self.unchoked.clear()
        return []


class Downloader:
    """One node with one torrent: real swarm, picker, choker; a store in memory.

    Invariant: `finished_at` is when the last piece was found genuine.
    """

    def __init__(
        self,
        simulation: FileSimulation,
        host: Host,
        *,
        is_seed: bool = False,
        is_free_rider: bool = False,
    ) -> None:
        scenario, contents = simulation.scenario, simulation.contents
        rng = Random(simulation.rng.getrandbits(64))
        self.host = host
        self.is_free_rider = is_free_rider
        self.joined_at = host.world.now
        self.finished_at: int | None = None
        self.left_at: int | None = None
        self._simulation = simulation
        held = range(contents.count) if is_seed else ()
        self.store = MemoryStore(contents, held, self._on_judged)
        picker = RarestFirst(contents.count, rng)
        for index in held:
            picker.close(index)
        choker = (_GivesNothing if is_free_rider else TitForTat)(rng)
        config = SwarmConfig(
            transport=host.transport,
            neighbours_wanted=scenario.neighbours,
            peers_max=scenario.peers_max,
            attempts_max=30,
            silence_max_us=SILENCE_MAX_US,
            upload_bps=FREE_RIDER_BPS if is_free_rider else _cap_bps(scenario, host),
        )
        seams = BlockSeams(self.store, picker, choker)
        self.swarm = BlockSwarm(INFO_HASH, host.public_key, seams, config, rng)
        self.swarm.listen_port = host.address.port
        self.node = Node(
            host.identity,
            rng,
            transport=TransportConfig(delay_target_us=FILE_DELAY_TARGET_US),
            swarm=config,
            diallers=host.diallers,
        )
        self.node.add_swarm(self.swarm, host.world.now)
        host.run(self.node, _ignore)

    @property
    def bytes_sent(self) -> int:
        """What has left of the blocks that were given to connections."""
        waiting = sum(peer.connection.backlog_bytes for peer in self.swarm.block_peers)
        return max(0, self.swarm.stats.stream_bytes_out - waiting)

    def judged(self, index: int, now: int, *, is_genuine: bool) -> None:
        """The store has hashed a piece."""
        if self.left_at is not None:
            return
        if is_genuine:
            self.store.held.add(index)
        self.swarm.on_verified(index, is_genuine=is_genuine, now=now)
        if self.finished_at is None and self.swarm.is_complete:
            self.finished_at = now
            self._simulation.on_finished(self)
        self.host.settle(now)

    def leave(self, now: int) -> None:
        """Say goodbye and go."""
        self.left_at = now
        self.node.close("leaving", now)
        self.host.settle(now)
        self.host.crash()

    def _on_judged(self, index: int, is_genuine: bool) -> None:
        world = self.host.world
        world.plan(world.now + HASHING_US, _Judged(self, index, is_genuine=is_genuine))


class FileSimulation:
    """Everybody of one torrent in one world.

    Invariant: `unfinished` are the downloaders that came, are there, and want something yet.
    """

    def __init__(self, scenario: FileScenario, seed: int, links: Links = Links.MESSAGES) -> None:
        self.scenario = scenario
        self.seed = seed
        self.world = World(seed)
        self.rng = Random(seed ^ 0xF11E)
        self.internet = _internet(scenario, self.world, seed, links)
        self.contents = Contents(scenario.pieces, scenario.piece_kib * 1024, seed)
        self.tracker = TrackerState(Random(seed + 1))
        self.began_at = self.world.now
        self.downloaders: list[Downloader] = []
        self.unfinished: dict[Downloader, None] = {}
        self._seed_bytes = 0
        self.uplinks_bps = _uplinks(scenario, self.rng)
        riders = round(scenario.free_rider_share * scenario.viewers)
        self._is_free_rider = [number < riders for number in range(scenario.viewers)]
        self.rng.shuffle(self._is_free_rider)
        host = self.internet.add(0, Access(scenario.seed_uplink_bps), self.rng.randbytes(32))
        self.origin = Downloader(self, host, is_seed=True)
        self._announce(self.origin, AnnounceEvent.STARTED)
        for number in range(scenario.viewers):
            at = self.world.now + int(scenario.join_s * SECOND * number / scenario.viewers)
            self.world.plan(at, _Joining(self, number))
        self.world.plan(self.world.now + ANNOUNCE_US, _Announcing(self, self.origin))

    @property
    def seed_bytes(self) -> int:
        """What the seed has sent of the file, until it went."""
        return self.origin.bytes_sent if self.origin.left_at is None else self._seed_bytes

    @property
    def giving_bps(self) -> list[int]:
        """The uplinks of those that give."""
        pairs = zip(self.uplinks_bps, self._is_free_rider, strict=True)
        return [0 if is_free_rider else uplink for uplink, is_free_rider in pairs]

    @property
    def is_over(self) -> bool:
        """Whether all came, and have what they want."""
        return len(self.downloaders) == self.scenario.viewers and not self.unfinished

    def run(self, on_step: Callable[[int], None] | None = None) -> None:
        """Let it all happen; `on_step` is called with the time every tenth of a second."""
        end = self.began_at + int(self.scenario.seconds * SECOND)
        while self.world.now < end and not self.is_over:
            self.world.run_until(min(self.world.now + STEP_US, end))
            self._look_at_the_seed()
            if on_step is not None:
                on_step(self.world.now)

    def join(self, number: int) -> None:
        """Let somebody come."""
        access = Access(self.uplinks_bps[number], self.scenario.downlink_bps)
        host = self.internet.add(number + 1, access, self.rng.randbytes(32))
        comer = Downloader(self, host, is_free_rider=self._is_free_rider[number])
        self.downloaders.append(comer)
        self.unfinished[comer] = None
        self._announce(comer, AnnounceEvent.STARTED)
        self.world.plan(self.world.now + ANNOUNCE_AGAIN_US, _Announcing(self, comer))

    def announce(self, downloader: Downloader, now: int) -> None:
        """Ask the tracker for others, and again later."""
        if downloader.left_at is None:
            self._announce(downloader, AnnounceEvent.NONE)
            self.world.plan(now + ANNOUNCE_US, _Announcing(self, downloader))

    def on_finished(self, downloader: Downloader) -> None:
        """Somebody has all of it."""
        self.unfinished.pop(downloader, None)
        self._announce(downloader, AnnounceEvent.COMPLETED)
        if not self.scenario.stays:
            self.world.plan(self.world.now, _Leaving(downloader))

    # Helpers

    def _look_at_the_seed(self) -> None:
        copies = self.scenario.seed_leaves_copies
        if copies is None or self.origin.left_at is not None:
            return
        if self.origin.bytes_sent >= copies * self.contents.size:
            self._seed_bytes = self.origin.bytes_sent
            self._announce(self.origin, AnnounceEvent.STOPPED)
            self.origin.leave(self.world.now)

    def _announce(self, downloader: Downloader, event: AnnounceEvent) -> None:
        swarm, now = downloader.swarm, self.world.now
        is_seed = swarm.is_complete
        found = self.tracker.take(
            Announce(
                swarm.info_hash, swarm.peer_id, downloader.host.address, is_seed, event, WANTED
            ),
            now,
        )
        if not isinstance(found, str) and event is not AnnounceEvent.STOPPED:
            downloader.node.add_candidates(swarm.info_hash, found, now)
            downloader.host.settle(now)


class _Judged(Occurrence):
    __slots__ = ("_downloader", "_index", "_is_genuine")

    def __init__(self, downloader: Downloader, index: int, *, is_genuine: bool) -> None:
        self._downloader = downloader
        self._index = index
        self._is_genuine = is_genuine

    def happen(self, now: int) -> None:
        self._downloader.judged(self._index, now, is_genuine=self._is_genuine)


class _Joining(Occurrence):
    __slots__ = ("_number", "_simulation")

    def __init__(self, simulation: FileSimulation, number: int) -> None:
        self._simulation = simulation
        self._number = number

    def happen(self, now: int) -> None:
        self._simulation.join(self._number)


class _Leaving(Occurrence):
    __slots__ = ("_downloader",)

    def __init__(self, downloader: Downloader) -> None:
        self._downloader = downloader

    def happen(self, now: int) -> None:
        self._downloader.leave(now)


class _Announcing(Occurrence):
    __slots__ = ("_downloader", "_simulation")

    def __init__(self, simulation: FileSimulation, downloader: Downloader) -> None:
        self._simulation = simulation
        self._downloader = downloader

    def happen(self, now: int) -> None:
        self._simulation.announce(self._downloader, now)


def _internet(scenario: FileScenario, world: World, seed: int, links: Links) -> Internet:
    path = Path(
        int(scenario.delay_ms_min * MILLISECOND),
        int(scenario.delay_ms_max * MILLISECOND),
        int(scenario.jitter_ms * MILLISECOND),
        scenario.loss,
    )
    if links is Links.MESSAGES:
        return StreamInternet(world, path, seed)
    return PacketInternet(world, path, seed)


def _uplinks(scenario: FileScenario, rng: Random) -> list[int]:
    """Return the uplink of each downloader, in exactly the shares of the scenario, shuffled."""
    uplinks: list[int] = []
    for share, uplink in scenario.uplinks:
        uplinks += [uplink] * round(share * scenario.viewers)
    uplinks = (uplinks + [scenario.uplinks[-1][1]] * scenario.viewers)[: scenario.viewers]
    rng.shuffle(uplinks)
    return uplinks


def _cap_bps(scenario: FileScenario, host: Host) -> int | None:
    share = scenario.max_up_share
    return None if share is None else int(share * host.uplink.rate_bps)


def _ignore(event: Event, now: int) -> None:
    """What happened is in the swarm."""
