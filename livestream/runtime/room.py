"""Waiting for room on a full disk (`Room`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["Room"]

WAIT_FIRST_S: Final = 1.0
WAIT_MAX_S: Final = 60.0  # A quota says nothing: each try costs a piece that is thrown away.


class Room:
    """Looks from time to time whether a folder has room again, and says so.

    Where the disk has room and writing fails all the same (a quota, a limit of the process), the
    tries come ever more rarely. Invariant: at most one look is planned.
    """

    def __init__(self, folder: Path, on_room: Callable[[], None]) -> None:
        self._folder = folder
        self._on_room = on_room
        self._wait_s = WAIT_FIRST_S
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, wanted_bytes: int) -> None:
        """Begin to look for room for so much, unless that is under way."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._wait_s, self._look, wanted_bytes)

    def on_kept(self) -> None:
        """Something could be written: the next full disk is a new one."""
        self._wait_s = WAIT_FIRST_S

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, wanted_bytes: int) -> None:
        self._timer = None
        if self._free_bytes() < wanted_bytes:
            self.wait(wanted_bytes)
            return
        self._wait_s = min(2 * self._wait_s, WAIT_MAX_S)
        self._on_room()

    def _free_bytes(self) -> int:
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize
