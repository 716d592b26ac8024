"""The disk side of a torrent: hashes, writes and reads whole pieces in threads (`DiskStore`)."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from typing import Final

from livestream.errors import DiskError
from livestream.pieces.blockstore import BlockStore
from livestream.pieces.pieceset import PieceSet
from livestream.pieces.verifier import Verdict
from livestream.runtime.files import FileSet
from livestream.runtime.images import ImageCache
from livestream.runtime.resume import ResumeRecord
from livestream.torrent.hashing import HashVerifier, leaf_hashes
from livestream.torrent.metainfo import Metainfo
from livestream.wire.image import PieceImage

__all__ = ["DiskEvents", "DiskStore"]

IN_FLIGHT_MAX: Final = 32 << 20  # Bytes on their way to the disk before no more are asked for.
CACHE_MAX: Final = 32 << 20  # Bytes of pieces kept in memory for those who download from us.
CHECK_AHEAD: Final = 2  # Runs of pieces a worker has waiting while a torrent is checked.
CHECK_BYTES: Final = 4 << 20  # A run has as many: one hand-over between threads for them all.


class DiskEvents:
    """What the store reports, on the loop's thread. Overridden by whoever drives a swarm."""

    def on_verified(self, index: int, *, is_genuine: bool) -> None:
        """A submitted piece was hashed, and kept if it is genuine."""

    def on_loaded(self, index: int) -> None:
        """A piece asked for is in memory, or is no longer held."""

    def on_leaves(self, index: int, leaves: list[bytes] | None) -> None:
        """The blocks of a piece were hashed (BEP 52); None: it cannot be read."""

    def on_lost(self, indexes: list[int]) -> None:
        """Pieces that were held are no more: their file was deleted."""

    def on_disk_error(self, index: int, error: DiskError) -> None:
        """A submitted piece could not be kept."""


