"""One stream for any number of readers, none of whom can hold up another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import Final

from viewer.remuxer import Fragment

__all__ = ["Outlet"]

HELD_BYTES_MAX: Final = 32 << 20  # Since the last key frame; more means a broken stream.
QUEUE_BYTES_MAX: Final = 16 << 20  # A reader this far behind jumps to the newest key frame.


class _Reader:
    """One reader's queue. `generation` tells which container it was given."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.queue: deque[bytes] = deque()
        self.size = 0
        self.is_waiting_for_keyframe = False
        self.news = asyncio.Event()

    def put(self, fragment: Fragment) -> None:
        if self.size > QUEUE_BYTES_MAX:
            self.queue.clear()
            self.size = 0
            self.is_waiting_for_keyframe = True
        if self.is_waiting_for_keyframe and not fragment.is_keyframe:
            return
        self.is_waiting_for_keyframe = False
        self.queue.append(fragment.data)
        self.size += len(fragment.data)
        self.news.set()


class Outlet:
    """Keeps the container's start and all since the last key frame, so that anyone can join.

    Invariant: a reader gets whole fragments of one container, beginning with a key frame.
    """

    def __init__(self) -> None:
        self.has_ended = False
        self._init: bytes | None = None
        self._generation = 0
        self._held: list[Fragment] = []
        self._held_bytes = 0
        self._readers: dict[_Reader, None] = {}
        self._changed = asyncio.Event()

    def restart(self, init: bytes) -> None:
        """Begin another container; those who read the one before have come to its end."""
        self._init = init
        self._generation += 1
        self._held.clear()
        self._held_bytes = 0
        self._wake()

    def publish(self, fragments: Iterable[Fragment]) -> None:
        """Give fragments to everyone."""
        for fragment in fragments:
            if fragment.is_keyframe or self._held_bytes > HELD_BYTES_MAX:
                self._held.clear()
                self._held_bytes = 0
            if self._held or fragment.is_keyframe:
                self._held.append(fragment)
                self._held_bytes += len(fragment.data)
            for reader in self._readers:
                if reader.generation == self._generation:
                    reader.put(fragment)

    def end(self) -> None:
        """No more will come."""
        self.has_ended = True
        self._wake()

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Yield the container's start, all since the last key frame, then what comes."""
        while self._init is None and not self.has_ended:
            await self._changed.wait()
        if self._init is None:
            return
        reader = _Reader(self._generation)
        reader.queue.append(self._init)
        reader.is_waiting_for_keyframe = not self._held
        for fragment in self._held:
            reader.put(fragment)
        self._readers[reader] = None
        try:
            while True:
                while reader.queue:
                    data = reader.queue.popleft()
                    reader.size = max(0, reader.size - len(data))
                    if data:
                        yield data
                if self.has_ended or reader.generation != self._generation:
                    return
                reader.news.clear()
                await reader.news.wait()
        finally:
            del self._readers[reader]

    def _wake(self) -> None:
        for reader in self._readers:
            reader.news.set()
        self._changed.set()
        self._changed = asyncio.Event()
