"""The verify command: hashes a torrent's data on disk, and says which files are whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from livestream.errors import HashMismatchError, UnfinishedError, UsageError
from livestream.runtime.disk import DiskStore
from livestream.runtime.resume import ResumeRecord
from livestream.runtime.sources import read_torrent
from livestream.torrent.metainfo import FileEntry, Metainfo

__all__ = ["verify"]


@dataclass(frozen=True, slots=True)
class _Judged:
    path: str
    length: int
    state: str
    "ok, missing or wrong."


async def verify(
    source: str, folder: Path, on_progress: Callable[[int, int], None], *, is_json: bool = False
) -> int:
    """Print a line a file: ok, missing or wrong; or all of it as JSON. Returns the exit code.

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
        files = [
            _judge(metainfo, store, entry, size)
            for entry, (size, _) in zip(metainfo.files, store.states, strict=False)
            if not entry.is_padding
        ]
    finally:
        await store.close(0)
    sys.stdout.write(_as_json(metainfo, store, files) if is_json else _as_lines(files))
    sys.stdout.flush()
    wrong = sum(each.state == "wrong" for each in files)
    missing = sum(each.state == "missing" for each in files)
    if wrong:
        raise HashMismatchError(f"{wrong} of {len(files)} files are wrong.")
    if missing:
        raise UnfinishedError(f"{missing} of {len(files)} files are missing or cut short.")
    return 0


def _judge(metainfo: Metainfo, store: DiskStore, entry: FileEntry, size: int) -> _Judged:
    is_whole = bool(store.held.flags[metainfo.pieces_of(entry)].all()) or not entry.length
    if size < entry.length:
        state = "missing"
    else:
        state = "ok" if is_whole and size == entry.length else "wrong"
    return _Judged("/".join(entry.path), entry.length, state)


def _as_lines(files: Sequence[_Judged]) -> str:
    return "".join(f"{each.state:8}{each.path}\n" for each in files)


def _as_json(metainfo: Metainfo, store: DiskStore, files: Sequence[_Judged]) -> str:
    found = {
        "name": metainfo.name,
        "info_hash": metainfo.info_hash.hex(),
        "pieces": metainfo.piece_count,
        "pieces_ok": store.held.held,
        "files": [
            {"path": each.path, "length": each.length, "state": each.state} for each in files
        ],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
