"""Where `-o` writes: a pipe at once, without a thread a frame; a file a few times a second."""

from __future__ import annotations

import asyncio
import os
import select
import stat
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import BinaryIO, Final, Self

__all__ = ["STDOUT", "OutputFile"]

STDOUT: Final = "-"
GATHER_S: Final = 0.25  # A file is read later, or by somebody who asks again that often.


class OutputFile:
    """A file, a pipe or a device that is written to without holding up anything else.

    Who reads a pipe plays it: it gets each frame at once. Frames are small, so it has room for
    them nearly always, and a thread is asked only if not: handing them over would cost as much as
    receiving them did. A file's disk may be slow at any time, and threads write what has gathered.

    Invariant: what was passed to `copy` is written in order, and all of it when that returns.
    """

    def __init__(self, path: str) -> None:
        """Open it; that may take until somebody reads the pipe. Raises OSError."""
        self._is_stdout = path == STDOUT
        self._file: BinaryIO = sys.stdout.buffer if self._is_stdout else _open(path)
        self._descriptor = self._file.fileno()
        self._is_regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)

    async def copy(self, source: AsyncGenerator[bytes, None]) -> None:
        """Write all that comes. Raises OSError, BrokenPipeError where nobody reads any more."""
        if self._is_regular:
            await self._gather(source)
            return
        async for data in source:
            view = memoryview(data)
            view = view[self._write_at_once(view) :]
            if view:
                await asyncio.to_thread(self._write, view)

    def close(self) -> None:
        """Close it, unless it is the process's own output."""
        if not self._is_stdout:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _gather(self, source: AsyncGenerator[bytes, None]) -> None:
        parts: list[bytes] = []
        written_s = monotonic()
        async for data in source:
            parts.append(data)
            if monotonic() - written_s >= GATHER_S:
                taken, parts = b"".join(parts), []
                await asyncio.to_thread(self._write, memoryview(taken))
                written_s = monotonic()
        await asyncio.to_thread(self._write, memoryview(b"".join(parts)))

    def _write_at_once(self, data: memoryview) -> int:
        """Write while that cannot block; returns how much.

        Of so many bytes POSIX promises that a pipe takes them if it takes any.
        """
        at = 0
        while at < len(data) and self._poll.poll(0):
            at += os.write(self._descriptor, data[at : at + select.PIPE_BUF])
        return at

    def _write(self, data: memoryview) -> None:
        while data:
            self._poll.poll()  # A shell may have left its pipe non-blocking.
            data = data[os.write(self._descriptor, data) :]


def _open(path: str) -> BinaryIO:
    return Path(path).open("wb")