class DiskStore(BlockStore):
    """One torrent on disk.

    Invariant: a piece is in `held` only after its bytes were hashed here, or a record vouches
    for files that have not changed since; `_in_flight` counts bytes submitted and not reported.
    """

    def __init__(
        self,
        metainfo: Metainfo,
        folder: Path,
        *,
        record: ResumeRecord,
        wanted: frozenset[int] | None = None,
        is_read_only: bool = False,
        is_seeding: bool = False,
        verifier: HashVerifier | None = None,
    ) -> None:
        """Take what there is, and where it is to be.

        Args:
            metainfo: The torrent.
            folder: Where its files are.
            record: What is known of them.
            wanted: The numbers of the wanted files; None: all.
            is_read_only: Nothing is made or written.
            is_seeding: The files are the user's: what they have beyond their length stays.
            verifier: Judges pieces, several at a time; None: by the torrent's hashes.
        """
        everything = frozenset(range(len(metainfo.files)))
        self.metainfo = metainfo
        self.held = PieceSet(metainfo.piece_count)
        self.states: Sequence[tuple[int, int]] = ()
        "(size, mtime in ns) of every file when it was opened, the part file last."
        self.events = DiskEvents()
        self._wanted = everything if wanted is None else wanted
        self._files = FileSet(metainfo, folder, self._wanted)
        self._record = record
        self._verifier = verifier or HashVerifier(metainfo)
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="disk")
        self._is_read_only = is_read_only
        self._cuts_files = not (is_read_only or is_seeding)
        self._in_flight = 0
        self._unwritten: deque[tuple[int, bytearray]] = deque()
        "Genuine pieces; whoever has the lock writes them."
        self._writing = Lock()
        self._pending: dict[Future[None], None] = {}
        self._images = ImageCache(CACHE_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None

    # Life

    async def open(self, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Make the files, and find out what is here. Raises DiskError."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._files.open if self._is_read_only else self._files.create)
        self.states = states = await asyncio.to_thread(self._files.states)
        trusted, doubtful = self._record.judge(self.metainfo, states)
        self.held.add_all(trusted)
        await self.check(doubtful, on_progress)
        if self._cuts_files and (numbers := self._longer_files()):
            await asyncio.to_thread(self._files.cut, numbers)
            self.states = await asyncio.to_thread(self._files.states)

    async def check(
        self, indexes: list[int], on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Hash pieces that are on disk, on all cores; `held` is right for them afterwards.

        Raises:
            DiskError: a file cannot be read.
        """
        loop = asyncio.get_running_loop()
        limit = asyncio.Semaphore(CHECK_AHEAD * (os.cpu_count() or 1))
        done = 0

        async def check_run(run: list[int]) -> None:
            nonlocal done
            async with limit:
                found = await loop.run_in_executor(self._pool, self._are_on_disk, run)
            for index, is_genuine in zip(run, found, strict=True):
                if is_genuine:
                    self.held.add(index)
                else:
                    self.held.discard(index)
            done += len(run)
            if on_progress is not None:
                on_progress(done, len(indexes))

        count = max(CHECK_BYTES // self.metainfo.piece_length, 1)
        runs = (indexes[at : at + count] for at in range(0, len(indexes), count))
        await asyncio.gather(*(check_run(run) for run in runs))

    async def save(self) -> None:
        """Record what is held, once it is on the disk. Raises DiskError."""
        # In this order: what is written from here on changes a file's time, so it is hashed again.
        states = await asyncio.to_thread(self._files.states)
        await asyncio.to_thread(self._save, self._recordable(states).to_bytes(), states)
        self._drop_deleted()

    async def close(self, timeout_s: float) -> None:
        """Finish what is under way, within a time, and record it."""
        await asyncio.to_thread(wait, list(self._pending), timeout_s)
        await asyncio.sleep(0)  # What the last writers reported is taken now.
        try:
            await self.save()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._files.close()

    # BlockStore

    def piece_size(self, index: int) -> int:
        """Return the bytes of a piece."""
        return self.metainfo.piece_size(index)

    def padding_size(self, index: int) -> int:
        """Return how many bytes at the end of a piece are padding."""
        return self.metainfo.padding_size(index)

    @property
    def has_room(self) -> bool:
        """Whether the disk keeps up."""
        return self._in_flight < IN_FLIGHT_MAX

    def submit(self, index: int, buffer: bytearray) -> None:
        """Hash and keep a piece, in a thread."""
        self._in_flight += len(buffer)
        self._start(self._keep, index, buffer)

    def load(self, index: int) -> None:
        """Read a held piece into memory, in a thread."""
        self._start(self._load, index)

    def hash_leaves(self, index: int) -> None:
        """Hash the blocks of a held v2 piece, in a thread."""
        self._start(self._hash_leaves, index)

    def image(self, index: int) -> PieceImage | None:
        """Return a held piece if it is in memory."""
        return self._images.get(index)

    # In threads

    def _are_on_disk(self, indexes: list[int]) -> list[bool]:
        pieces = ((index, self._read(index)) for index in indexes)
        return [
            data is not None and self._verifier.verify(index, data) is Verdict.GENUINE
            for index, data in pieces
        ]

    def _read(self, index: int) -> bytearray | None:
        start = index * self.metainfo.piece_length
        return self._files.read(start, self.metainfo.piece_size(index))

    def _keep(self, index: int, buffer: bytearray) -> None:
        try:
            if self._verifier.verify(index, buffer) is not Verdict.GENUINE:
                self._report(self._on_kept, index, len(buffer), False)
                return
        except Exception as error:
            self._report_unkept(index, buffer, error)
            return
        self._unwritten.append((index, buffer))
        # One writer at a time, and the others go on hashing: a file system lets one thread write
        # to a file, and burns the time of those who wait for it.
        while self._unwritten and self._writing.acquire(blocking=False):
            try:
                while self._unwritten:
                    self._write(*self._unwritten.popleft())
            finally:
                self._writing.release()

    def _write(self, index: int, buffer: bytearray) -> None:
        try:
            self._files.write(index * self.metainfo.piece_length, buffer)
        except Exception as error:
            self._report_unkept(index, buffer, error)
        else:
            self._report(self._on_kept, index, len(buffer), True)

    def _report_unkept(self, index: int, buffer: bytearray, error: Exception) -> None:
        """Whatever it was, no memory, say: the piece must not be waited for for ever."""
        if not isinstance(error, DiskError):
            error = DiskError(f"{self.metainfo.name}: piece {index} cannot be kept ({error!r}).")
        self._report(self._on_error, index, len(buffer), error)

    def _load(self, index: int) -> None:
        try:
            image = self._genuine_image(index)
        except Exception:  # Whatever it is, nobody must wait for ever; what cannot be read is lost.
            image = None
        self._report(self._on_loaded, index, image)

    def _genuine_image(self, index: int) -> PieceImage | None:
        image = self._images.make(index, self.metainfo.piece_size(index))
        start = index * self.metainfo.piece_length
        is_there = self._files.read_into(start, image.places())
        if is_there and self._files.has_changed(start, image.size, self.states):
            # Somebody else wrote to the file: peers would ban us for what is in it now.
            data = image.data(0, image.size)
            is_there = self._verifier.verify(index, data) is Verdict.GENUINE
        return image if is_there else None

    def _hash_leaves(self, index: int) -> None:
        leaves: list[bytes] | None = None
        try:
            data = self._read(index) if index in self.held else None
            if data is not None and self._verifier.verify(index, data) is Verdict.GENUINE:
                start = index * self.metainfo.piece_length
                span = next(iter(self.metainfo.spans(start, len(data))))
                leaves = leaf_hashes(memoryview(data)[: span.length])
        except Exception:  # As with a piece to read: nobody must wait for ever.
            leaves = None
        self._report(self._on_leaves, index, leaves)

    def _save(self, bits: bytes, states: Sequence[tuple[int, int]]) -> None:
        self._files.sync()
        self._record.save(self.metainfo, bits, states)

    # On the loop

    def _longer_files(self) -> list[int]:
        """Return the wanted files that are right, and have something behind them.

        What is not right may be another file: it is cut when the first piece is written to it.
        """
        metainfo = self.metainfo
        return [
            number
            for number in self._wanted
            if self.states[number][0] > (entry := metainfo.files[number]).length
            and not entry.is_padding
            and self.held.flags[metainfo.pieces_of(entry)].all()
        ]

    def _recordable(self, states: Sequence[tuple[int, int]]) -> PieceSet:
        """Return what is held, but for what was in files that somebody has deleted since."""
        found = PieceSet.from_bytes(self.held.to_bytes(), len(self.held))
        for number in self._wanted:
            is_gone = states[number][0] < 0 and not self.metainfo.files[number].is_padding
            for index in self._files.pieces_in(number) if is_gone else ():
                found.discard(index)
        return found

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        future: Future[None] = self._pool.submit(work, *arguments)
        self._pending[future] = None
        future.add_done_callback(lambda done: self._pending.pop(done, None))

    def _report(self, callback: Callable[..., None], *arguments: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _on_kept(self, index: int, size: int, is_genuine: bool) -> None:
        self._in_flight -= size
        self._drop_deleted()  # First: this piece is in the file that is there now.
        if is_genuine:
            self.held.add(index)
        self.events.on_verified(index, is_genuine=is_genuine)

    def _on_error(self, index: int, size: int, error: DiskError) -> None:
        self._in_flight -= size
        self.events.on_disk_error(index, error)

    def _on_loaded(self, index: int, image: PieceImage | None) -> None:
        if image is None:
            self.held.discard(index)  # The file is gone or cut: what is not there is not served.
        else:
            self._images.put(image)
        self.events.on_loaded(index)
        self._drop_deleted()

    def _on_leaves(self, index: int, leaves: list[bytes] | None) -> None:
        self.events.on_leaves(index, leaves)

    def _drop_deleted(self) -> None:
        """Hold nothing that was in files that are found to be deleted."""
        for number in self._files.take_deleted():
            lost = [index for index in self._files.pieces_in(number) if index in self.held]
            for index in lost:
                self.held.discard(index)
            if lost:
                self.events.on_lost(lost)
