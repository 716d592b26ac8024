"""Open files below one folder: few at a time, and none of them through a link (`Descriptors`)."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition
from typing import Final

__all__ = ["OPEN_MAX", "Descriptors"]

OPEN_MAX: Final = 128  # Descriptors of one torrent; one of 100,000 files must work.
FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC
FILE_MODE: Final = 0o644


class Descriptors:
    """Opens files by number, and keeps those used last. Safe to use from several threads.

    Invariant: at most OPEN_MAX descriptors are open, none of them closed while used.
    """

    def __init__(self, folder: Path, path_of: Callable[[int], tuple[str, ...]]) -> None:
        """Take how to ask for the path of a file below the folder; nothing is opened yet."""
        self.written: dict[int, None] = {}
        "Files written at all."
        self._folder = folder
        self._path_of = path_of
        self._open: OrderedDict[int, int] = OrderedDict()
        self._users: dict[int, int] = {}
        self._deleted: dict[int, None] = {}
        self._free = Condition()
        self._root: int | None = None

    def open(self) -> None:
        """Open the folder. Raises OSError."""
        self._root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close every descriptor."""
        with self._free:
            for descriptor in self._open.values():
                os.close(descriptor)
            self._open.clear()
            if self._root is not None:
                os.close(self._root)
                self._root = None

    @contextmanager
    def using(self, number: int, *, is_writing: bool) -> Iterator[int]:
        """Lend the descriptor of a file, which is made if it is to be written. Raises OSError."""
        descriptor = self._take(number, is_writing=is_writing)
        try:
            yield descriptor
        finally:
            with self._free:
                self._users[number] -= 1
                if not self._users[number]:
                    del self._users[number]
                    self._free.notify()

    def make(self, number: int) -> None:
        """Make a file, unless it is there. Raises OSError."""
        os.close(self._open_file(number, is_writing=True))

    def take_deleted(self) -> list[int]:
        """Return the files that were found to be deleted since the last call."""
        if not self._deleted:
            return []
        with self._free:
            deleted, self._deleted = self._deleted, {}
        return list(deleted)

    # Helpers

    def _take(self, number: int, *, is_writing: bool) -> int:
        with self._free:
            descriptor = self._open.get(number)
            is_idle = number not in self._users
            if descriptor is not None and is_idle and self._is_deleted(number, descriptor):
                os.close(self._open.pop(number))
                descriptor = None
                self._deleted[number] = None
            if descriptor is None:
                self._evict()
                descriptor = self._open_file(number, is_writing=is_writing)
                self._open[number] = descriptor
            self._open.move_to_end(number)
            self._users[number] = self._users.get(number, 0) + 1
            return descriptor

    def _is_deleted(self, number: int, descriptor: int) -> bool:
        """Whether an open file has no name any more: what is written to it is nobody's.

        One that was replaced by another can be read on, as it was when it was checked.
        """
        if os.fstat(descriptor).st_nlink:
            return False
        path = self._folder.joinpath(*self._path_of(number))
        return number in self.written or not os.path.lexists(path)

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
        path = self._path_of(number)
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
                return os.open(path[-1], flags, FILE_MODE, dir_fd=folder)
            except OSError as error:
                if is_writing or error.errno not in (errno.EACCES, errno.EROFS):
                    raise
                return os.open(path[-1], FILE_FLAGS | os.O_RDONLY, dir_fd=folder)
        finally:
            os.close(folder)


def _make_folder(name: str, folder: int) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return
