"""Passes H.264 and AAC on as they are: nothing lost, and hardly any work."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Final, final

from livestream.errors import MediaError
from livestream.media.joiner import CapturedSample
from livestream.media.sample import VIDEO_CLOCK_RATE, Sample, Track, TrackKind
from publisher.adts import is_adts, strip_header
from publisher.pacing import Clock, Pace, Pacer
from publisher.packets import Arrival, packet_times
from publisher.producer import Producer
from publisher.source import Source
from publisher.survey import Survey, aac_config
from publisher.timeline import Stamper, Timed, Timeline, interleave

__all__ = ["Passthrough"]

KEYLESS_MAX: Final = Fraction(30)  # Seconds. Nobody could tune in to such a channel.


@final
class Passthrough(Producer):
    """The packets of a source, stamped anew."""

    def __init__(self, source: Source, survey: Survey, clock: Clock, *, loop: bool) -> None:
        self.tracks = _tracks(source, survey)
        self.rate_bps = source.container.bit_rate or survey.rate_bps
        self.is_copied = True
        self._source = source
        self._survey = survey
        self._loop = loop
        self._pacer = Pacer(clock, source.pace)
        self._timeline = Timeline()
        has_video = source.video is not None
        self._stampers = [Stamper(track, marks_seconds=not has_video) for track in self.tracks]
        self._key_at: Fraction | None = None

    def samples(self) -> Iterator[CapturedSample]:
        packets = self._packets()
        if self._source.pace is Pace.PACED:
            packets = interleave(packets, len(self.tracks))
        for timed in packets:
            captured_ms = self._pacer.wait(timed.time, timed.arrived_us)
            sample = self._stamp(timed)
            if sample is not None:
                yield CapturedSample(sample, captured_ms)

    def close(self) -> None:
        self._source.close()

    @property
    def dropped(self) -> int:
        """Packets whose time stamps fell, or that were too large."""
        return sum(stamper.dropped for stamper in self._stampers)

    def _packets(self) -> Iterator[Timed[Arrival]]:
        """Yield packets with their place in channel time, round after round."""
        arrivals, rest = self._survey.arrivals, self._source.packets()
        self._survey.arrivals = []
        while True:
            count = 0
            for arrival in chain(arrivals, rest):
                count += 1
                yield self._place(arrival)
            if not self._loop or count == 0:
                return
            self._source.reopen()
            self._timeline.next_round()
            arrivals, rest = [], self._source.packets()

    def _place(self, arrival: Arrival) -> Timed[Arrival]:
        times = packet_times(arrival.packet)
        track = 0 if arrival.packet.stream is self._source.video else len(self.tracks) - 1
        time = self._timeline.place(track, times.dts, times.pts, times.end)
        if self.tracks[track].kind is TrackKind.VIDEO:
            self._check_key(time, is_keyframe=arrival.packet.is_keyframe)
        return Timed(track, time, arrival.at_us, arrival)

    def _stamp(self, timed: Timed[Arrival]) -> Sample | None:
        packet = timed.item.packet
        times = packet_times(packet)
        data = bytes(packet)
        is_video = self.tracks[timed.track].kind is TrackKind.VIDEO
        if not is_video and is_adts(data):
            data = strip_header(data)
        return self._stampers[timed.track].stamp(
            data,
            is_keyframe=is_video and packet.is_keyframe,
            dts=timed.time,
            pts=timed.time + times.pts - times.dts,
            duration=times.duration,
        )

    def _check_key(self, time: Fraction, *, is_keyframe: bool) -> None:
        if is_keyframe or self._key_at is None:
            self._key_at = time
        elif time - self._key_at > KEYLESS_MAX:
            raise MediaError(
                f"{self._source.name}: no key frame for {KEYLESS_MAX} s, so nobody can tune in. "
                f"Use --encode, or set a GOP of 1-2 s where it is made."
            )


def _tracks(source: Source, survey: Survey) -> tuple[Track, ...]:
    tracks: list[Track] = []
    if source.video is not None:
        video = source.video.codec_context
        tracks.append(
            Track(
                len(tracks),
                TrackKind.VIDEO,
                "h264",
                VIDEO_CLOCK_RATE,
                video.extradata or b"",
                width=video.width,
                height=video.height,
            )
        )
    if source.audio is not None:
        audio = source.audio.codec_context
        tracks.append(
            Track(
                len(tracks),
                TrackKind.AUDIO,
                "aac",
                audio.sample_rate,
                aac_config(source, survey),
                sample_rate=audio.sample_rate,
                channels=audio.channels,
            )
        )
    return tuple(tracks)
