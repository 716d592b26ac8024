"""Makes trains of datagrams that came one behind the other (`TrainJoiner`)."""

from __future__ import annotations

from livestream.machine import Address, Train

__all__ = ["TrainJoiner"]


class TrainJoiner:
    """Makes trains of what is read to a buffer, one behind the other.

    Invariant: no datagram of the open train but the last is shorter than the others.
    """

    def __init__(self, buffer: memoryview) -> None:
        self.end = 0
        "Where the next read goes."
        self._buffer = buffer
        self._trains: list[Train] = []
        self._source: tuple[str, int] | None = None
        self._size = 0
        self._start = 0
        self._waited_us = 0
        self._is_open = False

    def add(self, source: tuple[str, int], length: int, size: int, waited_us: int = 0) -> None:
        """Take what was read: from whom, how much, how large each datagram is, and how late."""
        fits = size == self._size or (size < self._size and length == size)
        if not (self._is_open and fits and source == self._source):
            self._close()
            self._source, self._size = source, size
        self.end += length
        self._waited_us = waited_us
        self._is_open = length > 0 and size == self._size and not length % size

    def trains(self) -> list[Train]:
        """Return them: nothing more comes."""
        self._close()
        return self._trains

    def _close(self) -> None:
        if self._source is not None:
            host, port = self._source[:2]
            if "." in host:
                host = host.removeprefix("::ffff:")
            data = self._buffer[self._start : self.end]
            train = Train(Address(host, port), data, max(1, self._size))
            train.waited_us = self._waited_us
            self._trains.append(train)
        self._start = self.end
