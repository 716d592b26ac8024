"""Encodes for live: x264 that holds no frame back, and AAC."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Final, NamedTuple, final

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from numpy.typing import NDArray

from livestream.machine import SECOND
from livestream.media.sample import VIDEO_CLOCK_RATE, Sample, Track, TrackKind
from publisher.timeline import Stamper

__all__ = ["AUDIO_BITRATE_BPS", "AudioEncoder", "Picture", "VideoEncoder"]

AUDIO_RATE: Final = 48_000
AUDIO_BITRATE_BPS: Final = 128_000
AUDIO_CHANNELS: Final = 2
AAC_FRAME: Final = 1_024  # Samples of one AAC frame.

# The decoder's buffer that the rate control must never overflow, in seconds of the bitrate: how
# much a key frame may take at once. Measured on Big Buck Bunny, 720p at 1 and 2.5 Mbit/s, 1 s
# GOPs: with 0.25 s the picture loses 2 dB; with 1 s it gains 1 dB, but a queue that drains at the
# nominal rate lags 0.65 s behind after a key frame, instead of 0.28 s.
VBV_S: Final = Fraction(1, 2)

SILENCE_MIN: Final = Fraction(1, 20)  # Smaller differences of time stamps are jitter, not holes.
SILENCE_MAX: Final = Fraction(10)  # Seconds; time stamps jump no further (Timeline).


class Picture(NamedTuple):
    """What is to be encoded: size, frames a second, and the rate."""

    width: int
    height: int
    fps: Fraction
    bitrate_bps: int
    gop_us: int


@final
class VideoEncoder:
    """Frames in, samples out at once: one for one.

    Invariant: every GOP begins within `gop_us` of the last, whatever the frame rate really is;
    there are no B-frames, so pts = dts.
    """

    def __init__(self, number: int, picture: Picture) -> None:
        self._picture = picture
        self._context = _open_x264(picture)
        self.track = Track(
            number,
            TrackKind.VIDEO,
            "h264",
            VIDEO_CLOCK_RATE,
            self._context.extradata or b"",
            width=picture.width,
            height=picture.height,
        )
        self._stamper = Stamper(self.track, marks_seconds=False)
        self._key_due: Fraction | None = None
        self._pts_last = -1

    def encode(self, frame: VideoFrame, time: Fraction) -> list[Sample]:
        """Encode a frame of any size and format; `time` (seconds) must rise."""
        pts = round(time * VIDEO_CLOCK_RATE)
        if pts <= self._pts_last:
            return []
        self._pts_last = pts
        picture = self._picture
        frame = frame.reformat(picture.width, picture.height, "yuv420p")
        frame.pts = pts
        frame.time_base = Fraction(1, VIDEO_CLOCK_RATE)
        # A decoded frame says what kind it was, and x264 would obey: say it anew every time.
        frame.pict_type = PictureType.NONE
        if self._key_due is None or time >= self._key_due:
            frame.pict_type = PictureType.I
            self._key_due = time + Fraction(picture.gop_us, SECOND) - 1 / (2 * picture.fps)
        return self._samples(frame)

    def flush(self) -> list[Sample]:
        """Return what is left at the end."""
        return self._samples(None)

    def _samples(self, frame: VideoFrame | None) -> list[Sample]:
        samples = []
        for packet in self._context.encode(frame):
            if packet.pts is None or packet.dts is None:
                continue
            sample = self._stamper.stamp(
                bytes(packet),
                is_keyframe=packet.is_keyframe,
                dts=Fraction(packet.dts, VIDEO_CLOCK_RATE),
                pts=Fraction(packet.pts, VIDEO_CLOCK_RATE),
                duration=1 / self._picture.fps,
            )
            if sample is not None:
                samples.append(sample)
        return samples


@final
class AudioEncoder:
    """Sound of any kind in, AAC out: stereo, 48 kHz, without a hole.

    Invariant: what was encoded reaches without a gap from the first time stamp to `_written`.
    Missing sound becomes silence, and what comes twice is left out, so sound stays with picture.
    """

    def __init__(self, number: int, *, marks_seconds: bool) -> None:
        self._context = _open_aac()
        self.track = Track(
            number,
            TrackKind.AUDIO,
            "aac",
            AUDIO_RATE,
            self._context.extradata or b"",
            sample_rate=AUDIO_RATE,
            channels=AUDIO_CHANNELS,
        )
        self._stamper = Stamper(self.track, marks_seconds=marks_seconds)
        self._resampler = AudioResampler("fltp", "stereo", AUDIO_RATE)
        self._pending: deque[NDArray[np.float32]] = deque()
        self._pending_samples = 0
        self._start: int | None = None
        self._written = 0  # Channel time, in samples, up to which sound was queued.

    def encode(self, frame: AudioFrame, time: Fraction) -> list[Sample]:
        """Encode a frame that begins at `time` (seconds)."""
        at = round(time * AUDIO_RATE)
        if self._start is None:
            self._start = self._written = at
        self._fill(at)
        frame.pts = None  # Ours count; the resampler would mix them with its own.
        resampled = [part.to_ndarray() for part in self._resampler.resample(frame)]
        if resampled:
            sound = np.concatenate(resampled, axis=1).astype(np.float32, copy=False)
            overlap = self._written - at
            is_repeated = overlap > SILENCE_MIN * AUDIO_RATE
            self._append(sound[:, overlap:] if is_repeated else sound)
        return self._encode_whole()

    def flush(self) -> list[Sample]:
        """Return what is left at the end, the last frame filled up with silence."""
        if self._pending_samples:
            self._append(_silence(-self._pending_samples % AAC_FRAME))
        return self._encode_whole() + self._samples(None)

    def _fill(self, at: int) -> None:
        hole = min(at - self._written, int(SILENCE_MAX * AUDIO_RATE))
        if hole > SILENCE_MIN * AUDIO_RATE:
            self._append(_silence(hole))

    def _append(self, sound: NDArray[np.float32]) -> None:
        length = sound.shape[1]
        self._written += length
        self._pending_samples += length
        self._pending.append(sound)

    def _encode_whole(self) -> list[Sample]:
        samples: list[Sample] = []
        if self._pending_samples < AAC_FRAME:
            return samples
        sound = np.concatenate(list(self._pending), axis=1)
        first = self._written - self._pending_samples
        whole = self._pending_samples - self._pending_samples % AAC_FRAME
        for at in range(0, whole, AAC_FRAME):
            block = np.ascontiguousarray(sound[:, at : at + AAC_FRAME])
            frame = AudioFrame.from_ndarray(block, "fltp", "stereo")
            frame.sample_rate = AUDIO_RATE
            frame.time_base = Fraction(1, AUDIO_RATE)
            frame.pts = first + at
            samples += self._samples(frame)
        self._pending.clear()
        self._pending.append(sound[:, whole:])
        self._pending_samples -= whole
        return samples

    def _samples(self, frame: AudioFrame | None) -> list[Sample]:
        samples = []
        for packet in self._context.encode(frame):
            if packet.pts is None:
                continue
            time = Fraction(packet.pts, AUDIO_RATE)
            sample = self._stamper.stamp(
                bytes(packet),
                is_keyframe=False,
                dts=time,
                pts=time,
                duration=Fraction(AAC_FRAME, AUDIO_RATE),
            )
            if sample is not None:
                samples.append(sample)
        return samples


def _silence(length: int) -> NDArray[np.float32]:
    return np.zeros((AUDIO_CHANNELS, length), dtype=np.float32)


def _open_x264(picture: Picture) -> VideoCodecContext:
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height = picture.width, picture.height
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, VIDEO_CLOCK_RATE)
    context.framerate = picture.fps
    context.bit_rate = picture.bitrate_bps
    context.flags |= Flags.global_header  # Parameter sets once, in the track; not in every GOP.
    context.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "bf": "0",
        "sc_threshold": "0",
        "forced-idr": "1",
        # Key frames are asked for by time; this is only what x264 plans its bits for.
        "g": str(max(1, round(picture.fps * picture.gop_us / SECOND)) * 2),
        "maxrate": str(picture.bitrate_bps),
        "bufsize": str(int(picture.bitrate_bps * VBV_S)),
    }
    context.open()
    return context


def _open_aac() -> AudioCodecContext:
    context = av.CodecContext.create("aac", "w")
    context.sample_rate = AUDIO_RATE
    context.layout = "stereo"
    context.format = "fltp"
    context.bit_rate = AUDIO_BITRATE_BPS
    context.time_base = Fraction(1, AUDIO_RATE)
    context.flags |= Flags.global_header
    context.open()
    return context
