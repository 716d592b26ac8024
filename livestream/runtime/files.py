"""A torrent's files below one folder, opened so that no link can lead out of it (`FileSet`)."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from livestream.errors import DiskError, DiskFullError
from livestream.runtime.descriptors import Descriptors
from livestream.runtime.writing import Writer
from livestream.torrent.metainfo import Metainfo

__all__ = ["FileSet", "disk_error"]

VIEWS_MAX: Final = 512  # Places in one system call; Linux takes 1,024.
PARTS: Final = -1  # The number of the part file among the files.


class FileSet:
    """Reads and writes the torrent's byte space. Safe to use from several threads.

    Bytes of files that nobody wants, but that share a piece with wanted ones, go to a part file
    with holes. Invariant: nothing is read or written but below the folder.
    """

    def __init__(self, metainfo: Metainfo, folder: Path, wanted: frozenset[int]) -> None:
        """Take the numbers of the wanted files; nothing is opened yet."""
        self._metainfo = metainfo
        self._folder = folder
        self._paths = [entry.path for entry in metainfo.files]
        self._wanted = wanted
        self._parts_name = f".{metainfo.info_hash.hex()}.parts"
        self._descriptors = Descriptors(folder, self._names_of)
        self._writer = Writer()
        self.touched: dict[int, None] = {}
        "Files written since this was last emptied."

    def open(self) -> None:
        """Open the folder, and find files that are there under other names. Raises DiskError."""
        try:
            self._descriptors.open()
        except OSError as error:
            raise disk_error(error, self._folder) from error
        self._find_own_names()

    def create(self) -> None:
        """Make the folder, and files that have no bytes. Raises DiskError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.open()
            for number in sorted(self._wanted):
                entry = self._metainfo.files[number]
                if not entry.length and not entry.is_padding:
                    self._descriptors.make(number)
        except OSError as error:
            raise disk_error(error, self._folder) from error

    def close(self) -> None:
        """Close every descriptor."""
        self._descriptors.close()

    def read(self, start: int, length: int) -> bytearray | None:
        """Return bytes of the torrent; None where a file is missing or too short.

        Raises:
            DiskError: the disk fails.
        """
        buffer = bytearray(length)
        return buffer if self.read_into(start, [memoryview(buffer)]) else None

    def read_into(self, start: int, places: Sequence[memoryview]) -> bool:
        """Read bytes of the torrent to where they belong.

        Returns:
            False where a file is missing or too short.

        Raises:
            DiskError: the disk fails.
        """
        queue, total = deque(places), sum(map(len, places))
        for span in self._metainfo.spans(start, total):
            views = list(places) if span.length == total else _take(queue, span.length)
            if self._metainfo.files[span.file].is_padding:
                for view in views:
                    view[:] = bytes(len(view))
                continue
            number, offset = self._place(span.file, span.start)
            try:
                with self._descriptors.using(number, is_writing=False) as descriptor:
                    while views:
                        count = os.preadv(descriptor, views[:VIEWS_MAX], offset)
                        if not count:
                            return False
                        offset += count
                        rest = deque(views[VIEWS_MAX:])
                        if count < sum(map(len, views[:VIEWS_MAX])):
                            _take(rest := deque(views), count)
                        views = list(rest)
            except FileNotFoundError:
                return False
            except OSError as error:
                raise disk_error(error, self._path(number)) from error
        return True

    def write(self, start: int, data: bytes | bytearray) -> None:
        """Write bytes of the torrent. Raises DiskError."""
        at = 0
        for span in self._metainfo.spans(start, len(data)):
            view = memoryview(data)[at : at + span.length]
            at += span.length
            if self._metainfo.files[span.file].is_padding:
                continue
            number, offset = self._place(span.file, span.start)
            try:
                with self._descriptors.using(number, is_writing=True) as descriptor:
                    if number not in self._descriptors.written:
                        self._fit(number, descriptor)
                    self._writer.write(descriptor, view, offset)
            except OSError as error:
                raise disk_error(error, self._path(number)) from error
            self.touched[number] = self._descriptors.written[number] = None

    def cut(self, numbers: Iterable[int]) -> None:
        """Take away what files have beyond their length. Raises DiskError."""
        for number in numbers:
            try:
                with self._descriptors.using(number, is_writing=True) as descriptor:
                    self._fit(number, descriptor)
            except OSError as error:
                raise disk_error(error, self._path(number)) from error

    def sync(self) -> None:
        """Wait until all that was written is on the disk. Raises DiskError."""
        touched, self.touched = self.touched, {}
        for number in list(touched):
            try:
                with self._descriptors.using(number, is_writing=False) as descriptor:
                    os.fdatasync(descriptor)
            except FileNotFoundError:
                continue  # Somebody has deleted it.
            except OSError as error:
                raise disk_error(error, self._path(number)) from error

    def states(self) -> list[tuple[int, int]]:
        """Return (size, mtime in ns) of every file, the part file last; (-1, 0) if not there."""
        # Plain text, and no Path each: of 10,000 files half the time went into those.
        base = f"{self._folder}/"
        paths = [base + "/".join(path) for path in self._paths]
        found = []
        for path in [*paths, base + self._parts_name]:
            try:
                status = os.lstat(path)
                found.append((status.st_size, status.st_mtime_ns))
            except OSError:
                found.append((-1, 0))
        return found

    def take_deleted(self) -> list[int]:
        """Return the files that were found to be deleted since the last call, PARTS among them."""
        return self._descriptors.take_deleted()

    def pieces_in(self, number: int) -> list[int]:
        """Return the pieces that have bytes in a file; for PARTS, in one that nobody wants."""
        files = self._metainfo.files
        numbers = range(len(files)) if number == PARTS else (number,)
        found: dict[int, None] = {}
        for each in numbers:
            if number != PARTS or (each not in self._wanted and not files[each].is_padding):
                pieces = self._metainfo.pieces_of(files[each])
                found.update(dict.fromkeys(range(pieces.start, pieces.stop)))
        return list(found)

    def has_changed(self, start: int, length: int, states: Sequence[tuple[int, int]]) -> bool:
        """Whether a file that bytes of the torrent are in is not as it was when `states` was made.

        Files that were written here are not judged.

        Raises:
            DiskError: the disk fails.
        """
        for span in self._metainfo.spans(start, length):
            number, _ = self._place(span.file, 0)
            if self._metainfo.files[span.file].is_padding or number in self._descriptors.written:
                continue
            try:
                with self._descriptors.using(number, is_writing=False) as descriptor:
                    status = os.fstat(descriptor)
            except OSError as error:
                raise disk_error(error, self._path(number)) from error
            if (status.st_size, status.st_mtime_ns) != states[number]:
                return True
        return False

    # Helpers

    def _find_own_names(self) -> None:
        """Use files that are there under the torrent's own names, safe or not.

        Whoever shares `Part 1: X`, or has it from another client, need not rename it.
        """
        files = self._metainfo.files
        odd = {n: None for n, entry in enumerate(files) if entry.names not in ((), entry.path)}
        if not odd:
            return
        # Where case does not count, another name may be another file of the torrent.
        plain = (self._inode(path) for n, path in enumerate(self._paths) if n not in odd)
        used = dict.fromkeys(plain)
        for number in odd:
            names = files[number].names
            inode = self._inode(names) if all(map(_is_component, names)) else None
            if inode is not None and inode not in used:
                used[inode] = None
                self._paths[number] = names

    def _inode(self, path: tuple[str, ...]) -> tuple[int, int] | None:
        """Return what a regular file is known by to the system; None if there is none."""
        try:
            status = os.lstat(f"{self._folder}/{'/'.join(path)}")
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None

    def _place(self, file: int, start: int) -> tuple[int, int]:
        """Return the file number, or PARTS, and the offset in it."""
        if file in self._wanted:
            return file, start
        return PARTS, self._metainfo.files[file].offset + start

    def _path(self, number: int) -> Path:
        return self._folder.joinpath(*self._names_of(number))

    def _names_of(self, number: int) -> tuple[str, ...]:
        return (self._parts_name,) if number == PARTS else self._paths[number]

    def _fit(self, number: int, descriptor: int) -> None:
        """Give a file its length: bytes come in any order, and none belong behind it."""
        if number != PARTS:
            length = self._metainfo.files[number].length
            if os.fstat(descriptor).st_size != length:
                os.ftruncate(descriptor, length)  # Sparse.


def _take(queue: deque[memoryview], length: int) -> list[memoryview]:
    """Take places of so many bytes off a queue; the last one is cut if need be."""
    taken = []
    while length:
        place = queue.popleft()
        if len(place) > length:
            queue.appendleft(place[length:])
            place = place[:length]
        taken.append(place)
        length -= len(place)
    return taken


def _is_component(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def disk_error(error: OSError, path: Path) -> DiskError:
    """Say what an OSError means for the person who wants the file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFullError(f"No space for {path}. Free some, or choose another folder with -o.")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return DiskError(
            f"{path}: a link or a file stands in the way, and torrents are not written through "
            "links. Move it away, or choose another folder with -o."
        )
    return DiskError(f"{path}: {error.strerror}. Check the folder and its permissions.")
