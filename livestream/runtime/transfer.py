"""One torrent of the download and seed commands, from its source to its goals (`Transfer`)."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from livestream.config import Transport
from livestream.errors import UsageError, UserError
from livestream.machine import Address
from livestream.runtime.hook import content_path, run_hook
from livestream.runtime.report import Report
from livestream.runtime.screen import Row, Screen
from livestream.runtime.sources import is_from_internet, read_torrent
from livestream.runtime.status import row_of
from livestream.runtime.torrent import Torrent, TorrentOptions
from livestream.runtime.torrents import TorrentSession
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo

__all__ = ["Transfer", "TransferOptions", "until_complete"]

FOLDER_VARIABLE: Final = "LIVESTREAM_DATA_DIR"
POLL_S: Final = 0.2
DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """What `livestream download` or `seed` was asked for."""

    sources: tuple[str, ...]
    "Files, magnets, info-hashes or URLs of torrents."
    folder: Path
    is_seeding: bool = False
    "The data is here: nothing is written."
    select: tuple[str, ...] = ()
    "Globs, or file numbers as `info` shows them."
    is_sequential: bool = False
    seed_ratio: float | None = None
    seed_time_s: float | None = None
    duration_s: float | None = None
    "Stop after so long, done or not."
    metadata_timeout_s: float = 120.0
    on_done: str | None = None
    listen: Address | None = None
    peers: tuple[Address, ...] = ()
    trackers: tuple[str, ...] = ()
    transport: Transport | None = None
    "The only one to use; None: whichever gets through."
    upload_bps: int | None = None
    download_bps: int | None = None
    stats_file: str | None = None
    is_quiet: bool = False
    is_verbose: bool = False
    "Peers that come and go are told of."
    is_json: bool = False
    "A summary of each torrent goes to stdout at the end."
    screen: Screen | None = None
    "What the terminal shows; None: lines."
    on_added: Callable[[Torrent, Report], Awaitable[None]] | None = None
    "Told of each torrent as it begins."
    until: Callable[[], Awaitable[None]] | None = None
    "A further goal: stay until this is over, too."


class Transfer:
    """Brings one torrent to its goals; what hinders it is its `error`, and nobody else's.

    Invariant: a torrent that has met its goals, or failed, has left the session.
    """

    def __init__(
        self, source: str, options: TransferOptions, session: TorrentSession, report: Report
    ) -> None:
        self.torrent: Torrent | None = None
        self.error: UserError | None = None
        self.name = source[:80]
        self._source = source
        self._options = options
        self._session = session
        self._report = report
        self._note = ""
        self._fetching = b""
        self._began = time.monotonic()
        self._checked = (0, 0)

    async def run(self) -> None:
        """Bring it to its goals, or to its error."""
        try:
            await self._follow()
        except UserError as error:
            self.error = error
            if len(self._options.sources) > 1:
                words = str(error)
                subject = "" if self.name in words else f"{self.name}: "
                self._report.warn(f"livestream: {subject}{words}")
        self._note = DONE
        if self.torrent is not None:
            await self._session.remove(self.torrent)

    # Queries

    @property
    def is_complete(self) -> bool:
        """Whether all that is wanted is here."""
        return self.torrent is not None and self.torrent.completed.is_set()

    def row(self) -> Row:
        """Return where it is, for people."""
        if self.torrent is None:
            done, total = self._checked
            fetch = self._session.fetches.get(self._fetching)
            note = fetch.note if fetch is not None else self._note
            note = f"checking {done} of {total} pieces on disk" if total else note
            row = Row(self.name, done / total if total else 0.0, note=note)
        else:
            row = row_of(self.torrent)
        if self.error is not None:
            return Row(row.name, row.share, note=str(self.error))
        return row if self._note != DONE else Row(row.name, row.share, note=DONE)

    def remains(self) -> str:
        """Return what is missing, in words; empty if nothing is."""
        if self.is_complete or self._options.is_seeding:
            return ""
        if self.torrent is None:
            return f"{self.name}: nothing is here yet."
        held, count = self.torrent.store.held.held, self.torrent.metainfo.piece_count
        return (
            f"{self.name}: {self.torrent.left_bytes:,} bytes remain; {held} of {count} pieces are "
            "here. The same command goes on with it."
        )

    def summary(self) -> dict[str, object]:
        """Return how it ended, for programs."""
        found: dict[str, object] = {
            "source": self._source,
            "name": self.name,
            "is_complete": self.is_complete,
            "seconds": round(time.monotonic() - self._began, 3),
            "error": None if self.error is None else str(self.error),
        }
        if self.torrent is None:
            return found
        torrent, stats = self.torrent, self.torrent.swarm.stats
        return found | {
            "info_hash": torrent.metainfo.info_hash.hex(),
            "path": str(content_path(torrent.metainfo, self._options.folder)),
            "length": torrent.metainfo.length,
            "bytes_wanted": torrent.wanted_bytes,
            "bytes_left": torrent.left_bytes,
            "bytes_downloaded": stats.kept_bytes,
            "bytes_uploaded": stats.stream_bytes_out,
            "pieces": torrent.metainfo.piece_count,
            "pieces_held": torrent.store.held.held,
        }

    # Stages

    async def _follow(self) -> None:
        options = self._options
        torrent = self.torrent = await self._add(*await self._identify())
        metainfo, held = torrent.metainfo, torrent.store.held.held
        self._report.say(
            f"{self.name}: {metainfo.length:,} bytes, "
            f"{held} of {metainfo.piece_count} pieces are here."
        )
        if options.is_seeding and not held and metainfo.length:
            raise UsageError(f"{self.name}: none of its data is in {options.folder}. See --data.")
        if options.on_added is not None:
            await options.on_added(torrent, self._report)
        if not options.is_seeding:
            was_complete = torrent.completed.is_set()
            await until_complete(torrent)
            await torrent.save()
            took = "" if was_complete else f", after {time.monotonic() - self._began:.1f} s"
            self._report.say(f"{self.name}: complete{took}.")
            if options.on_done is not None:
                with self._report.aside():
                    await run_hook(options.on_done, metainfo, options.folder)
        await self._seed(torrent)
        if options.until is not None:
            await options.until()

    async def _identify(self) -> tuple[Metainfo, Magnet | None]:
        """Find out what the source names, from peers if it does not say."""
        found = await read_torrent(self._source)
        if isinstance(found, Metainfo):
            self.name = found.name
            return found, None
        self.name = found.name or found.info_hash.hex()
        self._fetching = found.info_hash
        self._report.say(f"{self.name}: asking peers what it is.")
        basic = TorrentOptions(
            self._options.folder, peers=self._options.peers, trackers=self._options.trackers
        )
        timeout_s = self._options.metadata_timeout_s
        metainfo = await self._session.fetch(found, basic, timeout_s)
        self.name = metainfo.name
        return metainfo, found

    async def _add(self, metainfo: Metainfo, magnet: Magnet | None) -> Torrent:
        options = self._options
        peers = options.peers + (magnet.peers if magnet is not None else ())
        return await self._session.add(
            metainfo,
            TorrentOptions(
                options.folder,
                wanted=_select(metainfo, options.select, magnet),
                is_sequential=options.is_sequential,
                is_seeding=options.is_seeding,
                peers=peers,
                trackers=options.trackers,
                is_trusted=not is_from_internet(self._source),
                record=_record_path(metainfo),
            ),
            self._on_checked,
        )

    def _on_checked(self, done: int, total: int) -> None:
        self._checked = (done, total)

    async def _seed(self, torrent: Torrent) -> None:
        """Stay until the ratio or the time is reached; without either, a seed stays for good."""
        ratio, time_s = self._options.seed_ratio, self._options.seed_time_s
        began = time.monotonic()
        size = max(torrent.wanted_bytes, 1)
        while True:
            if ratio is not None and torrent.swarm.stats.stream_bytes_out / size >= ratio:
                return
            if time_s is not None and time.monotonic() - began >= time_s:
                return
            await asyncio.sleep(POLL_S)


async def until_complete(torrent: Torrent) -> None:
    """Wait until all that is wanted is here. Raises DiskError: it cannot be kept."""

    async def wait() -> None:
        await torrent.completed.wait()

    completed = asyncio.create_task(wait())
    futures: list[asyncio.Future[None]] = [completed, torrent.failed]
    try:
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        if torrent.failed.done():
            torrent.failed.result()
    finally:
        completed.cancel()


def _select(
    metainfo: Metainfo, patterns: tuple[str, ...], magnet: Magnet | None
) -> frozenset[int] | None:
    """Return the numbers of the wanted files; None: all. Raises UsageError if none match."""
    if not patterns:
        return magnet.wanted if magnet is not None else None
    numbers: list[int] = []
    for number, entry in enumerate(metainfo.files):
        path = "/".join(entry.path)
        if any(
            pattern == str(number) or fnmatch.fnmatch(path, pattern) or path.endswith(f"/{pattern}")
            for pattern in patterns
        ):
            numbers.append(number)
    if not numbers:
        raise UsageError(
            f"--select {' '.join(patterns)}: no file of {metainfo.name} matches. "
            "`livestream info` lists them."
        )
    return frozenset(numbers)


def _record_path(metainfo: Metainfo) -> Path:
    given = os.environ.get(FOLDER_VARIABLE)
    data = Path(given) if given else platformdirs.user_data_path("livestream")
    return data / "resume" / f"{metainfo.info_hash.hex()}.resume"
