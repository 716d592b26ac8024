"""Cuts samples into piece payloads: small enough to travel, soon enough to be live."""

from __future__ import annotations

from collections import deque
from typing import Final, final

from livestream.errors import StateError
from livestream.machine import MILLISECOND
from livestream.media.records import NO_RECORD, Payload, PayloadFlags, pack_record
from livestream.media.sample import Sample

__all__ = ["WAIT_US_MAX", "Chunker"]

WAIT_US_MAX: Final = 40 * MILLISECOND  # Longer and lag grows; shorter and small pieces cost bytes.


@final
class Chunker:
    """Samples in; payloads out, cut when full or when their oldest byte has waited 40 ms.

    Invariant: outside its methods the pending bytes are fewer than a full payload and end where a
    record ends, so a pause of the source never holds a finished record back.
    """

    def __init__(self, payload_bytes_max: int) -> None:
        if not 0 < payload_bytes_max <= NO_RECORD:  # Offsets and lengths are u16 on the wire.
            raise StateError(f"payloads of {payload_bytes_max} bytes")
        self._payload_bytes_max = payload_bytes_max
        self._payloads: deque[Payload] = deque()
        self._pending = bytearray()
        self._captured_ms = 0
        self._flags = PayloadFlags(0)
        self._first_record = NO_RECORD
        self._oldest_at = 0
        self._is_finished = False

    def get_timer(self) -> int | None:
        """Return when the pending bytes have waited long enough (µs), or None."""
        return self._oldest_at + WAIT_US_MAX if self._pending else None

    def handle_timer(self, now: int) -> None:
        """Cut what has waited long enough."""
        if self._pending and now - self._oldest_at >= WAIT_US_MAX:
            self._cut(len(self._pending))

    def next_payload(self) -> Payload | None:
        """Return the oldest payload that was not yet taken, or None."""
        return self._payloads.popleft() if self._payloads else None

    def add(self, sample: Sample, captured_ms: int, now: int) -> None:
        """Append a sample.

        Args:
            sample: The sample; those of one track in decoding order.
            captured_ms: Unix time of its capture.
            now: Microseconds.

        Raises:
            StateError: the sample does not fit a record, or comes after `finish`.
        """
        if self._is_finished:
            raise StateError("a sample after the end")
        record = pack_record(sample)
        if not self._pending:
            self._captured_ms, self._oldest_at = captured_ms, now
        if self._first_record == NO_RECORD:
            self._first_record = len(self._pending)
        if sample.is_keyframe:
            self._flags |= PayloadFlags.KEYFRAME
        self._pending += record
        while len(self._pending) >= self._payload_bytes_max:
            self._cut(self._payload_bytes_max)
            self._captured_ms, self._oldest_at = captured_ms, now
        self.handle_timer(now)

    def finish(self, now: int) -> None:
        """End the stream: the last payload, which may be empty, says so. Can be repeated."""
        if self._is_finished:
            return
        self.handle_timer(now)
        self._is_finished = True
        self._flags |= PayloadFlags.END
        self._cut(len(self._pending))

    def _cut(self, size: int) -> None:
        data = bytes(self._pending[:size])
        del self._pending[:size]
        self._payloads.append(Payload(self._captured_ms, self._flags, self._first_record, data))
        self._flags = PayloadFlags(0)
        self._first_record = NO_RECORD
