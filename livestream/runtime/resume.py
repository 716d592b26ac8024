"""What is known to be on disk, from one run to the next (`ResumeRecord`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from livestream.errors import MessageDecodeError
from livestream.pieces.pieceset import PieceSet
from livestream.torrent.metainfo import Metainfo
from livestream.wire import bencode

__all__ = ["ResumeRecord"]

FORMAT = 1


class ResumeRecord:
    """A small file, replaced whole, and only after the data that it vouches for is on the disk.

    It vouches for a file as long as size and time of the last change are what it says. Pieces of
    files that have changed, or that it does not know, are hashed again: nothing unverified is
    trusted, and nothing that was verified is lost.
    """

    def __init__(self, path: Path | None) -> None:
        """Take where it is; None: nothing is kept, so everything is hashed at each start."""
        self._path = path

    def judge(
        self, metainfo: Metainfo, states: Sequence[tuple[int, int]]
    ) -> tuple[list[int], list[int]]:
        """Return the pieces that are known to be here, and those that may be.

        Args:
            metainfo: The torrent.
            states: (size, mtime in ns) of every file, the part file last; size -1: not there.
        """
        count = metainfo.piece_count
        recorded = self._load(metainfo)
        bits = recorded[0] if recorded is not None else PieceSet(count)
        known = recorded[1] if recorded is not None else [(-1, 0)] * len(states)
        touches_changed = np.zeros(count, dtype=np.bool_)
        touches_missing = np.zeros(count, dtype=np.bool_)
        has_parts = states[-1][0] > 0
        for entry, state, before in zip(metainfo.files, states[:-1], known[:-1], strict=True):
            if not entry.length or entry.is_padding:
                continue
            if state != before or states[-1] != known[-1]:
                touches_changed[metainfo.pieces_of(entry)] = True
            if state[0] < 0 and not has_parts:
                touches_missing[metainfo.pieces_of(entry)] = True
        trusted = bits.flags & ~touches_changed
        doubtful = touches_changed & ~touches_missing
        return np.flatnonzero(trusted).tolist(), np.flatnonzero(doubtful).tolist()

    def save(self, metainfo: Metainfo, bits: bytes, states: Sequence[tuple[int, int]]) -> None:
        """Replace the record. Raises OSError."""
        if self._path is None:
            return
        record = bencode.encode(
            {
                b"format": FORMAT,
                b"info-hash": metainfo.info_hash_v2,
                b"pieces": bits,
                b"sizes": [size for size, _ in states],
                b"times": [time_ns for _, time_ns in states],
            }
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(record)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    def _load(self, metainfo: Metainfo) -> tuple[PieceSet, list[tuple[int, int]]] | None:
        """Return what was recorded; None for nothing, or nothing that can be used."""
        try:
            fields = bencode.decode(self._path.read_bytes()) if self._path is not None else None
        except (OSError, MessageDecodeError):
            return None
        if not isinstance(fields, dict) or fields.get(b"info-hash") != metainfo.info_hash_v2:
            return None
        bits, sizes, times = (fields.get(key) for key in (b"pieces", b"sizes", b"times"))
        if (
            not isinstance(bits, bytes)
            or not isinstance(sizes, list)
            or not isinstance(times, list)
        ):
            return None
        known = [
            (size, time_ns)
            for size, time_ns in zip(sizes, times, strict=False)
            if isinstance(size, int) and isinstance(time_ns, int)
        ]
        if fields.get(b"format") != FORMAT or len(known) != len(metainfo.files) + 1:
            return None
        try:
            return PieceSet.from_bytes(bits, metainfo.piece_count), known
        except MessageDecodeError:
            return None
