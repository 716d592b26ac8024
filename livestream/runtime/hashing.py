"""Hashes what is to be shared, on all cores: hashlib lets other threads run (`hash_pieces`)."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha1
from pathlib import Path
from typing import Final

from livestream.errors import DiskError, UsageError
from livestream.pieces.merkle import LEAF_BYTES, merkle_root
from livestream.runtime.files import FileSet
from livestream.torrent.create import PieceHash, Version
from livestream.torrent.hashing import leaf_hashes
from livestream.torrent.metainfo import Metainfo

__all__ = ["find_files", "hash_pieces"]

AHEAD: Final = 8  # Pieces that wait for each worker: bounds the memory.


def find_files(path: Path) -> tuple[list[tuple[tuple[str, ...], int]], bool]:
    """Return (path below `path`, length) of the files to share, sorted, and whether it is one file.

    Links are left out: what they lead to is for its owner to share.

    Raises:
        UsageError: there is no such file or folder.
    """
    if path.is_file():
        return [((path.name,), path.stat().st_size)], True
    if not path.is_dir():
        raise UsageError(f"{path}: no such file or folder.")
    found = [
        (inner.relative_to(path).parts, inner.stat().st_size)
        for inner in path.rglob("*")
        if inner.is_file() and not inner.is_symlink()
    ]
    return sorted(found), False


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
    everything = frozenset(range(len(layout.files)))
    files = FileSet(layout, folder, everything)
    files.open()
    workers = os.cpu_count() or 1
    waiting: deque[Future[PieceHash]] = deque()
    hashes: list[PieceHash] = []
    try:
        with ThreadPoolExecutor(workers, thread_name_prefix="hash") as pool:
            for index in range(layout.piece_count):
                waiting.append(pool.submit(_hash_piece, layout, files, index, version))
                if len(waiting) > AHEAD * workers:
                    hashes.append(waiting.popleft().result())
                    if on_progress is not None:
                        on_progress(len(hashes), layout.piece_count)
            hashes += [future.result() for future in waiting]
    finally:
        files.close()
    if on_progress is not None:
        on_progress(len(hashes), layout.piece_count)
    return hashes


def _hash_piece(layout: Metainfo, files: FileSet, index: int, version: Version) -> PieceHash:
    start = index * layout.piece_length
    data = files.read(start, layout.piece_size(index))
    if data is None:
        raise DiskError("A file changed or went away while it was hashed. Try again.")
    v1 = b"" if version is Version.V2 else sha1(data, usedforsecurity=False).digest()
    if version is Version.V1:
        return PieceHash(v1)
    span = next(iter(layout.spans(start, 1)))
    entry = layout.files[span.file]
    leaves = leaf_hashes(memoryview(data)[: min(len(data), entry.length - span.start)])
    width = layout.piece_length // LEAF_BYTES
    if entry.length <= layout.piece_length:
        width = 1 << (len(leaves) - 1).bit_length()
    return PieceHash(v1, merkle_root(leaves, width))
