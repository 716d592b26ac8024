"""The download command with --play: the files of torrents, played while they come in (`run`)."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Final
from urllib.parse import urlsplit

from livestream.errors import UsageError
from livestream.machine import Address
from livestream.runtime import transfers
from livestream.runtime.playback import Playback
from livestream.runtime.report import Report
from livestream.runtime.torrents import Torrent
from livestream.runtime.transfers import TransferOptions
from viewer.players import start_player
from viewer.web.server import WebServer
from viewer.web.torrent import TorrentPage, TorrentView

__all__ = ["run"]

HTTP_DEFAULT: Final = Address("127.0.0.1", 7070)
VIDEO: Final = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm"}
)
SOUND: Final = frozenset({".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav"})


class Theatre(TorrentView):
    """The torrents that can be played, their page, and the player.

    Invariant: the page is served from the first torrent to the end; one player is started.
    """

    def __init__(self, http: Address | None, player: str) -> None:
        self._is_port_explicit = http is not None
        self._playbacks: dict[str, Playback] = {}
        self._player_name = player
        self._player: Process | None = None
        address = http or HTTP_DEFAULT
        self._server = WebServer(
            TorrentPage(self), *address, is_port_explicit=self._is_port_explicit
        )
        self._url = ""

    async def show(self, torrent: Torrent, report: Report) -> None:
        """Serve a torrent; its main file is played, if it is the first. Raises UserError."""
        number = main_file(torrent)
        info_hash = torrent.metainfo.info_hash.hex()
        self._playbacks[info_hash] = Playback(torrent)
        is_first = not self._url
        if is_first:
            self._url = await self._server.start()
            report.say(f"Page: {self._url}")
        media_url = urlsplit(self._url)._replace(path=f"/t/{info_hash}/stream/{number}").geturl()
        sys.stdout.write(f"{media_url}\n")  # For players and scripts.
        sys.stdout.flush()
        if is_first:
            self._player = await start_player(
                self._player_name, self._url, media_url, is_live=False
            )
            if self._player is None and self._player_name == "auto":
                report.say("No display or player here: open the page, or give a player the URL.")

    async def wait(self) -> None:
        """Wait until the player is closed; without one, for good."""
        if self._player is None:
            await asyncio.Event().wait()
        else:
            await self._player.wait()

    async def close(self) -> None:
        """Close the player and the page."""
        if self._player is not None and self._player.returncode is None:
            self._player.terminate()
        await self._server.stop()

    # TorrentView

    def find(self, info_hash: str) -> Playback | None:
        """Return the torrent with this info-hash in hex, or None."""
        return self._playbacks.get(info_hash)

    def about(self) -> dict[str, object]:
        """Return the torrents and their files."""
        torrents = [
            {
                "info_hash": info_hash,
                "name": playback.torrent.metainfo.name,
                "main_file": main_file(playback.torrent),
                "files": [
                    {"number": number, "path": "/".join(entry.path), "length": entry.length}
                    for number, entry in enumerate(playback.torrent.metainfo.files)
                    if playback.torrent.wants_file(number)
                ],
            }
            for info_hash, playback in self._playbacks.items()
        ]
        return {"torrents": torrents}

    def stats(self) -> Mapping[str, float | int | str]:
        """Return the counters of `--stats`."""
        return transfers.stats_of([playback.torrent for playback in self._playbacks.values()])

    def peers(self) -> list[dict[str, str | int | float]]:
        """Return a row for every peer."""
        return [
            {
                "address": f"{peer.address.host}:{peer.address.port}",
                "client": peer.client,
                "down_bps": int(8 * peer.rate_in),
                "up_bps": int(8 * peer.rate_out),
            }
            for playback in self._playbacks.values()
            for peer in playback.torrent.swarm.block_peers
        ]


def main_file(torrent: Torrent) -> int:
    """Return the number of the largest media file that is wanted; of any file, if there is none.

    Raises:
        UsageError: there is nothing to play.
    """
    files = [
        (PurePath(entry.path[-1]).suffix.lower() in VIDEO | SOUND, entry.length, -number)
        for number, entry in enumerate(torrent.metainfo.files)
        if torrent.wants_file(number) and entry.length
    ]
    if not files:
        raise UsageError(f"{torrent.metainfo.name}: there is no file to play.")
    return -max(files)[2]


async def run(options: TransferOptions, *, http: Address | None, player: str) -> int:
    """Download, and play meanwhile. Returns the exit code. Raises UserError."""
    theatre = Theatre(http, player)
    try:
        return await transfers.run(replace(options, on_added=theatre.show, until=theatre.wait))
    finally:
        await theatre.close()
