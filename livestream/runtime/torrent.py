"""One torrent under way: its store, its swarm, and what passes between them (`Torrent`)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from livestream.discovery.tiers import Tier
from livestream.discovery.udp_tracker import Progress
from livestream.errors import DiskError, DiskFullError
from livestream.machine import Address
from livestream.runtime.clock import Clock
from livestream.runtime.disk import DiskEvents, DiskStore
from livestream.runtime.http import TrackerClient
from livestream.runtime.room import Room
from livestream.swarm.blocks import BlockSwarm
from livestream.swarm.swarm import Swarm
from livestream.torrent.metainfo import Metainfo

__all__ = ["PieceWatcher", "Torrent", "TorrentHost", "TorrentOptions"]

SAVE_INTERVAL_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 5.0
LOSSES_MAX: Final = 3  # Of one piece that was written and could not be read back.
PIECES_FREE: Final = 2  # On a disk that was full; with room for one it would be full again at once.


@dataclass(frozen=True, slots=True)
class TorrentOptions:
    """How one torrent is to be had."""

    folder: Path
    wanted: frozenset[int] | None = None
    "Numbers of the wanted files; None: all."
    piece: int | None = None
    "Only this piece is wanted, whatever files it is of."
    is_sequential: bool = False
    is_seeding: bool = False
    "The data is the user's: what is lost of it is not fetched again."
    peers: tuple[Address, ...] = ()
    trackers: tuple[str, ...] = ()
    "Named by the user."
    is_trusted: bool = False
    "Its own trackers may be anywhere: the torrent is the user's, not from the internet."
    record: Path | None = None
    "Where it is kept what is on disk; None: nowhere, so that it is hashed at each start."

    def wanted_pieces(self, metainfo: Metainfo) -> NDArray[np.bool_]:
        """Return which pieces are wanted. Shape: (pieces,)."""
        flags = np.zeros(metainfo.piece_count, dtype=np.bool_)
        if self.piece is not None:
            flags[self.piece] = True
        elif self.wanted is None:
            flags[:] = True
        else:
            for number in self.wanted:
                flags[metainfo.pieces_of(metainfo.files[number])] = True
        return flags


class PieceWatcher:
    """Somebody who waits for pieces. Overridden by whoever does."""

    def on_held(self, index: int) -> None:
        """A piece is verified and kept."""

    def on_loaded(self, index: int) -> None:
        """A piece is in memory, or was lost after all."""


class TorrentHost(ABC):
    """What torrents stand on: a clock, and a node whose sockets are served."""

    clock: Clock

    @abstractmethod
    def add_candidates(self, swarm: Swarm, addresses: list[Address]) -> None:
        """Tell a swarm where peers may be."""

    @abstractmethod
    def pump(self) -> None:
        """Carry out what the node wants."""


class Torrent(DiskEvents):
    """One torrent under way.

    Invariant: `failed` is set once, by what no waiting will mend; a full disk is waited for.
    """

    def __init__(
        self,
        metainfo: Metainfo,
        options: TorrentOptions,
        store: DiskStore,
        swarm: BlockSwarm,
        host: TorrentHost,
    ) -> None:
        self.metainfo = metainfo
        self.options = options
        self.store = store
        self.swarm = swarm
        self.completed = asyncio.Event()
        "Set when all that is wanted is here."
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        "Raises the DiskError after which nothing more can be kept."
        self.error: DiskError | None = None
        "Why nothing more can be kept just now."
        self.save_error = ""
        "Why the record could not be written the last time."
        self.watchers: list[PieceWatcher] = []
        self.tiers: list[Tier] = []
        self._losses: dict[int, int] = {}
        "How often a piece was lost."
        self._host = host
        self._room = Room(options.folder, self._resume)
        self._tasks: list[asyncio.Task[None]] = []
        store.events = self
        if swarm.is_complete:
            self.completed.set()

    def start(self, tiers: list[Tier], other_tiers: Sequence[Tier] = ()) -> None:
        """Announce, to the same trackers under a second name if it has one; keep the record."""
        self.tiers = tiers
        client = TrackerClient([*tiers, *other_tiers], self._host.clock, self.learn_peers)
        self._tasks = [asyncio.create_task(client.run()), asyncio.create_task(self._keep_saving())]

    async def stop(self) -> None:
        """Finish what is on its way to the disk, and record it."""
        self._room.close()
        self.failed.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self.store.close(CLOSE_TIMEOUT_S)
        except (DiskError, OSError) as error:
            self.save_error = _reason(error)

    async def save(self) -> None:
        """Record what is held. A failure is kept in `save_error`: the data is not at risk."""
        try:
            await self.store.save()
            self.save_error = ""
        except (DiskError, OSError) as error:
            self.save_error = _reason(error)

    # Queries

    def progress(self) -> Progress:
        """Return how far it is, for trackers."""
        stats = self.swarm.stats
        held, length = self.store.held, self.metainfo.length
        left = max(length - held.held * self.metainfo.piece_length, 0)
        is_paused = self.swarm.is_complete and not held.is_full
        return Progress(stats.stream_bytes_out, stats.kept_bytes, left, is_paused)

    @cached_property
    def wanted_bytes(self) -> int:
        """Bytes of all pieces that are wanted."""
        return self._bytes_of(self._wanted_pieces)

    @property
    def left_bytes(self) -> int:
        """Bytes of the wanted pieces that are not here."""
        return self._bytes_of(self._wanted_pieces & ~self.store.held.flags)

    def wants_file(self, number: int) -> bool:
        """Whether a file is wanted; padding is none."""
        wanted = self.options.wanted
        is_chosen = wanted is None or number in wanted
        return is_chosen and not self.metainfo.files[number].is_padding

    def gets_again(self, index: int) -> bool:
        """Whether a piece that was lost is fetched once more."""
        is_hopeless = self._losses.get(index, 0) > LOSSES_MAX
        return not (self.options.is_seeding or is_hopeless) and bool(self._wanted_pieces[index])

    @cached_property
    def _wanted_pieces(self) -> NDArray[np.bool_]:
        return self.options.wanted_pieces(self.metainfo)

    def _bytes_of(self, flags: NDArray[np.bool_]) -> int:
        if not len(flags):
            return 0
        short = self.metainfo.piece_length - self.metainfo.piece_size(len(flags) - 1)
        return int(flags.sum()) * self.metainfo.piece_length - short * bool(flags[-1])

    # Commands

    def learn_peers(self, addresses: list[Address]) -> None:
        """Take addresses that a tracker, or the user, gave."""
        self._host.add_candidates(self.swarm, addresses)

    def set_urgent(self, indexes: list[int], *, is_jump: bool = False) -> None:
        """Get these pieces first, in this order."""
        self.swarm.set_urgent(indexes, self._host.clock.now(), is_jump=is_jump)
        self._host.pump()

    # DiskEvents

    def on_verified(self, index: int, *, is_genuine: bool) -> None:
        """A piece was hashed, and kept if it is genuine."""
        self.swarm.on_verified(index, is_genuine=is_genuine, now=self._host.clock.now())
        if self.swarm.is_complete:
            self.completed.set()
        if is_genuine:
            if not self.swarm.is_paused:
                self.error = None
                self._room.on_kept()
            for watcher in self.watchers:
                watcher.on_held(index)
        self._host.pump()

    def on_loaded(self, index: int) -> None:
        """A piece that peers wait for is in memory, or can be read no more."""
        self.swarm.on_loaded(index, self._host.clock.now())
        if index not in self.store.held:
            self._get_again([index])
        for watcher in self.watchers:
            watcher.on_loaded(index)
        self._host.pump()

    def on_leaves(self, index: int, leaves: list[bytes] | None) -> None:
        """The blocks of a piece were hashed for a peer."""
        if self.swarm.hashes.leaves is not None:
            self.swarm.hashes.leaves.on_leaves(index, leaves)
            self._host.pump()

    def on_lost(self, indexes: list[int]) -> None:
        """Somebody deleted a file: what was in it is taken back."""
        self.swarm.on_pieces_lost(indexes, self._host.clock.now())
        self._get_again(indexes)
        self._host.pump()

    def on_disk_error(self, index: int, error: DiskError) -> None:
        """A piece could not be kept: this torrent waits for room, or fails; others go on."""
        self.swarm.on_store_failed(index, str(error), self._host.clock.now())
        self.error = error
        if isinstance(error, DiskFullError):
            self._room.wait(min(self.left_bytes, PIECES_FREE * self.metainfo.piece_length))
        elif not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # Whoever does not wait for it reads `error`.

    # Helpers

    def _get_again(self, indexes: list[int]) -> None:
        """Ask for pieces whose file was deleted, or that the disk does not give back."""
        for index in indexes:
            self._losses[index] = self._losses.get(index, 0) + 1
        again = [index for index in indexes if self.gets_again(index)]
        if again:
            self.completed.clear()
            self.swarm.want_again(again, self._host.clock.now())
        hopeless = [index for index in indexes if self._losses[index] > LOSSES_MAX]
        if hopeless:
            reason = f"piece {hopeless[0]} was written, and cannot be read. Check the disk."
            self.on_disk_error(hopeless[0], DiskError(f"{self.metainfo.name}: {reason}"))

    def _resume(self) -> None:
        self.error = None
        self.swarm.resume(self._host.clock.now())
        self._host.pump()

    async def _keep_saving(self) -> None:
        saved = -1
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            if self.store.held.held != saved:
                saved = self.store.held.held
                await self.save()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
