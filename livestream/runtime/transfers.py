"""The download and seed commands: torrents from their sources to their goals (`run`)."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import platformdirs

from livestream.errors import MetainfoError, NetworkError, UnfinishedError, UsageError, UserError
from livestream.machine import Address
from livestream.runtime.report import Report
from livestream.runtime.torrents import Torrent, TorrentOptions, TorrentSession
from livestream.torrent.magnet import Magnet, is_magnet
from livestream.torrent.metainfo import METADATA_BYTES_MAX, Metainfo

__all__ = ["TransferOptions", "is_from_internet", "read_torrent", "run", "stats_of"]

FOLDER_VARIABLE: Final = "LIVESTREAM_DATA_DIR"
FETCH_TIMEOUT_S: Final = 30
POLL_S: Final = 0.2
WEB_SEED_FAILURES_SHOWN: Final = 2  # The line is one line.


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
    upload_bps: int | None = None
    stats_file: str | None = None
    is_quiet: bool = False
    on_added: Callable[[Torrent, Report], Awaitable[None]] | None = None
    "Told of each torrent as it begins."
    until: Callable[[], Awaitable[None]] | None = None
    "A further goal: stay until this is over, too."


async def run(options: TransferOptions) -> int:
    """Take part until every goal is met. Returns the exit code.

    Raises:
        UserError: a source is none, a disk fails, nobody is there, or not all of it came.
    """
    report = Report(options.stats_file, is_quiet=options.is_quiet)
    session = TorrentSession(upload_bps=options.upload_bps)
    telling: asyncio.Task[None] | None = None
    try:
        await session.open(options.listen or Address("0.0.0.0", 0))  # noqa: S104
        telling = asyncio.create_task(_tell(session, report))
        following = [_follow(session, source, options, report) for source in options.sources]
        work = asyncio.gather(*following)
        try:
            await asyncio.wait_for(work, options.duration_s)
        except TimeoutError:
            if not all(torrent.completed.is_set() for torrent in session.torrents):
                raise UnfinishedError(
                    "The time is over and not all of it is here. The same command goes on with it."
                ) from None
    finally:
        if telling is not None:
            telling.cancel()
        await session.close()
        report.close()
    return 0


def is_from_internet(source: str) -> bool:
    """Whether a stranger may have written what is there: a magnet or a URL, but no file."""
    return is_magnet(source) or source.startswith(("http://", "https://"))


async def read_torrent(source: str) -> Metainfo | Magnet:
    """Read what names a torrent: a file, a magnet, an info-hash or a URL.

    Raises:
        MetainfoError: it is not one.
        UsageError: there is no such file.
        NetworkError: the URL does not answer.
    """
    if is_magnet(source):
        return Magnet.parse(source)
    if source.startswith(("http://", "https://")):
        return Metainfo.parse(await _fetch(source))
    return await asyncio.to_thread(_read_file, source)


def _read_file(source: str) -> Metainfo:
    path = Path(source)
    try:
        if path.stat().st_size > METADATA_BYTES_MAX:
            raise MetainfoError("too large to be a .torrent file.")
        return Metainfo.parse(path.read_bytes())
    except MetainfoError as error:
        raise MetainfoError(f"{source}: {error}") from error
    except OSError as error:
        raise UsageError(
            f"{source}: {error.strerror}. Give a .torrent file, a magnet link or a URL."
        ) from error


async def _fetch(url: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(url, max_redirects=5) as response,
        ):
            response.raise_for_status()
            body = await response.content.read(METADATA_BYTES_MAX + 1)
            while len(body) <= METADATA_BYTES_MAX and (more := await response.content.read(65_536)):
                body += more
            return body
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NetworkError(f"{url} cannot be fetched: {error}. Check the address.") from error


async def _follow(
    session: TorrentSession, source: str, options: TransferOptions, report: Report
) -> None:
    """Bring one torrent to its goals."""
    found = await read_torrent(source)
    basic = TorrentOptions(options.folder, peers=options.peers, trackers=options.trackers)
    if isinstance(found, Magnet):
        report.say(f"{found.name or found.info_hash.hex()}: asking peers what it is.")
        metainfo = await session.fetch(found, basic, options.metadata_timeout_s)
    else:
        metainfo = found
    peers = (*options.peers, *(found.peers if isinstance(found, Magnet) else ()))
    began = time.monotonic()
    torrent = await session.add(
        metainfo,
        TorrentOptions(
            options.folder,
            wanted=_select(metainfo, options.select, found),
            is_sequential=options.is_sequential,
            peers=peers,
            trackers=options.trackers,
            is_trusted=not is_from_internet(source),
            record=_record_path(metainfo),
        ),
    )
    held, count = torrent.store.held.held, metainfo.piece_count
    report.say(f"{metainfo.name}: {metainfo.length:,} bytes, {held} of {count} pieces are here.")
    if options.is_seeding and not held:
        raise UsageError(f"{metainfo.name}: none of its data is in {options.folder}.")
    if options.on_added is not None:
        await options.on_added(torrent, report)
    if not options.is_seeding:
        await torrent.completed.wait()
        await torrent.store.save()
        report.say(f"{metainfo.name}: complete, after {time.monotonic() - began:.1f} s.")
        await _run_hook(options, metainfo)
    await _seed(torrent, options)
    if options.until is not None:
        await options.until()


async def _seed(torrent: Torrent, options: TransferOptions) -> None:
    """Stay until the ratio or the time is reached; without either, a seed stays for good."""
    began = time.monotonic()
    has_goal = options.seed_ratio is not None or options.seed_time_s is not None
    while True:
        ratio = torrent.swarm.stats.stream_bytes_out / torrent.metainfo.length
        if has_goal and options.seed_ratio is not None and ratio >= options.seed_ratio:
            return
        if options.seed_time_s is not None and time.monotonic() - began >= options.seed_time_s:
            return
        await asyncio.sleep(POLL_S)


async def _run_hook(options: TransferOptions, metainfo: Metainfo) -> None:
    if options.on_done is None:
        return
    environment = {
        **os.environ,
        "LIVESTREAM_NAME": metainfo.name,
        "LIVESTREAM_PATH": str(options.folder / metainfo.name),
        "LIVESTREAM_INFO_HASH": metainfo.info_hash.hex(),
    }
    process = await asyncio.create_subprocess_shell(options.on_done, env=environment)
    code = await process.wait()
    if code:
        raise UserError(f"The command of --on-done ended with {code}. The download is complete.")


def _select(
    metainfo: Metainfo, patterns: tuple[str, ...], source: Metainfo | Magnet
) -> frozenset[int] | None:
    """Return the numbers of the wanted files; None: all. Raises UsageError if none match."""
    if not patterns:
        return source.wanted if isinstance(source, Magnet) else None
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


def stats_of(torrents: Sequence[Torrent]) -> dict[str, float | int | str]:
    """Return the counters of `--stats`, of several torrents together; rates are averages."""
    swarms = [torrent.swarm for torrent in torrents]
    return {
        "time": time.time(),
        "down_bps": int(8 * sum(peer.rate_in for each in swarms for peer in each.block_peers)),
        "up_bps": int(8 * sum(peer.rate_out for each in swarms for peer in each.block_peers)),
        "peers": sum(len(each.ready) for each in swarms),
        "pieces_received": sum(each.stats.pieces_received for each in swarms),
        "pieces_rejected": sum(each.stats.pieces_rejected for each in swarms),
        "blocks_wasted": sum(each.requests.blocks_wasted for each in swarms),
        "pieces_held": sum(torrent.store.held.held for torrent in torrents),
        "pieces": sum(torrent.metainfo.piece_count for torrent in torrents),
        "payload_bytes": sum(each.stats.payload_bytes for each in swarms),
        "bytes_uploaded": sum(each.stats.stream_bytes_out for each in swarms),
        "transport": "tcp",
    }


async def _tell(session: TorrentSession, report: Report) -> None:
    bytes_in, bytes_out = 0, 0
    while True:
        await asyncio.sleep(1)
        down = session.bytes_in - bytes_in
        up = session.tcp.bytes_out - bytes_out
        bytes_in, bytes_out = session.bytes_in, session.tcp.bytes_out
        stats = {**stats_of(session.torrents), "down_bps": 8 * down, "up_bps": 8 * up}
        share = 100 * int(stats["pieces_held"]) / max(int(stats["pieces"]), 1)
        errors = [str(each.error) for each in session.torrents if each.error is not None]
        errors += session.web_seed_failures()[:WEB_SEED_FAILURES_SHOWN]
        line = (
            f"{share:.1f} %  down {down * 8 / 1e6:.1f}M  up {up * 8 / 1e6:.1f}M  "
            f"peers {stats['peers']}" + "".join(f"  {error}" for error in errors)
        )
        report.second(stats, lambda line=line: line)  # type: ignore[misc]
