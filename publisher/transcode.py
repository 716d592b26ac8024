"""Decodes a source and encodes it again, for whatever cannot be passed on as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Final, final

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from livestream.errors import MediaError
from livestream.media.joiner import CapturedSample
from livestream.media.sample import Sample
from publisher.encoder import AUDIO_BITRATE_BPS, AudioEncoder, Picture, VideoEncoder
from publisher.pacing import SKIP_US, Clock, Pace, Pacer
from publisher.packets import Arrival, AvStream, packet_times
from publisher.producer import Producer
from publisher.source import Source
from publisher.timeline import Timed, Timeline, interleave

__all__ = ["PictureWish", "Transcode", "default_bitrate_bps"]

WIDTH_MAX: Final = 1920  # What is not asked for is not encoded larger: 4K needs many cores.
HEIGHT_MAX: Final = 1080
FPS_DEFAULT: Final = Fraction(30)
FPS_MAX: Final = Fraction(60)
BITS_PER_PIXEL: Final = 0.09  # 2.5 Mbit/s for 720p30: clean at veryfast.
BITRATE_BPS_MIN: Final = 300_000
BITRATE_BPS_MAX: Final = 8_000_000
PICTURELESS_MAX: Final = Fraction(30)  # Seconds of packets that give no frame.

Frame = VideoFrame | AudioFrame


@dataclass(frozen=True, slots=True)
class PictureWish:
    """What the user asked of the picture; None: our choice."""

    width: int | None
    height: int | None
    fps: Fraction | None
    bitrate_bps: int | None
    gop_us: int


@final
class Transcode(Producer):
    """The frames of a source, encoded anew; first video, then sound, when they are due."""

    def __init__(
        self,
        source: Source,
        arrivals: list[Arrival],
        clock: Clock,
        wish: PictureWish,
        *,
        loop: bool,
    ) -> None:
        self.is_copied = False
        self.frames_damaged = 0
        "Packets that could not be decoded."
        self.frames_skipped = 0
        "Pictures left out because this machine is too slow for all of them."
        self._source = source
        self._arrivals = arrivals
        self._loop = loop
        self._pacer = Pacer(clock, source.pace)
        self._timeline = Timeline()
        self._video: VideoEncoder | None = None
        self._audio: AudioEncoder | None = None
        self._frame_gap = Fraction()
        self._frame_due = Fraction()
        self._picture_at: Fraction | None = None
        self.rate_bps = 0
        if source.video is not None:
            picture = _choose_picture(source.video, wish)
            self._video = VideoEncoder(0, picture)
            self._frame_gap = 1 / wish.fps if wish.fps else 1 / FPS_MAX
            self.rate_bps += picture.bitrate_bps
        if source.audio is not None:
            number = len(source.streams) - 1
            self._audio = AudioEncoder(number, marks_seconds=source.video is None)
            self.rate_bps += AUDIO_BITRATE_BPS
        encoders = (self._video, self._audio)
        self.tracks = tuple(encoder.track for encoder in encoders if encoder is not None)

    def samples(self) -> Iterator[CapturedSample]:
        frames = self._frames()
        if self._source.pace is Pace.PACED:
            frames = interleave(frames, len(self.tracks))
        captured_ms = 0
        for timed in frames:
            captured_ms = self._pacer.wait(timed.time, timed.arrived_us)
            for sample in self._encode(timed):
                yield CapturedSample(sample, captured_ms)
        for encoder in (self._video, self._audio):
            for sample in encoder.flush() if encoder is not None else ():
                yield CapturedSample(sample, captured_ms)

    def close(self) -> None:
        self._source.close()

    def _encode(self, timed: Timed[Frame]) -> list[Sample]:
        if isinstance(timed.item, AudioFrame):
            return [] if self._audio is None else self._audio.encode(timed.item, timed.time)
        if self._pacer.behind_us > SKIP_US:
            self.frames_skipped += 1
            return []
        if self._video is None or not self._wants(timed.time):
            return []
        return self._video.encode(timed.item, timed.time)

    def _wants(self, time: Fraction) -> bool:
        """Leave out frames that come faster than asked for."""
        if time < self._frame_due - self._frame_gap / 2:
            return False
        self._frame_due = max(self._frame_due, time - self._frame_gap / 2) + self._frame_gap
        return True

    def _frames(self) -> Iterator[Timed[Frame]]:
        """Yield decoded frames with their place in channel time, round after round."""
        arrivals, rest = self._arrivals, self._source.packets()
        self._arrivals = []
        while True:
            self._prepare_decoders()
            count = 0
            at_us = 0
            for arrival in chain(arrivals, rest):
                at_us = arrival.at_us
                for timed in self._decode(arrival):
                    count += 1
                    yield timed
            for stream in self._source.streams:
                for frame in stream.decode(None):
                    yield from self._place(stream, frame, at_us)
            if not self._loop or count == 0:
                return
            self._source.reopen()
            self._timeline.next_round()
            arrivals, rest = [], self._source.packets()

    def _prepare_decoders(self) -> None:
        """Frame threads are fast and hold frames back: good for files, bad for what is live."""
        if self._source.video is not None:
            is_file = self._source.pace is Pace.PACED
            self._source.video.codec_context.thread_type = "AUTO" if is_file else "SLICE"

    def _decode(self, arrival: Arrival) -> Iterator[Timed[Frame]]:
        stream = arrival.packet.stream
        if not isinstance(stream, AvStream):
            return
        try:
            frames = stream.decode(arrival.packet)
        except av.error.FFmpegError:
            self.frames_damaged += 1
            frames = []
        if stream is self._source.video:
            self._check_picture(packet_times(arrival.packet).pts, has_frame=bool(frames))
        for frame in frames:
            yield from self._place(stream, frame, arrival.at_us)

    def _place(self, stream: AvStream, frame: Frame, at_us: int) -> Iterator[Timed[Frame]]:
        base = frame.time_base or stream.time_base
        if frame.pts is None or not base:
            return
        start = frame.pts * Fraction(base.numerator, base.denominator)
        if isinstance(frame, AudioFrame):
            duration = Fraction(frame.samples, frame.sample_rate or 1)
        else:
            duration = (frame.duration or 0) * Fraction(base.numerator, base.denominator)
        track = 0 if stream is self._source.video else len(self.tracks) - 1
        time = self._timeline.place(track, start, start, start + duration)
        yield Timed(track, time, at_us, frame)

    def _check_picture(self, pts: Fraction, *, has_frame: bool) -> None:
        if has_frame or self._picture_at is None or pts < self._picture_at:
            self._picture_at = pts
        elif pts - self._picture_at > PICTURELESS_MAX:
            raise MediaError(
                f"{self._source.name}: {PICTURELESS_MAX} s of video without one picture. It has no "
                f"key frames, or is damaged: set a GOP of 1-2 s where it is made."
            )


def default_bitrate_bps(width: int, height: int, fps: Fraction) -> int:
    """Return a rate that looks clean with x264 veryfast."""
    rate = int(width * height * fps * BITS_PER_PIXEL)
    return min(max(rate, BITRATE_BPS_MIN), BITRATE_BPS_MAX)


def _choose_picture(stream: VideoStream, wish: PictureWish) -> Picture:
    context = stream.codec_context
    aspect = stream.sample_aspect_ratio or Fraction(1)  # Viewers get square pixels.
    shape = Fraction(context.width, context.height) * Fraction(aspect.numerator, aspect.denominator)
    if wish.width and wish.height:
        width, height = wish.width, wish.height
    elif wish.width:
        width, height = wish.width, round(wish.width / shape)
    elif wish.height:
        width, height = round(wish.height * shape), wish.height
    else:
        height = min(context.height, HEIGHT_MAX, int(WIDTH_MAX / shape))
        width = round(height * shape)
    width, height = max(2, width // 2 * 2), max(2, height // 2 * 2)  # As 4:2:0 asks.
    rate = stream.average_rate or stream.guessed_rate
    source_fps = Fraction(rate.numerator, rate.denominator) if rate else FPS_DEFAULT
    fps = min(wish.fps or FPS_MAX, source_fps, FPS_MAX)
    bitrate_bps = wish.bitrate_bps or default_bitrate_bps(width, height, fps)
    return Picture(width, height, fps, bitrate_bps, wish.gop_us)
