"""Samples out of real files, as a channel would deliver them."""

from __future__ import annotations

from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from livestream.media.sample import VIDEO_CLOCK_RATE, Sample, Track, TrackKind


def demux(path: Path, start_s: int = 1) -> tuple[list[Track], list[Sample]]:
    """Return a file's tracks and samples, time stamps moved by `start_s`."""
    tracks: list[Track] = []
    samples: list[Sample] = []
    with av.open(str(path)) as source:
        for stream in source.streams:
            tracks.append(_track(len(tracks), stream))
        for packet in source.demux():
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            track = tracks[packet.stream.index]
            ticks = packet.time_base * track.clock_rate
            is_key = packet.is_keyframe and track.kind is TrackKind.VIDEO
            start = start_s * track.clock_rate
            pts, dts = int(packet.pts * ticks) + start, int(packet.dts * ticks) + start
            duration = int((packet.duration or 0) * ticks)
            samples.append(Sample(track.number, is_key, pts, dts, duration, bytes(packet)))
    return tracks, samples


def _track(number: int, stream: object) -> Track:
    if isinstance(stream, VideoStream):
        context = stream.codec_context
        extradata = context.extradata or b""
        size = (context.width, context.height)
        return Track(number, TrackKind.VIDEO, "h264", VIDEO_CLOCK_RATE, extradata, *size)
    assert isinstance(stream, AudioStream)
    sound = stream.codec_context
    return Track(
        number,
        TrackKind.AUDIO,
        "aac",
        sound.sample_rate,
        sound.extradata or b"",
        sample_rate=sound.sample_rate,
        channels=sound.channels,
    )
