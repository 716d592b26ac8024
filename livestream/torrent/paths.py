"""Safe paths: whatever a torrent calls its files, they stay below the chosen folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

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

    Two that would be one file where case does not count, and a file that is another one's folder,
    get a suffix.
    """
    taken: dict[tuple[str, ...], None] = {}
    folders: dict[tuple[str, ...], None] = {}
    cleaned = []
    for path in paths:
        parts = [clean_component(part) for part in path if part not in ("", ".")][:DEPTH_MAX]
        found = _make_unique(parts or ["_"], taken, folders)
        folded = tuple(part.casefold() for part in found)
        taken[folded] = None
        for length in range(1, len(folded)):
            folders[folded[:length]] = None
        cleaned.append(found)
    return cleaned


def _make_unique(
    parts: list[str], taken: dict[tuple[str, ...], None], folders: dict[tuple[str, ...], None]
) -> tuple[str, ...]:
    base = list(parts)
    number = 0
    while True:
        folded = tuple(part.casefold() for part in parts)
        clash = next((n for n in range(1, len(folded)) if folded[:n] in taken), None)
        if clash is None and folded not in taken and folded not in folders:
            return tuple(parts)
        number += 1
        at = len(parts) - 1 if clash is None else clash - 1
        parts = list(base)
        parts[at] = _with_suffix(base[at], number)


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
    return encoded[:room].decode("utf-8", "ignore").rstrip(". ") + tail
