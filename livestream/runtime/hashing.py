"""Hashes what is to be shared, on all cores: in processes, or in threads (`hash_pieces`)."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha1
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from livestream.errors import DiskError, UsageError
from livestream.pieces.merkle import LEAF_BYTES, merkle_root, padding_hash, width_of
from livestream.runtime.files import FileSet, disk_error
from livestream.runtime.forks import can_fork, in_forks
from livestream.torrent.create import PieceHash, Version
from livestream.torrent.hashing import tree_root
from livestream.torrent.metainfo import SHA1_SIZE, SHA256_SIZE, Metainfo

__all__ = ["find_files", "hash_pieces"]

AHEAD: Final = 4  # Runs that wait for each worker.
RUN_BYTES: Final = 4 << 20  # One hand-over between threads for as many.
FORK_RUNS_MIN: Final = 8  # For less, threads are done before processes have begun.
READ_BYTES: Final = 1 << 20  # Read at once: large enough for the disk, small enough for the cache.

_Found = list[PieceHash]


def find_files(path: Path) -> tuple[list[tuple[tuple[str, ...], int]], bool]:
    """Return (path below `path`, length) of the files to share, sorted, and whether it is one file.

    Links are left out: what they lead to is for its owner to share.

    Raises:
        UsageError: there is no such file or folder, or a name is no text.
        DiskError: a folder cannot be read.
    """
    found: list[tuple[tuple[str, ...], int]]
    if path.is_file():
        found = [((path.name,), path.stat().st_size)]
    elif path.is_dir():
        found = sorted(_walk(path))
    else:
        raise UsageError(f"{path}: no such file or folder.")
    for parts, _ in [((path.name,), 0), *found]:
        if not _is_text(parts):
            name = "/".join(parts).encode(errors="surrogateescape")
            raise UsageError(f"{path.parent}: the name {name!r} is not UTF-8. Rename it.")
    return found, path.is_file()


def _walk(path: Path) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield (path below `path`, length) of the files in a folder."""
    folders: list[tuple[str, ...]] = [()]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(path.joinpath(*folder)) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append((*folder, entry.name))
                    elif entry.is_file(follow_symlinks=False):
                        yield (*folder, entry.name), entry.stat(follow_symlinks=False).st_size
        except OSError as error:
            raise disk_error(error, path.joinpath(*folder)) from error


def _is_text(parts: Sequence[str]) -> bool:
    try:
        "/".join(parts).encode()
    except UnicodeEncodeError:
        return False
    return True


