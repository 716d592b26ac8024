"""The verify command: hashes a torrent's data on disk, and says which files are whole."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from livestream.errors import HashMismatchError, UnfinishedError, UsageError
from livestream.runtime.disk import DiskStore
from livestream.runtime.resume import ResumeRecord
from livestream.runtime.transfers import read_torrent
from livestream.torrent.metainfo import Metainfo

__all__ = ["verify"]


async def verify(source: str, folder: Path, on_progress: Callable[[int, int], None]) -> int:
    """Print a line a file: ok, missing or wrong. Returns the exit code.

    Raises:
        UnfinishedError: something is missing, and the rest is right.
        HashMismatchError: something is wrong.
        UsageError, DiskError: it cannot be tried.
    """
    metainfo = await read_torrent(source)
    if not isinstance(metainfo, Metainfo):
        raise UsageError("verify takes a .torrent file: a magnet link has no hashes of pieces.")
    store = DiskStore(metainfo, folder, record=ResumeRecord(None), is_read_only=True)
    await store.open(on_progress)
    try:
        missing, wrong = _judge(metainfo, store)
    finally:
        await store.close(0)
    if wrong:
        raise HashMismatchError(f"{wrong} of {len(metainfo.files)} files are wrong.")
    if missing:
        raise UnfinishedError(f"{missing} of {len(metainfo.files)} files are missing or cut short.")
    return 0


def _judge(metainfo: Metainfo, store: DiskStore) -> tuple[int, int]:
    missing = wrong = 0
    for entry, (size, _) in zip(metainfo.files, store.states, strict=False):
        if entry.is_padding:
            continue
        is_whole = bool(store.held.flags[metainfo.pieces_of(entry)].all())
        if size < entry.length:
            missing += 1
        elif not is_whole or size > entry.length:
            wrong += 1
        word = "missing" if size < entry.length else "ok" if is_whole else "wrong"
        sys.stdout.write(f"{word:8}{'/'.join(entry.path)}\n")
    return missing, wrong
