"""The files of a torrent, as its info dictionary lists them (BEP 3, 47, 52): `read_files`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from livestream.errors import MetainfoError
from livestream.torrent.paths import clean_paths
from livestream.wire.bencode import Value

__all__ = ["FileEntry", "FileList", "read_files"]

FILES_MAX: Final = 100_000  # Paths and their checks take some 100 MB of memory for as many.
TOTAL_BYTES_MAX: Final = (1 << 63) - 1  # What a file system can address.
V2_PIECE_LENGTH_MIN: Final = 16 * 1024
SHA256_SIZE: Final = 32
TREE_DEPTH_MAX: Final = 64

_Dict: TypeAlias = dict[bytes, Value]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file. `path` is safe to use below any folder, and unique in its torrent."""

    path: tuple[str, ...]
    length: int
    offset: int
    "Of its first byte in the torrent's byte space."
    is_padding: bool = False
    root: bytes = b""
    "Merkle root of its 16 KiB leaves (BEP 52); empty for v1, and for empty files."
    names: tuple[str, ...] = ()
    "Its path as the torrent has it, safe or not."


@dataclass(frozen=True, slots=True)
class FileList:
    """The files in the order of their bytes, and whether the torrent is one file alone."""

    files: tuple[FileEntry, ...]
    is_single: bool


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file as listed, before its place and its safe path are known."""

    names: tuple[str, ...]
    length: int
    is_padding: bool = False
    root: bytes = b""


def read_files(info: _Dict, name: str, piece_length: int) -> FileList:
    """Return the files that an info dictionary describes, in either version or both.

    Raises:
        MetainfoError: they cannot be, or the two versions' files are not the same.
    """
    has_v1, has_v2 = b"pieces" in info, info.get(b"meta version") == 2
    listed = _list_v1(info, name) if has_v1 else []
    is_single = b"length" in info
    if has_v2:
        tree = _list_v2(info, piece_length)
        if has_v1:
            listed = _match(listed, tree)
        else:
            # BEP 52: a tree of one file at its root is "a single-file torrent", and the name "is
            # purely advisory": libtorrent leaves it out of the path, too.
            is_single = len(tree) == 1 and len(tree[0].names) == 1
            listed = _padded(tree, piece_length)
    if not 0 < sum(file.length for file in listed) <= TOTAL_BYTES_MAX:
        raise MetainfoError("This torrent's files have no bytes, or more than there can be.")
    return FileList(_placed(listed, () if is_single else (name,)), is_single)


def _list_v1(info: _Dict, name: str) -> list[_Listed]:
    if b"length" in info:
        if b"files" in info:
            raise MetainfoError("This torrent is one file and several at once.")
        return [_Listed((name,), _length(info))]
    listed = info.get(b"files")
    if not isinstance(listed, list) or not listed:
        raise MetainfoError("This torrent has no files.")
    if len(listed) > FILES_MAX:
        raise MetainfoError(f"This torrent has {len(listed):,} files: over {FILES_MAX:,}.")
    files: list[_Listed] = []
    for entry in listed:
        if not isinstance(entry, dict):
            raise MetainfoError("This torrent's list of files is malformed.")
        length = _length(entry)
        path = entry.get(b"path.utf-8", entry.get(b"path"))
        if not isinstance(path, list) or not path:
            raise MetainfoError("A file of this torrent has no path.")
        names = tuple([part.decode("utf-8", "replace") for part in path if isinstance(part, bytes)])
        if len(names) != len(path):
            raise MetainfoError("A path of this torrent is not text.")
        attributes = entry.get(b"attr", b"")
        is_padding = isinstance(attributes, bytes) and b"p" in attributes
        files.append(_Listed(names, length, is_padding))
    return files


def _list_v2(info: _Dict, piece_length: int) -> list[_Listed]:
    if piece_length < V2_PIECE_LENGTH_MIN or piece_length & (piece_length - 1):
        raise MetainfoError("This v2 torrent's piece length is no power of two from 16 KiB.")
    files: list[_Listed] = []
    for names, properties in _walk(info.get(b"file tree")):
        length = _length(properties)
        root = properties.get(b"pieces root", b"")
        if not isinstance(root, bytes) or len(root) != (SHA256_SIZE if length else 0):
            raise MetainfoError("A file of this v2 torrent has no root hash.")
        files.append(_Listed(names, length, root=root))
        if len(files) > FILES_MAX:
            raise MetainfoError(f"This torrent has over {FILES_MAX:,} files.")
    if not files:
        raise MetainfoError("This torrent has no files.")
    return files


def _walk(tree: Value | None) -> Iterator[tuple[tuple[str, ...], _Dict]]:
    """Yield (path, properties) of the files of a v2 tree, in its order."""
    if not isinstance(tree, dict):
        raise MetainfoError("This v2 torrent has no file tree.")
    stack: list[tuple[tuple[str, ...], Value]] = [((), tree)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict) or len(path) > TREE_DEPTH_MAX:
            raise MetainfoError("This v2 torrent's file tree is malformed.")
        properties = node.get(b"")
        if isinstance(properties, dict):
            if len(node) > 1 or not path:
                raise MetainfoError("A file of this v2 torrent is a folder too.")
            yield path, properties
            continue
        names = sorted(node, reverse=True)
        stack += [((*path, name.decode("utf-8", "replace")), node[name]) for name in names]


def _match(files: Sequence[_Listed], tree: Sequence[_Listed]) -> list[_Listed]:
    """Take v1's layout with v2's roots. Raises MetainfoError where they are not the same files."""
    real = [file for file in files if not file.is_padding]
    same = [(file.names, file.length) for file in real] == [
        (file.names, file.length) for file in tree
    ]
    if not same:
        raise MetainfoError("This hybrid torrent's two halves describe different files.")
    theirs = iter(tree)
    return [file if file.is_padding else next(theirs) for file in files]


def _padded(tree: Sequence[_Listed], piece_length: int) -> list[_Listed]:
    """Pad to pieces, as v2 lays files out: "each non-empty file is aligned" (BEP 52)."""
    last = max((number for number, file in enumerate(tree) if file.length), default=0)
    padded: list[_Listed] = []
    for number, file in enumerate(tree):
        padded.append(file)
        gap = -file.length % piece_length
        if gap and number < last:
            padded.append(_Listed((".pad", str(gap)), gap, is_padding=True))
    return padded


def _placed(listed: Sequence[_Listed], prefix: tuple[str, ...]) -> tuple[FileEntry, ...]:
    """Give every file its offset and its safe path; several are below the torrent's folder."""
    names = [(*prefix, *file.names) for file in listed]
    offset = 0
    files: list[FileEntry] = []
    for file, path, whole in zip(listed, clean_paths(names), names, strict=True):
        files.append(FileEntry(path, file.length, offset, file.is_padding, file.root, whole))
        offset += file.length
    return tuple(files)


def _length(holder: _Dict) -> int:
    length = holder.get(b"length")
    if not isinstance(length, int) or not 0 <= length <= TOTAL_BYTES_MAX:
        raise MetainfoError("A file of this torrent has a length that cannot be.")
    return length
