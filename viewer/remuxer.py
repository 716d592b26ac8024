"""Samples to containers: fragmented MP4 for the page, MPEG-TS for players and pipes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Final

import av

from livestream.errors import MediaError
from livestream.media.sample import Sample, Track, TrackKind
from viewer.h264 import avcc_of, length_prefixed
from viewer.moof import movie_fragment, split_at_keyframe

__all__ = ["Container", "Fragment", "Remuxer"]

# Only the init bytes are FFmpeg's; the fragments are ours, one a sample.
MP4_OPTIONS: Final = {
    "movflags": "frag_every_frame+empty_moov+default_base_moof+skip_trailer",
    "flush_packets": "1",
}
# No AAC frame waits for others to share a PES packet with, and no track long for another.
TS_OPTIONS: Final = {
    "flush_packets": "1",
    "max_interleave_delta": "1",
    "pes_payload_size": "0",
}
TS_FIRST_PID: Final = 0x100  # FFmpeg numbers the streams from here.


class Container(Enum):
    """What a stream is wrapped in at the viewer's edge; the value is FFmpeg's name."""

    MP4 = "mp4"
    MPEGTS = "mpegts"


@dataclass(frozen=True, slots=True)
class Fragment:
    """Bytes that a reader gets whole or not at all."""

    data: bytes
    is_keyframe: bool
    "A reader can start here, after the init bytes."


class _Sink(io.RawIOBase):
    """Where the muxer writes; it cannot seek."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


class Remuxer:
    """One container, from its first key frame on.

    Invariant: each track's dts rises strictly, whatever the samples say: players and muxers
    give up otherwise.
    """

    def __init__(self, tracks: Sequence[Track], container: Container, first: Sample) -> None:
        """Open the container; `first` is a key frame, out of which FFmpeg reads the picture.

        Raises:
            MediaError: codecs that the container cannot carry.
        """
        self._tracks = {track.number: track for track in tracks}
        self._is_annex_b = {
            track.number: track.codec == "h264" and track.extradata[:1] != b"\x01"
            for track in tracks
        }
        self._sink = _Sink()
        self._last_dts: dict[int, int] = {}
        has_video = any(track.kind is TrackKind.VIDEO for track in tracks)
        self._lead = TrackKind.VIDEO if has_video else TrackKind.AUDIO
        self._has_keyframe_inside = False
        options = MP4_OPTIONS if container is Container.MP4 else TS_OPTIONS
        try:
            with av.open(
                io.BytesIO(self._template(first)), format="flv"
            ) as template:  # It carries the codecs' parameters from one FFmpeg context to another.
                self._out = av.open(self._sink, "w", format=container.value, options=options)
                self._streams = {
                    track.number: self._out.add_stream_from_template(
                        template.streams.video[0]
                        if track.kind is TrackKind.VIDEO
                        else template.streams.audio[0]
                    )
                    for track in tracks
                }
                for track in tracks:
                    self._streams[track.number].time_base = Fraction(1, track.clock_rate)
                self._out.start_encoding()
        except (av.FFmpegError, IndexError, ValueError) as error:
            raise MediaError(
                f"This channel's codecs do not fit into {container.value} ({error})."
            ) from error
        self._container = container
        self._sequence = 0
        leads = [track.number for track in tracks if track.kind is self._lead]
        self._lead_pid = TS_FIRST_PID + self._streams[leads[0]].index if leads else 0
        self.samples_refused = 0
        "Samples in which FFmpeg finds no picture or sound at all."
        self.init = self._sink.take()
        "What a reader gets first: ftyp and moov; nothing for TS."

    def write(self, samples: Sequence[Sample]) -> list[Fragment]:
        """Return what can be shown now, in order: MP4 has a fragment a sample, at once."""
        return [fragment for sample in samples for fragment in self._write(sample)]

    def close(self) -> list[Fragment]:
        """End the container and return what was left in it."""
        with suppress(av.FFmpegError):  # Of nothing but samples that it refused.
            self._out.close()
        if self._container is Container.MP4:
            self._sink.take()  # FFmpeg's trailer describes no fragment of ours.
            return []
        return self._take_ts()

    def _write(self, sample: Sample) -> list[Fragment]:
        track = self._tracks.get(sample.track)
        if track is None:
            return []
        dts = max(sample.dts, self._last_dts.get(sample.track, -1) + 1)
        self._last_dts[sample.track] = dts
        if self._container is Container.MP4:
            return [self._movie_fragment(sample, track, dts)]
        packet = av.Packet(self._in_avcc_form(sample))
        packet.stream = self._streams[sample.track]
        packet.time_base = Fraction(1, track.clock_rate)
        packet.dts = dts
        packet.pts = max(sample.pts, dts)
        packet.duration = sample.duration
        packet.is_keyframe = sample.is_keyframe or track.kind is TrackKind.AUDIO
        try:
            self._out.mux_one(packet)
        except av.FFmpegError:
            self.samples_refused += 1  # The publisher's fault; what comes next may be sound.
        return self._take_ts()

    def _movie_fragment(self, sample: Sample, track: Track, dts: int) -> Fragment:
        stream = self._streams[track.number]
        timescale = 1 / (stream.time_base or Fraction(1, track.clock_rate))
        ratio = timescale / track.clock_rate
        begin = int(dts * ratio)
        self._sequence += 1
        data = movie_fragment(
            self._sequence,
            stream.index + 1,
            self._in_avcc_form(sample),
            dts=begin,
            offset=int(max(sample.pts, dts) * ratio) - begin,
            duration=int(sample.duration * ratio),
            is_sync=sample.is_keyframe or track.kind is TrackKind.AUDIO,
        )
        return Fragment(data, sample.is_keyframe and track.kind is self._lead)

    def _take_ts(self) -> list[Fragment]:
        before, start = split_at_keyframe(self._sink.take(), self._lead_pid)
        return [Fragment(data, key) for data, key in ((before, False), (start, True)) if data]

    def _in_avcc_form(self, sample: Sample) -> bytes:
        return length_prefixed(sample.data) if self._is_annex_b[sample.track] else sample.data

    def _template(self, first: Sample) -> bytes:
        """A tiny FLV file with these codecs' configurations and one picture."""
        parts = [b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"]
        for track in self._tracks.values():
            if track.kind is TrackKind.VIDEO:
                annex_b = self._is_annex_b[track.number]
                avcc = avcc_of(track.extradata) if annex_b else track.extradata
                parts.append(_flv_tag(9, b"\x17\x00\x00\x00\x00" + avcc))
            else:
                parts.append(_flv_tag(8, b"\xaf\x00" + track.extradata))
        if self._tracks[first.track].kind is TrackKind.VIDEO:
            parts.append(_flv_tag(9, b"\x17\x01\x00\x00\x00" + self._in_avcc_form(first)))
        return b"".join(parts)


def _flv_tag(kind: int, body: bytes) -> bytes:
    size = len(body).to_bytes(3, "big")
    return bytes((kind,)) + size + bytes(7) + body + (len(body) + 11).to_bytes(4, "big")
