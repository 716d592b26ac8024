"""The download and seed commands: several torrents, each to its own end (`run`)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from livestream.errors import DiskFullError, UnfinishedError
from livestream.machine import Address, Event
from livestream.runtime.address import resolve
from livestream.runtime.report import Report
from livestream.runtime.status import rate_text, stats_of
from livestream.runtime.torrents import TorrentSession
from livestream.runtime.transfer import Transfer, TransferOptions
from livestream.swarm.swarm import PeerBanned, PeerJoined, PeerLeft

__all__ = ["TransferOptions", "open_session", "run", "stats_of"]

NOTES_SHOWN: Final = 2  # The line is one line.


async def run(options: TransferOptions) -> int:
    """Take part until every goal is met, or cannot be. Returns the exit code.

    Raises:
        UserError: the only torrent failed, or the time is over and not all of it came.
        NetworkError: a peer's name does not resolve.
    """
    peers = [await asyncio.to_thread(resolve, peer) for peer in options.peers]
    options = replace(options, peers=tuple(peers))
    report = Report(options.stats_file, is_quiet=options.is_quiet, screen=options.screen)
    session = open_session(options, report)
    transfers = [Transfer(each, options, session, report) for each in options.sources]
    telling: asyncio.Task[None] | None = None
    try:
        await session.open(options.listen or Address("0.0.0.0", 0))  # noqa: S104
        telling = asyncio.create_task(_tell(session, transfers, report))
        await _until_ended(session, transfers, options.duration_s)
    finally:
        if telling is not None:
            telling.cancel()
        try:
            await session.close()
        finally:
            _take_leave(transfers, report, is_json=options.is_json)
            report.close()
    return _verdict(transfers)


def open_session(options: TransferOptions, report: Report) -> TorrentSession:
    """Return a session as the options want it."""

    def tell(event: Event) -> None:
        if isinstance(event, PeerJoined):
            report.say(f"peer {event.peer.address} joined")
        elif isinstance(event, PeerLeft):
            report.say(f"peer {event.peer} left: {event.reason}")
        elif isinstance(event, PeerBanned):
            report.say(f"peer {event.peer} is banned: {event.reason}")

    def ignore(event: Event) -> None:
        """What swarms report is in their counters, too."""

    return TorrentSession(
        upload_bps=options.upload_bps,
        download_bps=options.download_bps,
        transport=options.transport,
        on_event=tell if options.is_verbose else ignore,
    )


async def _until_ended(
    session: TorrentSession, transfers: Sequence[Transfer], duration_s: float | None
) -> None:
    """Wait for all of them, for the end of the time, or for an error of our own."""
    tasks = [asyncio.create_task(transfer.run()) for transfer in transfers]
    futures: list[asyncio.Future[None]] = [
        asyncio.create_task(_all(tasks)),
        asyncio.create_task(session.udp.failed()),
    ]
    try:
        ended, _ = await asyncio.wait(
            futures, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED
        )
        for future in ended:
            future.result()
    finally:
        for future in (*futures, *tasks):
            future.cancel()
        await asyncio.gather(*futures, *tasks, return_exceptions=True)


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


def _take_leave(transfers: Sequence[Transfer], report: Report, *, is_json: bool) -> None:
    """Say what remains and what could not be recorded; sum up for programs."""
    for transfer in transfers:
        if transfer.error is None and (remains := transfer.remains()):
            report.say(remains)
        if transfer.torrent is not None and transfer.torrent.save_error:
            report.say(
                f"{transfer.name}: what is here could not be recorded "
                f"({transfer.torrent.save_error}). The next start hashes it again."
            )
    if is_json:
        summaries = [transfer.summary() for transfer in transfers]
        sys.stdout.write(json.dumps(summaries, indent=1, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def _verdict(transfers: Sequence[Transfer]) -> int:
    """Return the exit code of it all: that of the first error. Raises UserError."""
    errors = [transfer.error for transfer in transfers if transfer.error is not None]
    if errors and len(transfers) == 1:
        raise errors[0]
    for transfer in transfers:
        full = transfer.torrent.error if transfer.torrent is not None else None
        if not transfer.is_complete and isinstance(full, DiskFullError):
            raise full
    if errors:
        sys.stderr.write(f"livestream: {len(errors)} of {len(transfers)} torrents failed.\n")
        return errors[0].exit_code
    if not all(transfer.is_complete or not transfer.remains() for transfer in transfers):
        raise UnfinishedError("The time is over and not all of it is here.")
    return 0


async def _tell(session: TorrentSession, transfers: Sequence[Transfer], report: Report) -> None:
    bytes_in, bytes_out = 0, 0
    while True:
        report.show([transfer.row() for transfer in transfers])
        await asyncio.sleep(1)
        down = session.bytes_in - bytes_in
        up = session.bytes_out - bytes_out
        bytes_in, bytes_out = session.bytes_in, session.bytes_out
        torrents = [each.torrent for each in transfers if each.torrent is not None]
        stats = {**stats_of(torrents), "down_bps": 8 * down, "up_bps": 8 * up}
        report.second(stats, lambda stats=stats: _line(stats, transfers, session))  # type: ignore[misc]


def _line(
    stats: dict[str, float | int | str], transfers: Sequence[Transfer], session: TorrentSession
) -> str:
    share = 100 * int(stats["pieces_held"]) / max(int(stats["pieces"]), 1)
    rows = [transfer.row() for transfer in transfers if not transfer.is_complete]
    notes = [row.note if len(transfers) == 1 else f"{row.name}: {row.note}" for row in rows]
    shown = [note for note, row in zip(notes, rows, strict=True) if row.note][:NOTES_SHOWN]
    shown += session.web_seed_failures()[:NOTES_SHOWN]
    return (
        f"{share:.1f} %  down {rate_text(int(stats['down_bps']))}  "
        f"up {rate_text(int(stats['up_bps']))}  peers {stats['peers']}"
    ) + "".join(f"  {note}" for note in shown)
