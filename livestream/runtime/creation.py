"""The create command: from a path to a .torrent file, written whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from livestream.errors import ExistsError, UsageError
from livestream.runtime.files import disk_error
from livestream.runtime.hashing import find_files, hash_pieces
from livestream.swarm.greeting import CLIENT_NAME
from livestream.torrent.create import (
    PIECE_LENGTH_MAX,
    PIECE_LENGTH_MIN,
    Version,
    best_piece_length,
    lay_out,
    to_torrent,
)
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo
from livestream.torrent.weburl import is_web_url

__all__ = ["CreateOptions", "Created", "make"]


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """What `livestream create` was asked for."""

    path: str
    output: str
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    version: Version = Version.HYBRID
    is_private: bool = False
    piece_size: str | None = None
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class Created:
    """What was made."""

    magnet: Magnet
    folder: Path
    "What `livestream seed --data` takes: the torrent's paths are below it."


def make(options: CreateOptions, on_progress: Callable[[int, int], None]) -> Created:
    """Hash, write the .torrent file, and return its magnet.

    Raises:
        UsageError: nothing to share at that path, no such piece size, or a web seed that is none.
        ExistsError: the .torrent file is there already.
        DiskError: something cannot be read or written.
    """
    path, output = Path(options.path).resolve(), Path(options.output)
    if output.exists() and not options.is_forced:
        raise ExistsError(f"{output} is there already. Choose another name, or add --force.")
    for url in options.web_seeds:
        if not is_web_url(url):
            raise UsageError(f"--web-seed {url}: give a URL that begins with http:// or https://.")
    files, is_single = find_files(path)
    if options.version is Version.V2 and not is_single and len(files) == 1:
        path, files, is_single = _without_folder(path, files)
    length = _piece_length(options, [length for _, length in files])
    layout = lay_out(path.name, files, length, options.version, is_single=is_single)
    hashes = hash_pieces(layout, path.parent, options.version, on_progress)
    data = to_torrent(
        layout,
        hashes,
        options.version,
        trackers=options.trackers,
        web_seeds=options.web_seeds,
        is_private=options.is_private,
        created_at=int(time.time()),
        created_by=CLIENT_NAME,
    )
    fresh = output.with_name(output.name + ".new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(output)
    except OSError as error:
        raise disk_error(error, output) from error
    return Created(Magnet.of(Metainfo.parse(data)), path.parent)


def _without_folder(
    path: Path, files: list[tuple[tuple[str, ...], int]]
) -> tuple[Path, list[tuple[tuple[str, ...], int]], bool]:
    """Share a folder's only file itself: v2 has no way to name its folder (BEP 52)."""
    ((parts, _),) = files
    return (path / parts[0], files, True) if len(parts) == 1 else (path, files, False)


def _piece_length(options: CreateOptions, lengths: list[int]) -> int:
    text = options.piece_size
    if text is None:
        return best_piece_length(lengths, options.version)
    digits, factor = text, 1
    if text[-1:] in ("k", "M"):
        digits, factor = text[:-1], 1 << (10 if text[-1] == "k" else 20)
    length = int(digits) * factor if digits.isdigit() else 0
    is_power = length & (length - 1) == 0
    if not is_power or not PIECE_LENGTH_MIN <= length <= PIECE_LENGTH_MAX:
        raise UsageError(f"--piece-size {text}: give a power of two from 16k to 16M.")
    return length
