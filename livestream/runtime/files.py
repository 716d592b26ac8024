"""A torrent's files below one folder, opened so that no link can lead out of it (`FileSet`)."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition
from typing import Final

from livestream.errors import DiskError, DiskFullError
from livestream.runtime.writing import Writer
from livestream.torrent.metainfo import Metainfo

__all__ = ["FileSet", "disk_error"]

OPEN_MAX: Final = 128  # Descriptors of one torrent; one of 100,000 files must work.
FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC
FILE_MODE: Final = 0o644
VIEWS_MAX: Final = 512  # Places in one system call; Linux takes 1,024.
PARTS: Final = -1  # The number of the part file among the files.


class FileSet:
    """Reads and writes the torrent's byte space. Safe to use from several threads.

    Bytes of files that nobody wants, but that share a piece with wanted ones, go to a part file
    with holes. Invariant: at most OPEN_MAX descriptors are open, none of them closed while used.
    """

    def __init__(self, metainfo: Metainfo, folder: Path, wanted: frozenset[int]) -> None:
        """Take the numbers of the wanted files; nothing is opened yet."""
        self._metainfo = metainfo
        self._folder = folder
        self._paths = [entry.path for entry in metainfo.files]
        self._wanted = wanted
        self._parts_name = f".{metainfo.info_hash.hex()}.parts"
        self._open: OrderedDict[int, int] = OrderedDict()
        self._users: dict[int, int] = {}
        self._free = Condition()
        self._root: int | None = None
        self._writer = Writer()
        self.touched: dict[int, None] = {}
        "Files written since this was last emptied."
        self._written: dict[int, None] = {}
        "Files written at all: that they change means nothing."

    def open(self) -> None:
        """Open the folder, and find files that are there under other names. Raises DiskError."""
        try:
            self._root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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
                    os.close(self._open_file(number, is_writing=True))
        except OSError as error:
            raise disk_error(error, self._folder) from error

    def close(self) -> None:
        """Close every descriptor."""
        with self._free:
            for descriptor in self._open.values():
                os.close(descriptor)
            self._open.clear()
            if self._root is not None:
                os.close(self._root)
                self._root = None

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
        queue = deque(places)
        for span in self._metainfo.spans(start, sum(map(len, places))):
            views = _take(queue, span.length)
            if self._metainfo.files[span.file].is_padding:
                for view in views:
                    view[:] = bytes(len(view))
                continue
            number, offset = self._place(span.file, span.start)
            try:
                with self._using(number, is_writing=False) as descriptor:
                    while views:
                        count = os.preadv(descriptor, views[:VIEWS_MAX], offset)
                        if not count:
                            return False
                        offset += count
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
                with self._using(number, is_writing=True) as descriptor:
                    self._writer.write(descriptor, view, offset)
            except OSError as error:
                raise disk_error(error, self._path(number)) from error
            self.touched[number] = self._written[number] = None

    def sync(self) -> None:
        """Wait until all that was written is on the disk. Raises DiskError."""
        with self._free:
            touched, self.touched = self.touched, {}
        for number in touched:
            try:
                with self._using(number, is_writing=True) as descriptor:
                    os.fdatasync(descriptor)
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

    def has_changed(self, start: int, length: int, states: Sequence[tuple[int, int]]) -> bool:
        """Whether a file that bytes of the torrent are in is not as it was when `states` was made.

        Files that were written here are not judged.

        Raises:
            DiskError: the disk fails.
        """
        for span in self._metainfo.spans(start, length):
            number, _ = self._place(span.file, 0)
            if self._metainfo.files[span.file].is_padding or number in self._written:
                continue
            try:
                with self._using(number, is_writing=False) as descriptor:
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
        if number == PARTS:
            return self._folder / self._parts_name
        return self._folder.joinpath(*self._paths[number])

    @contextmanager
    def _using(self, number: int, *, is_writing: bool) -> Iterator[int]:
        descriptor = self._take(number, is_writing=is_writing)
        try:
            yield descriptor
        finally:
            with self._free:
                self._users[number] -= 1
                if not self._users[number]:
                    del self._users[number]
                    self._free.notify()

    def _take(self, number: int, *, is_writing: bool) -> int:
        with self._free:
            descriptor = self._open.get(number)
            if descriptor is None:
                self._evict()
                descriptor = self._open_file(number, is_writing=is_writing)
                self._open[number] = descriptor
            self._open.move_to_end(number)
            self._users[number] = self._users.get(number, 0) + 1
            return descriptor

    def _evict(self) -> None:
        while len(self._open) >= OPEN_MAX:
            idle = next((number for number in self._open if number not in self._users), None)
            if idle is None:
                self._free.wait()
                continue
            os.close(self._open.pop(idle))

    def _open_file(self, number: int, *, is_writing: bool) -> int:
        """Open for both if we may, step by step from the folder, following no link."""
        if self._root is None:
            raise FileNotFoundError(errno.ENOENT, "closed")
        is_parts = number == PARTS
        path = (self._parts_name,) if is_parts else self._paths[number]
        folder = os.dup(self._root)
        try:
            for name in path[:-1]:
                if is_writing:
                    _make_folder(name, folder)
                inner = os.open(name, FOLDER_FLAGS, dir_fd=folder)
                os.close(folder)
                folder = inner
            try:
                flags = FILE_FLAGS | os.O_RDWR | (os.O_CREAT if is_writing else 0)
                descriptor = os.open(path[-1], flags, FILE_MODE, dir_fd=folder)
            except OSError as error:
                if is_writing or error.errno not in (errno.EACCES, errno.EROFS):
                    raise
                descriptor = os.open(path[-1], FILE_FLAGS | os.O_RDONLY, dir_fd=folder)
        finally:
            os.close(folder)
        length = 0 if is_parts else self._metainfo.files[number].length
        if is_writing and os.fstat(descriptor).st_size < length:
            os.ftruncate(descriptor, length)  # Sparse: bytes come in any order.
        return descriptor


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


def _make_folder(name: str, folder: int) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return


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
