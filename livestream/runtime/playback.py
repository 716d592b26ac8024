"""Reads a torrent that is still on its way: what is read is asked for first (`Playback`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from livestream.errors import DiskError, NotFoundError
from livestream.runtime.torrent import PieceWatcher, Torrent
from livestream.torrent.metainfo import FileEntry
from livestream.torrent.readahead import ReadAhead, Reader
from livestream.wire.image import PieceImage

__all__ = ["Playback"]

PART_BYTES: Final = 256 * 1024


class Playback(PieceWatcher):
    """Readers of one torrent, each at its own place.

    Invariant: while somebody reads, the pieces before it are the swarm's urgent ones.
    """

    def __init__(self, torrent: Torrent) -> None:
        self.torrent = torrent
        self._ahead = ReadAhead(torrent.metainfo.piece_length)
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        torrent.watchers.append(self)

    def file(self, number: int) -> FileEntry:
        """Return a file that can be read. Raises NotFoundError."""
        files = self.torrent.metainfo.files
        if not 0 <= number < len(files) or not self.torrent.wants_file(number):
            raise NotFoundError(f"{self.torrent.metainfo.name}: file {number} is not downloaded.")
        return files[number]

    async def read(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes [start, stop) of the torrent, as they come.

        Raises:
            DiskError: a piece was lost after it had been here, and is not fetched again.
        """
        length = self.torrent.metainfo.piece_length
        reader = Reader(start, stop)
        self._ahead.add(reader)
        self._tell_swarm(is_jump=True)
        try:
            while reader.position < stop:
                index = reader.position // length
                image = await self._piece(index)
                end = min(image.size, stop - index * length)
                while (at := reader.position - index * length) < end:
                    part = image.data(at, min(at + PART_BYTES, end))
                    yield part
                    reader.position += len(part)
                self._tell_swarm()
        finally:
            self._ahead.remove(reader)
            self._tell_swarm()

    # PieceWatcher

    def on_held(self, index: int) -> None:
        """A piece is here."""
        self._wake(index)

    def on_loaded(self, index: int) -> None:
        """A piece is in memory, or was lost after all."""
        self._wake(index)

    # Helpers

    async def _piece(self, index: int) -> PieceImage:
        store = self.torrent.store
        while (image := store.image(index)) is None:
            news = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(index, []).append(news)
            was_held = index in store.held
            if was_held:
                store.load(index)
            try:
                await news
            finally:
                self._leave(index, news)
            if was_held and index not in store.held:
                if self.torrent.gets_again(index):
                    self._tell_swarm()
                    continue
                raise DiskError(f"Piece {index} is gone from the disk.")
        return image

    def _leave(self, index: int, news: asyncio.Future[None]) -> None:
        """A reader waits no longer: it was told, or has gone."""
        waiting = self._waiting.get(index, [])
        if news in waiting:
            waiting.remove(news)
            if not waiting:
                del self._waiting[index]

    def _wake(self, index: int) -> None:
        for news in self._waiting.pop(index, ()):
            if not news.done():
                news.set_result(None)

    def _tell_swarm(self, *, is_jump: bool = False) -> None:
        """Say what is urgent. A jump is a place where nothing was asked for yet."""
        urgent = self._ahead.urgent(self.torrent.store.held)
        self.torrent.set_urgent(urgent, is_jump=is_jump and bool(urgent))
