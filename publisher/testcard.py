"""The built-in source: the test picture, and a soft beep at every full second."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from typing import Final, final

import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from livestream.media.joiner import CapturedSample
from livestream.media.sample import Sample
from publisher.encoder import AUDIO_BITRATE_BPS, AudioEncoder, Picture, VideoEncoder
from publisher.pacing import SKIP_US, Clock, Pace, Pacer
from publisher.pattern import Pattern
from publisher.producer import Producer

__all__ = ["PatternProducer"]

START: Final = Fraction(1)  # Channel time of the first frame: the sound encoder begins before it.
SOUND_RATE: Final = 48_000
BLOCK: Final = 1_024
BEEP_HZ: Final = 1_000
BEEP_MS: Final = 120
BEEP_LEVEL: Final = 0.1  # -20 dBFS, as broadcasters' line-up tone.


@final
class PatternProducer(Producer):
    """Draws, beeps and encodes in real time.

    Invariant: the capture time of a video sample is the time that its picture shows.
    """

    def __init__(self, picture: Picture, clock: Clock) -> None:
        self.is_copied = False
        self.rate_bps = picture.bitrate_bps + AUDIO_BITRATE_BPS
        self._picture = picture
        self._clock = clock
        self._pacer = Pacer(clock, Pace.PACED)
        self._pattern = Pattern(picture.width, picture.height)
        self._video = VideoEncoder(0, picture)
        self._audio = AudioEncoder(1, marks_seconds=False)
        self._sound_at = START
        self.tracks = (self._video.track, self._audio.track)

    def samples(self) -> Iterator[CapturedSample]:
        for number in count():
            time = START + number / self._picture.fps
            captured_ms = self._pacer.wait(time, 0)
            is_too_slow = self._pacer.behind_us > SKIP_US
            video = [] if is_too_slow else self._draw(number, time, captured_ms)
            for sample in video + self._beep(time, captured_ms):
                yield CapturedSample(sample, captured_ms)

    def close(self) -> None:
        """Nothing is held."""

    def _draw(self, number: int, time: Fraction, captured_ms: int) -> list[Sample]:
        picture = self._pattern.draw(captured_ms, number)
        return self._video.encode(VideoFrame.from_ndarray(picture, "yuv420p"), time)

    def _beep(self, until: Fraction, unix_ms: int) -> list[Sample]:
        """Catch up with the picture, in whole AAC frames."""
        samples: list[Sample] = []
        while self._sound_at < until:
            start_ms = unix_ms + float(self._sound_at - until) * 1_000
            frame = AudioFrame.from_ndarray(beep(start_ms), "fltp", "mono")
            frame.sample_rate = SOUND_RATE
            samples += self._audio.encode(frame, self._sound_at)
            self._sound_at += Fraction(BLOCK, SOUND_RATE)
        return samples


def beep(start_ms: float) -> NDArray[np.float32]:
    """Return one block of sound that begins at this Unix time."""
    at_ms = (start_ms % 1_000 + np.arange(BLOCK) * (1_000 / SOUND_RATE)) % 1_000
    swell = np.sin(np.pi * np.minimum(at_ms / BEEP_MS, 1)) ** 2
    tone = np.sin(2 * np.pi * BEEP_HZ / 1_000 * at_ms)
    return np.asarray(BEEP_LEVEL * swell * tone, dtype=np.float32)[np.newaxis]