def hash_pieces(
    layout: Metainfo,
    folder: Path,
    version: Version,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[PieceHash]:
    """Return the hashes of every piece; `folder` is what the layout's paths are below.

    Raises:
        DiskError: a file cannot be read, or has changed since it was laid out.
    """
    files = FileSet(layout, folder, frozenset(range(len(layout.files))))
    files.open()
    runs = _runs(layout)
    workers = os.cpu_count() or 1
    hashes: list[PieceHash] = []
    try:
        if workers > 1 and len(runs) >= FORK_RUNS_MIN and can_fork():
            found = _in_processes(_Hasher(layout, files, version), runs, workers)
        else:
            found = _in_threads([_Hasher(layout, files, version) for _ in range(workers)], runs)
        for of_run in found:
            hashes += of_run
            if on_progress is not None:
                on_progress(len(hashes), layout.piece_count)
    finally:
        files.close()
    return hashes


def _runs(layout: Metainfo) -> list[range]:
    """Cut the pieces into runs that one worker hashes at a time."""
    count = max(RUN_BYTES // layout.piece_length, 1)
    starts = range(0, layout.piece_count, count)
    return [range(start, min(start + count, layout.piece_count)) for start in starts]


def _in_processes(hasher: _Hasher, runs: Sequence[range], workers: int) -> Iterator[_Found]:
    """Yield the hashes of all runs in their order. Each process has a copy of the hasher."""
    for answer in in_forks(lambda number: hasher.pack(runs[number]), len(runs), workers):
        yield hasher.unpack(answer)


def _in_threads(hashers: Sequence[_Hasher], runs: Sequence[range]) -> Iterator[_Found]:
    """Yield the hashes of all runs in their order, with only so many under way."""
    idle: SimpleQueue[_Hasher] = SimpleQueue()
    for each in hashers:
        idle.put(each)

    def work(run: range) -> _Found:
        hasher = idle.get()
        try:
            return hasher.hash_run(run)
        finally:
            idle.put(hasher)

    waiting: deque[Future[_Found]] = deque()
    with ThreadPoolExecutor(len(hashers), thread_name_prefix="hash") as pool:
        try:
            for run in runs:
                waiting.append(pool.submit(work, run))
                if len(waiting) > AHEAD * len(hashers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _Hasher:
    """Hashes pieces in one buffer of its own: fresh memory costs a page fault each 4 KiB."""

    def __init__(self, layout: Metainfo, files: FileSet, version: Version) -> None:
        self._layout = layout
        self._files = files
        self._version = version
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._v1_size = 0 if version is Version.V2 else SHA1_SIZE
        self._size = self._v1_size + (0 if version is Version.V1 else SHA256_SIZE)

    def pack(self, run: range) -> bytes:
        """Hash pieces that follow each other, for `unpack` elsewhere. Raises DiskError."""
        return b"".join([each.v1 + each.v2 for each in self.hash_run(run)])

    def unpack(self, data: bytes) -> _Found:
        """Return the hashes that `pack` found."""
        pieces = [data[at : at + self._size] for at in range(0, len(data), self._size)]
        return [PieceHash(each[: self._v1_size], each[self._v1_size :]) for each in pieces]

    def hash_run(self, run: range) -> _Found:
        """Hash pieces that follow each other. Raises DiskError."""
        length = self._layout.piece_length
        if length > READ_BYTES:
            return [self._hash(index, self._parts(index)) for index in run]
        hashes = []
        step = READ_BYTES // length
        for first in range(run.start, run.stop, step):
            last = min(first + step, run.stop)
            view = self._read(first * length, min(last * length, self._layout.length))
            for index in range(first, last):
                at = (index - first) * length
                hashes.append(self._hash(index, (view[at : at + length],)))
        return hashes

    def _parts(self, index: int) -> Iterator[memoryview]:
        """Read a long piece in parts that stay in the processor's cache."""
        start = index * self._layout.piece_length
        end = start + self._layout.piece_size(index)
        for at in range(start, end, READ_BYTES):
            yield self._read(at, min(at + READ_BYTES, end))

    def _read(self, start: int, end: int) -> memoryview:
        view = self._buffer[: end - start]
        if not self._files.read_into(start, [view]):
            raise DiskError("A file changed or went away while it was hashed. Try again.")
        return view

    def _hash(self, index: int, parts: Iterable[memoryview]) -> PieceHash:
        layout = self._layout
        left = 0  # Bytes of the piece that belong to its v2 file: padding is not in its tree.
        width = 0
        if self._version is not Version.V1:
            span = next(iter(layout.spans(index * layout.piece_length, 1)))
            entry = layout.files[span.file]
            left = min(entry.length - span.start, layout.piece_length)
            is_long = entry.length > layout.piece_length
            leaf_count = -(-(layout.piece_length if is_long else left) // LEAF_BYTES)
            width = width_of(leaf_count)
        whole = sha1(usedforsecurity=False)
        roots: list[bytes] = []
        part_width = min(width, READ_BYTES // LEAF_BYTES)
        for part in parts:
            if self._version is not Version.V2:
                whole.update(part)
            if left > 0:
                roots.append(tree_root(part[:left], part_width))
                left -= len(part)
        v1 = b"" if self._version is Version.V2 else whole.digest()
        if not width:
            return PieceHash(v1)
        filler = padding_hash(part_width.bit_length() - 1)
        return PieceHash(v1, merkle_root(roots, width // part_width, filler))
