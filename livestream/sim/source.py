"""A publisher without a camera: samples of a steady rate, through the real chunker and signer."""

from __future__ import annotations

from typing import Final

from livestream.live.channel import Channel
from livestream.live.head import HEAD_INTERVAL_US, KEYFRAMES_MAX, Head
from livestream.live.piece import LivePiece
from livestream.live.signing import Signer
from livestream.machine import SECOND
from livestream.media.chunker import Chunker
from livestream.media.records import RECORD_HEADER_SIZE
from livestream.media.sample import VIDEO_CLOCK_RATE, Sample, Track, TrackKind
from livestream.sim.scenario import Scenario

__all__ = ["LARGE_FROM_BPS", "PAYLOAD_BYTES", "Source", "payload_bytes"]

TRACK: Final = Track(0, TrackKind.VIDEO, "h264", VIDEO_CLOCK_RATE, b"\x01", width=1280, height=720)
KEYFRAME_WEIGHT: Final = 4.0  # A key frame's size, in frames between them.
SMALL_PIECE_BYTES: Final = 4 * 1024
PAYLOAD_BYTES: Final = 8 * 1024
LARGE_FROM_BPS: Final = 1_500_000  # Below this, 8 KiB would take too long to fill (live.md §2).


def payload_bytes(rate_bps: int, asked: int = 0) -> int:
    """Return how much a piece of a channel of this rate carries at most, unless that is asked."""
    if asked:
        return asked
    return PAYLOAD_BYTES if rate_bps >= LARGE_FROM_BPS else SMALL_PIECE_BYTES


class Source:
    """One run of a publisher: frames come at their time, and go out as pieces.

    Invariant: over a group of pictures, the records take exactly the scenario's rate.
    """

    def __init__(
        self, scenario: Scenario, signer: Signer, channel: Channel, epoch: int, now: int
    ) -> None:
        self.next_index = 0
        self.frame_at = now
        "When the next frame is captured."
        self._scenario = scenario
        self._signer = signer
        self._channel = channel
        self._epoch = epoch
        self._began_at = now
        self._frame = 0
        self._gop = max(1, round(scenario.gop_s * scenario.frames_per_second))
        self._payload_bytes_max = payload_bytes(scenario.rate_bps, scenario.piece_bytes)
        self._chunker = Chunker(self._payload_bytes_max)
        self._head_at = now
        gop_bytes = scenario.rate_bps / 8 * self._gop / scenario.frames_per_second
        plain = gop_bytes / (self._gop - 1 + KEYFRAME_WEIGHT)
        self._sizes = [
            max(1, int(plain * weight) - RECORD_HEADER_SIZE) for weight in (1.0, KEYFRAME_WEIGHT)
        ]

    def get_timer(self) -> int:
        """Return when `handle_timer` wants to be called, µs."""
        cut_at = self._chunker.get_timer()
        return min(self.frame_at, self._head_at, self.frame_at if cut_at is None else cut_at)

    def handle_timer(self, now: int) -> list[LivePiece]:
        """Publish what is due; returns the new pieces."""
        if self._head_at <= now:
            self._head_at += HEAD_INTERVAL_US
            self._sign_head(now, is_ended=False)
        if self.frame_at <= now:
            self._chunker.add(self._sample(), self._captured_ms(now), now)
            self._frame += 1
            period_us = SECOND * self._frame // self._scenario.frames_per_second
            self.frame_at = self._began_at + period_us
        self._chunker.handle_timer(now)
        return self._publish(now)

    def finish(self, now: int) -> list[LivePiece]:
        """End the stream, and say so."""
        self._chunker.finish(now)
        pieces = self._publish(now)
        self._sign_head(now, is_ended=True)
        return pieces

    def _captured_ms(self, now: int) -> int:
        return self._channel.clock.unix_ms(now)

    def _sample(self) -> Sample:
        is_keyframe = self._frame % self._gop == 0
        dts = self._frame * VIDEO_CLOCK_RATE // self._scenario.frames_per_second
        period = VIDEO_CLOCK_RATE // self._scenario.frames_per_second
        # Every frame differs from all others: so do its pieces, and their signatures.
        data = self._frame.to_bytes(8, "big") * (self._sizes[is_keyframe] // 8 + 1)
        return Sample(0, is_keyframe, dts, dts, period, data[: self._sizes[is_keyframe]])

    def _publish(self, now: int) -> list[LivePiece]:
        pieces = []
        while (payload := self._chunker.next_payload()) is not None:
            piece = LivePiece.sign(self._signer, self._epoch, self.next_index, payload)
            self.next_index += 1
            self._channel.publish(piece, now)
            pieces.append(piece)
        return pieces

    def _sign_head(self, now: int, *, is_ended: bool) -> None:
        window = self._channel.window
        head = Head(
            epoch=self._epoch,
            time_ms=self._channel.clock.unix_ms(now),
            first_index=window.first,
            newest_index=self.next_index - 1,
            payload_bytes_max=self._payload_bytes_max,
            substreams=self._channel.config.substreams,
            rate_bps=self._scenario.rate_bps,
            is_ended=is_ended,
            name=self._scenario.name,
            keyframes=tuple(window.keyframes)[-KEYFRAMES_MAX:],
            tracks=(TRACK,),
        )
        self._channel.set_head(head, head.sign(self._signer), now)
