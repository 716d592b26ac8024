"""Work spread over processes that are copies of this one (`Forks`).

Threads take turns in Python. Whoever hashes leaves of 16 KiB is back in it every 8 µs, and with
two threads already a sixth of the time goes into falling asleep over it. Processes do not meet.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from selectors import EVENT_READ, DefaultSelector
from struct import Struct
from typing import Final

from livestream.errors import DiskError

__all__ = ["can_fork", "in_forks"]

AHEAD: Final = 2  # Orders that each has: it goes on while its answer is read.
ENDED: Final = "A process that was hashing has ended. Is memory short? Try again."
ORDER: Final = Struct("!Q")
ANSWER: Final = Struct("!?I")  # Whether it went well; bytes that follow.


def can_fork() -> bool:
    """Whether this process can be copied: on Linux, as long as no library has begun a thread.

    A copy has none of the other threads, but whatever locks they held.
    """
    return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208


def in_forks(work: Callable[[int], bytes], count: int, workers: int) -> Iterator[bytes]:
    """Yield what `work` returns for each number below `count`, in their order.

    What it changes is changed in a copy, and lost.

    Raises:
        DiskError: `work` raised one, or a process has ended, or none can be begun.
    """
    forks: list[_Fork] = []
    found: dict[int, bytes] = {}
    orders = iter(range(count))
    try:
        with DefaultSelector() as selector:
            for _ in range(min(workers, count)):
                forks.append(_Fork(work, forks))
                selector.register(forks[-1].answers, EVENT_READ, forks[-1])
            for fork in forks * AHEAD:
                fork.order(next(orders, None))
            for number in range(count):
                while number not in found:
                    for key, _ in selector.select():
                        fork = key.data
                        at, answer = fork.take()
                        found[at] = answer
                        fork.order(next(orders, None))
                yield found.pop(number)
    finally:
        for fork in forks:
            fork.dismiss()


class _Fork:
    """One process, and the pipes to and from it."""

    def __init__(self, work: Callable[[int], bytes], others: list[_Fork]) -> None:
        inbox, self._orders = os.pipe()
        self.answers, outbox = os.pipe()
        self._numbers: deque[int] = deque()
        try:
            self._pid = os.fork()
        except OSError as error:
            for descriptor in (inbox, self._orders, self.answers, outbox):
                os.close(descriptor)
            raise DiskError(
                f"No process can be begun to hash in ({error.strerror}). End others, and try again."
            ) from error
        if not self._pid:
            # Never beyond this point: what is above on the stack is the parent's to do.
            try:
                for fork in [*others, self]:
                    fork.close()
                _serve(work, inbox, outbox)
            finally:
                os._exit(0)
        os.close(inbox)
        os.close(outbox)

    def order(self, number: int | None) -> None:
        """Let it do this next; None: there is nothing left to do. Raises DiskError."""
        if number is not None:
            self._numbers.append(number)
            try:
                os.write(self._orders, ORDER.pack(number))  # So few that it never waits.
            except BrokenPipeError as error:
                raise DiskError(ENDED) from error

    def take(self) -> tuple[int, bytes]:
        """Wait for its next answer, and return what it is to. Raises DiskError."""
        is_done, size = ANSWER.unpack(self._read(ANSWER.size))
        answer = self._read(size)
        if not is_done:
            raise DiskError(answer.decode())
        return self._numbers.popleft(), answer

    def _read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            part = os.read(self.answers, size)
            if not part:
                raise DiskError(ENDED)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close this side's ends of the pipes."""
        os.close(self._orders)
        os.close(self.answers)

    def dismiss(self) -> None:
        """Let it end, which it does within the run that it is at."""
        self.close()
        os.waitpid(self._pid, 0)


def _serve(work: Callable[[int], bytes], inbox: int, outbox: int) -> None:
    """Carry out orders until there are none, in the copy."""
    while order := os.read(inbox, ORDER.size):
        try:
            answer, is_done = work(*ORDER.unpack(order)), True
        except DiskError as error:
            answer, is_done = str(error).encode(), False
        with os.fdopen(outbox, "wb", closefd=False) as file:
            file.write(ANSWER.pack(is_done, len(answer)) + answer)
