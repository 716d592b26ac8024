"""Making a torrent: the layout of its files, and what goes around its hashes (BEP 3, 47, 52)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from livestream.errors import MetainfoError
from livestream.pieces.merkle import LEAF_BYTES, merkle_root
from livestream.torrent.metainfo import SHA256_SIZE, FileEntry, Metainfo
from livestream.wire import bencode
from livestream.wire.bencode import Value

__all__ = ["PieceHash", "Version", "best_piece_length", "lay_out", "to_torrent"]

PIECE_LENGTH_MIN: Final = 16 * 1024
PIECE_LENGTH_MAX: Final = 16 << 20
PIECES_WANTED: Final = 1_500
PIECES_MAX: Final = 40_000  # As many as that only to keep padding small.
PADDING_SHARE_MAX: Final = 0.25


class Version(Enum):
    """Which hashes a torrent gets."""

    V1 = "v1"
    HYBRID = "hybrid"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class PieceHash:
    """The hashes of one piece; empty where the version has none."""

    v1: bytes = b""
    v2: bytes = b""
    "Root of the piece's leaves, balanced to a whole piece, or to the file if that is shorter."


def best_piece_length(lengths: Sequence[int], version: Version) -> int:
    """Return a power of two that gives about 1,500 pieces for files of these lengths.

    Where padding separates files, many small ones ask for smaller pieces: their padding is not
    sent, but it is hashed, and takes memory. Measured with 2,500 files of 4 kB beside one of 1 GiB,
    one seed and one leecher: with pieces of 128 and 256 KiB 11 CPU seconds of both, with 1 MiB
    (about 1,500 in all, as without small files) 13.6, and with 4 MiB 26 and three times the memory.
    """
    total = sum(lengths)
    length = PIECE_LENGTH_MIN
    while length < PIECE_LENGTH_MAX and total > length * PIECES_WANTED:
        length *= 2
    if version is Version.V1:
        return length
    while length > PIECE_LENGTH_MIN and total < length * PIECES_MAX // 2:
        padding = sum(-size % length for size in lengths)
        if padding <= PADDING_SHARE_MAX * total:
            break
        length //= 2
    return length


def lay_out(
    name: str,
    files: Sequence[tuple[tuple[str, ...], int]],
    piece_length: int,
    version: Version,
    *,
    is_single: bool,
) -> Metainfo:
    """Return a torrent without hashes yet: where every byte goes.

    Args:
        name: Of the torrent: its file, or its folder.
        files: (path below that folder, length), sorted by path.
        piece_length: Bytes.
        version: Pieces of v2 never span files: padding sees to that.
        is_single: The only file is the torrent.

    Raises:
        MetainfoError: no file has a byte, or v2 cannot say that they are in a folder.
    """
    if version is Version.V2 and not is_single and len(files) == 1 and len(files[0][0]) == 1:
        # BEP 52: one file at the root of the tree is "a single-file torrent", whatever the name.
        raise MetainfoError(f"A v2 torrent of one file has no folder: share {name}'s file itself.")
    if not any(length for _, length in files):
        raise MetainfoError("There is nothing to share: no file has a byte in it.")
    entries: list[FileEntry] = []
    offset = 0
    last = max(number for number, (_, length) in enumerate(files) if length)
    for number, (path, length) in enumerate(files):
        whole = path if is_single else (name, *path)
        entries.append(FileEntry(whole, length, offset))
        offset += length
        gap = -offset % piece_length
        if version is not Version.V1 and gap and number < last:
            entries.append(FileEntry((name, ".pad", str(gap)), gap, offset, is_padding=True))
            offset += gap
    return Metainfo(name, piece_length, tuple(entries), offset, b"", is_single=is_single)


def to_torrent(
    layout: Metainfo,
    hashes: Sequence[PieceHash],
    version: Version,
    *,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
    is_private: bool = False,
    created_at: int | None = None,
    created_by: str = "",
) -> bytes:
    """Return the bytes of the .torrent file. `hashes` has one entry a piece of the layout."""
    info: dict[bytes, Value] = {
        b"name": layout.name.encode(),
        b"piece length": layout.piece_length,
    }
    if is_private:
        info[b"private"] = 1
    outer: dict[bytes, Value] = {}
    if version is not Version.V2:
        info[b"pieces"] = b"".join(piece.v1 for piece in hashes)
        info |= _v1_files(layout)
    if version is not Version.V1:
        tree, layers = _file_tree(layout, hashes)
        info[b"file tree"] = tree
        info[b"meta version"] = 2
        outer[b"piece layers"] = layers
    outer[b"info"] = info
    if trackers:
        outer[b"announce"] = trackers[0].encode()
        outer[b"announce-list"] = [[url.encode()] for url in trackers]
    if web_seeds:
        outer[b"url-list"] = [url.encode() for url in web_seeds]
    if created_at is not None:
        outer[b"creation date"] = created_at
    if created_by:
        outer[b"created by"] = created_by.encode()
    return bencode.encode(outer)


def _v1_files(layout: Metainfo) -> dict[bytes, Value]:
    if layout.is_single:
        return {b"length": layout.files[0].length}
    listed: list[Value] = []
    for entry in layout.files:
        path: list[Value] = [part.encode() for part in entry.path[1:]]
        fields: dict[bytes, Value] = {b"length": entry.length, b"path": path}
        if entry.is_padding:
            fields[b"attr"] = b"p"
        listed.append(fields)
    return {b"files": listed}


def _file_tree(
    layout: Metainfo, hashes: Sequence[PieceHash]
) -> tuple[dict[bytes, Value], dict[bytes, Value]]:
    """Return v2's tree of files, and the piece layers of those longer than a piece."""
    tree: dict[bytes, Value] = {}
    layers: dict[bytes, Value] = {}
    for entry in layout.files:
        if entry.is_padding:
            continue
        fields: dict[bytes, Value] = {b"length": entry.length}
        if entry.length:
            first = entry.offset // layout.piece_length
            count = -(-entry.length // layout.piece_length)
            pieces = [piece.v2 for piece in hashes[first : first + count]]
            root = _root(pieces, layout.piece_length)
            fields[b"pieces root"] = root
            if count > 1:
                layers[root] = b"".join(pieces)
        path = entry.path if layout.is_single else entry.path[1:]
        node = tree
        for part in path:
            inner = node.setdefault(part.encode(), {})
            if not isinstance(inner, dict):
                raise MetainfoError(f"{'/'.join(path)} is a file and a folder.")
            node = inner
        node[b""] = fields
    return tree, layers


def _root(pieces: Sequence[bytes], piece_length: int) -> bytes:
    if len(pieces) == 1:
        return pieces[0]
    empty_piece = merkle_root([bytes(SHA256_SIZE)], piece_length // LEAF_BYTES)
    return merkle_root(pieces, 1 << (len(pieces) - 1).bit_length(), empty_piece)
