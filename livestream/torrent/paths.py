"""Safe paths: whatever a torrent calls its files, they stay below the chosen folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from unicodedata import normalize

__all__ = ["clean_component", "clean_paths"]

COMPONENT_BYTES_MAX: Final = 240  # File systems take 255; a suffix must fit.
DEPTH_MAX: Final = 64
FORBIDDEN: Final = frozenset('/\\:*?"<>|')
DEVICES: Final = frozenset(
    ["CON", "PRN", "AUX", "NUL"] + [f"{name}{n}" for name in ("COM", "LPT") for n in range(1, 10)]
)


def clean_component(name: str) -> str:
    """Return a name that is one component on every file system, never empty, `.` or `..`."""
    cleaned = name
    if not name.isprintable() or not FORBIDDEN.isdisjoint(name):
        cleaned = "".join([letter if _is_allowed(letter) else "_" for letter in name])
    cleaned = cleaned.rstrip(". ")
    cleaned = cleaned or "_"
    if cleaned.partition(".")[0].rstrip().upper() in DEVICES:
        cleaned = "_" + cleaned
    return _shorten(cleaned)


def clean_paths(paths: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return a safe, relative and unique path for each, in the same order.

    Two that would be one file where case or the form of accents does not count, and a file that is
    another one's folder, get a suffix.
    """
    root = _Folder()
    parents: dict[tuple[str, ...], tuple[tuple[str, ...], _Folder]] = {}
    cleaned = []
    for path in paths:
        names = [part for part in path if part not in ("", ".")][:DEPTH_MAX] or ["_"]
        above = tuple(names[:-1])
        found = parents.get(above)
        if found is None:
            found = parents[above] = _descend(root, above)
        parent, folder = found
        cleaned.append((*parent, folder.add_file(names[-1])))
    return cleaned


def _descend(folder: _Folder, names: Sequence[str]) -> tuple[tuple[str, ...], _Folder]:
    parts = []
    for name in names:
        part, folder = folder.folder(name)
        parts.append(part)
    return tuple(parts), folder


class _Folder:
    """The names that are taken in one folder.

    A hostile torrent has 100,000 files of one name: each name remembers the suffixes it has used.
    """

    __slots__ = ("_folders", "_suffixes", "_taken")

    def __init__(self) -> None:
        self._taken: dict[str, None] = {}
        self._folders: dict[str, tuple[_Folder, str]] = {}
        "By folded name; the name is another one, with a suffix, where a file was there first."
        self._suffixes: dict[str, int] = {}

    def add_file(self, name: str) -> str:
        """Return the name that a file gets."""
        return self._take(clean_component(name))

    def folder(self, name: str) -> tuple[str, _Folder]:
        """Return the name of a folder in this one, and the folder: the same for the same name."""
        cleaned = clean_component(name)
        folded = _fold(cleaned)
        known = self._folders.get(folded)
        if known is None:
            known = self._folders[folded] = _Folder(), self._take(cleaned)
        inner, taken = known
        return (cleaned if _fold(taken) == folded else taken), inner

    def _take(self, name: str) -> str:
        folded = _fold(name)
        found, number = name, self._suffixes.get(folded, 0)
        while _fold(found) in self._taken:
            number += 1
            found = _with_suffix(name, number)
        self._suffixes[folded] = number
        self._taken[_fold(found)] = None
        return found


def _fold(name: str) -> str:
    """Return what names have in common that some file systems take for one (Unicode, D145)."""
    return name.lower() if name.isascii() else normalize("NFD", normalize("NFD", name).casefold())


def _with_suffix(name: str, number: int) -> str:
    stem, dot, extension = name.rpartition(".")
    return f"{stem}.{number}.{extension}" if dot and stem else f"{name}.{number}"


def _is_allowed(letter: str) -> bool:
    # Surrogates and controls break file systems; the bidirectional ones deceive the eye.
    return letter not in FORBIDDEN and letter.isprintable()


def _shorten(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= COMPONENT_BYTES_MAX:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = f".{extension}" if dot and stem and len(extension.encode()) < 32 else ""
    room = COMPONENT_BYTES_MAX - len(tail.encode())
    return (encoded[:room].decode("utf-8", "ignore").rstrip(". ") or "_") + tail
