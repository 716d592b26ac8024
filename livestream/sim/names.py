"""Errors that know which name was meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["unknown"]


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return what to say of a name that there is not: the nearest, and all."""
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.3)
    nearest = f" The nearest is {near[0]}." if near else ""
    return f"there is no {what} {name[:60]!r}.{nearest} There are: {', '.join(names)}."
