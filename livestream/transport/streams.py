"""All streams of a node: dials, callers, timers and events (`StreamEndpoint`)."""

from __future__ import annotations

from collections import deque
from typing import Final

from livestream.machine import Address
from livestream.transport.connection import ConnectionEvent, ConnectionState
from livestream.transport.stream import Stream
from livestream.transport.timers import Timers

__all__ = ["StreamEndpoint"]

STREAMS_MAX: Final = 400
DIALS_MAX: Final = 100
CALLERS_SHARE: Final = 0.75  # Of all streams: callers cannot keep us from calling others.


class StreamEndpoint:
    """Keeps the streams; the driver carries out the dials and moves the bytes.

    Invariant: a stream with events or bytes that nobody took yet is in `_changed` or `_unsent`.
    """

    def __init__(self, streams_max: int = STREAMS_MAX) -> None:
        self._streams_max = streams_max
        self._streams: dict[Stream, None] = {}
        self._changed: dict[Stream, None] = {}
        self._unsent: dict[Stream, None] = {}
        self._dials: deque[Stream] = deque()
        self._timers: Timers[Stream] = Timers()
        self._events: deque[ConnectionEvent] = deque()
        self.bytes_taken = 0
        "Accepted for sending, on all streams together, but for what was dropped as too late."

    # For the node

    def connect(self, address: Address, now: int) -> Stream:
        """Open a stream; it reports `Connected` or `Disconnected`."""
        stream = self._add(address, now, is_outgoing=True)
        if len(self._dials) >= DIALS_MAX or len(self._streams) > self._streams_max:
            stream.lost("too many connections")
        else:
            self._dials.append(stream)
        return stream

    def next_event(self) -> ConnectionEvent | None:
        """Return the oldest event that was not yet taken, or None."""
        if not self._events:
            self._collect()
        return self._events.popleft() if self._events else None

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return self._timers.first()

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        while (stream := self._timers.pop_due(now)) is not None:
            stream.handle_timer(now)
            self._changed[stream] = None
        self._collect()

    # For the driver

    def accept(self, address: Address, now: int) -> Stream | None:
        """Take a caller whose socket is up; None when there are too many."""
        if len(self._streams) >= self._streams_max * CALLERS_SHARE:
            return None
        stream = self._add(address, now, is_outgoing=False)
        stream.connected(now)
        return stream

    def next_dial(self) -> Stream | None:
        """Return a stream whose socket is to be opened, or None."""
        while self._dials:
            stream = self._dials.popleft()
            if stream.state is ConnectionState.CONNECTING:
                return stream
        return None

    def take_unsent(self) -> list[Stream]:
        """Return the streams that have got something to send, or have closed, since last asked."""
        unsent, self._unsent = self._unsent, {}
        return list(unsent)

    # Helpers

    def _add(self, address: Address, now: int, *, is_outgoing: bool) -> Stream:
        stream = Stream(address, self._mark, now, is_outgoing=is_outgoing)
        self._streams[stream] = None
        self._mark(stream)
        return stream

    def _mark(self, stream: Stream) -> None:
        if stream.state is ConnectionState.CLOSED:
            stream.discard()  # The kernel has all that it would take.
        self.bytes_taken += stream.bytes_uncounted
        stream.bytes_uncounted = 0
        self._changed[stream] = None
        self._unsent[stream] = None

    def _collect(self) -> None:
        changed, self._changed = self._changed, {}
        for stream in changed:
            while (event := stream.next_event()) is not None:
                self._events.append(ConnectionEvent(stream, event))
            if stream.state is ConnectionState.CLOSED:
                self._streams.pop(stream, None)
                self._timers.set(stream, None)
            else:
                self._timers.set(stream, stream.get_timer())
