"""The inverse of the Chunker: consecutive payloads in, whole samples out, losses survived."""

from __future__ import annotations

from typing import NamedTuple, final

from livestream.errors import MessageDecodeError
from livestream.media.records import (
    NO_RECORD,
    RECORD_HEADER_SIZE,
    Payload,
    parse_record_header,
)
from livestream.media.sample import Sample

__all__ = ["CapturedSample", "Joiner"]


class CapturedSample(NamedTuple):
    """A sample and when it was captured."""

    sample: Sample
    captured_ms: int
    "Unix time. After a Joiner: that of the first byte of the payload in which its record begins."


@final
class Joiner:
    """Puts samples together out of consecutive payloads.

    Invariant: `_partial` is the beginning of one record, never a whole one, so at most one record
    (bounded by the record codec) and one payload are in memory. It is empty while not synced.
    """

    def __init__(self) -> None:
        self._partial = bytearray()
        self._partial_captured_ms = 0
        self._is_synced = False

    def gap(self) -> None:
        """Take note that a payload was lost: go on where the next record begins."""
        self._partial = bytearray()
        self._is_synced = False

    def add(self, payload: Payload) -> list[CapturedSample]:
        """Take the next payload and return the samples that it completes, in order.

        Raises:
            MessageDecodeError: no publisher writes this; as if the payload had been lost.
        """
        try:
            if not self._is_synced:
                return self._enter(payload)
            return self._join(payload.data, payload.first_record, payload.captured_ms)
        except MessageDecodeError:
            self.gap()
            raise

    def _enter(self, payload: Payload) -> list[CapturedSample]:
        if payload.first_record == NO_RECORD:
            return []
        if payload.first_record >= len(payload.data):
            raise MessageDecodeError(
                f"first record at {payload.first_record} of {len(payload.data)} bytes"
            )
        self._is_synced = True
        return self._join(payload.data[payload.first_record :], 0, payload.captured_ms)

    def _join(self, data: bytes, first_record: int, captured_ms: int) -> list[CapturedSample]:
        buffer = self._partial
        held = len(buffer)
        buffer += data
        samples: list[CapturedSample] = []
        begins = NO_RECORD
        at = 0
        while at < len(buffer):
            if at >= held:
                begins = min(begins, at - held)
                self._partial_captured_ms = captured_ms
            if len(buffer) - at < RECORD_HEADER_SIZE:
                break
            header = parse_record_header(buffer, at)
            start, end = at + RECORD_HEADER_SIZE, at + RECORD_HEADER_SIZE + header.length
            if end > len(buffer):
                break
            sample = header.to_sample(bytes(buffer[start:end]))
            samples.append(CapturedSample(sample, self._partial_captured_ms))
            at = end
        if begins != first_record:
            raise MessageDecodeError(f"a record begins at {begins}, not at {first_record}")
        del buffer[:at]
        return samples
