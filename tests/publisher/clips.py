"""Small clips, made on the spot: 160x90, a moving grey ramp and a tone."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container.output import OutputContainer
from av.video.stream import VideoStream

FPS = 25
SOUND_RATE = 48_000
AAC_FRAME = 1_024


@dataclass(frozen=True, slots=True)
class Clip:
    """What is in the clip."""

    seconds: int = 2
    gop: int = 25
    b_frames: int = 0
    video: str | None = "libx264"
    audio: str | None = "aac"


def write_clip(path: Path, clip: Clip) -> Path:
    """Encode a clip into the container that the file's name says."""
    with av.open(str(path), "w") as container:
        video = None if clip.video is None else _add_video(container, clip.video, clip)
        audio = None if clip.audio is None else _add_audio(container, clip.audio)
        for number in range(clip.seconds * FPS):
            if video is not None:
                container.mux(video.encode(_picture(number)))
            if audio is not None:
                _mux_sound(container, audio, number)
        if video is not None:
            container.mux(video.encode(None))
        if audio is not None:
            container.mux(audio.encode(None))
    return path


def remux(source: Path, target: Path) -> Path:
    """Copy the packets into another container."""
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        streams = {stream.index: write.add_stream_from_template(stream) for stream in read.streams}
        for packet in read.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                write.mux(packet)
    return target


def _add_video(container: OutputContainer, codec: str, clip: Clip) -> VideoStream:
    stream = container.add_stream(codec, rate=FPS)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
    stream.codec_context.gop_size = clip.gop
    stream.codec_context.max_b_frames = clip.b_frames
    if codec == "libx264":
        stream.codec_context.options = {
            "preset": "ultrafast",
            "bf": str(clip.b_frames),
            "b-adapt": "0",
            "sc_threshold": "0",
        }
    return stream


def _add_audio(container: OutputContainer, codec: str) -> AudioStream:
    stream = container.add_stream(codec, rate=SOUND_RATE)
    assert isinstance(stream, AudioStream)
    stream.layout = "stereo"
    return stream


def _picture(number: int) -> av.VideoFrame:
    picture = np.full((135, 160), 128, dtype=np.uint8)
    picture[:90] = (np.arange(160) + number * 2) % 200 + 20
    frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
    frame.pts = number
    frame.time_base = Fraction(1, FPS)
    return frame


def _mux_sound(container: OutputContainer, audio: AudioStream, number: int) -> None:
    """Encode the sound that belongs to one picture, in whole AAC frames."""
    first = -(-number * SOUND_RATE // FPS // AAC_FRAME)
    end = -(-(number + 1) * SOUND_RATE // FPS // AAC_FRAME)
    for block in range(first, end):
        at = np.arange(block * AAC_FRAME, (block + 1) * AAC_FRAME)
        tone = (0.1 * np.sin(2 * np.pi * 440 * at / SOUND_RATE)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), "fltp", "stereo")
        frame.sample_rate = SOUND_RATE
        frame.pts = block * AAC_FRAME
        frame.time_base = Fraction(1, SOUND_RATE)
        container.mux(audio.encode(frame))
