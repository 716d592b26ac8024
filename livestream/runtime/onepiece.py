"""`livestream download --piece N`: one piece of a torrent, and nothing else of it (`run`)."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from livestream.errors import DiskError, MetainfoError, UnfinishedError, UsageError
from livestream.machine import Address
from livestream.runtime.files import disk_error
from livestream.runtime.playback import Playback
from livestream.runtime.report import Report
from livestream.runtime.sources import is_from_internet, read_torrent
from livestream.runtime.status import rate_text, row_of, stats_of
from livestream.runtime.torrent import Torrent, TorrentOptions
from livestream.runtime.torrents import TorrentSession
from livestream.runtime.transfer import TransferOptions, until_complete
from livestream.runtime.transfers import open_session
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo

__all__ = ["STDOUT", "run"]

STDOUT: Final = "-"


async def run(options: TransferOptions, piece: int, output: str) -> int:
    """Get a piece and write it to a file, or to stdout for `-`. Returns the exit code.

    Raises:
        UsageError: the torrent has no such piece, or the output is a folder.
        UserError: the source is none, nobody is there, or the output cannot be written.
    """
    if output != STDOUT and Path(output).is_dir():  # noqa: ASYNC240 - one look, before all else.
        raise UsageError(f"{output} is a folder: -o FILE, or -o - for stdout, takes the piece.")
    report = Report(options.stats_file, is_quiet=options.is_quiet, screen=options.screen)
    session = open_session(options, report)
    try:
        await session.open(options.listen or Address("0.0.0.0", 0))  # noqa: S104
        async with asyncio.timeout(options.duration_s):
            metainfo, found = await _identify(session, options, report)
            _check(metainfo, piece)
            with tempfile.TemporaryDirectory(prefix="livestream-") as folder:
                torrent = await session.add(
                    metainfo,
                    TorrentOptions(
                        Path(folder),
                        wanted=frozenset(),  # The piece lies in the part file, and nothing else.
                        piece=piece,
                        peers=options.peers + (found.peers if found is not None else ()),
                        trackers=options.trackers,
                        is_trusted=not is_from_internet(options.sources[0]),
                    ),
                )
                data = await _get(torrent, piece, report)
        await asyncio.to_thread(_write, output, data)
    except TimeoutError:
        raise UnfinishedError(f"The time is over and piece {piece} is not here.") from None
    finally:
        await session.close()
        report.close()
    return 0


async def _identify(
    session: TorrentSession, options: TransferOptions, report: Report
) -> tuple[Metainfo, Magnet | None]:
    found = await read_torrent(options.sources[0])
    if isinstance(found, Metainfo):
        return found, None
    report.say(f"{found.name or found.info_hash.hex()}: asking peers what it is.")
    basic = TorrentOptions(options.folder, peers=options.peers, trackers=options.trackers)
    return await session.fetch(found, basic, options.metadata_timeout_s), found


def _check(metainfo: Metainfo, piece: int) -> None:
    if not metainfo.piece_count:
        raise MetainfoError(f"{metainfo.name} has no bytes, and so no pieces.")
    if not 0 <= piece < metainfo.piece_count:
        raise UsageError(
            f"--piece {piece}: {metainfo.name} has pieces 0 to {metainfo.piece_count - 1}."
        )


async def _get(torrent: Torrent, piece: int, report: Report) -> bytes:
    """Wait for the piece, and return it. Raises DiskError."""
    telling = asyncio.create_task(_tell(torrent, report))
    try:
        await until_complete(torrent)
        start = piece * torrent.metainfo.piece_length
        stop = start + torrent.metainfo.piece_size(piece)
        return b"".join([bytes(each) async for each in Playback(torrent).read(start, stop)])
    finally:
        telling.cancel()


async def _tell(torrent: Torrent, report: Report) -> None:
    while True:
        row = row_of(torrent)
        report.show([row])
        await asyncio.sleep(1)
        line = f"down {rate_text(row.down_bps)}  peers {row.peers}  {row.note}"
        report.second(stats_of([torrent]), lambda line=line: line)  # type: ignore[misc]


def _write(output: str, data: bytes) -> None:
    """Write the piece. Raises DiskError."""
    try:
        if output == STDOUT:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            Path(output).write_bytes(data)
    except BrokenPipeError as error:
        raise DiskError("Whoever reads the piece has gone.") from error
    except OSError as error:
        raise disk_error(error, Path(output)) from error
