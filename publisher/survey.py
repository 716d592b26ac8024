"""Looks at the first packets of a source, to know whether they can be passed on as they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from publisher.adts import audio_specific_config, is_adts
from publisher.packets import Arrival, packet_times
from publisher.source import Source

__all__ = ["GOP_MAX", "Survey", "survey_file", "survey_live", "why_not_copyable"]

GOP_MAX: Final = Fraction(2)  # Seconds. A viewer tunes in at a key frame; longer is too long.

# A file's first minute tells how it was encoded (x264's own longest GOP is ten seconds); the
# limits keep this under a second of reading.
FILE_SPAN_MAX: Final = Fraction(60)
BYTES_MAX: Final = 64 * 1024 * 1024

LIVE_SPAN_MAX: Final = Fraction(10)  # For a key frame to come at all; then GOP_MAX for the next.
SOUND_SPAN_MAX: Final = Fraction(1)  # Sound that does not come within this is not there.
RATE_BPS_DEFAULT: Final = 4_000_000  # When too little was seen to measure.
COPYABLE_PIXELS: Final = ("yuv420p", "yuvj420p")  # What browsers decode of H.264.


@dataclass
class Survey:
    """What the first packets of a source have shown."""

    gop_max: Fraction | None = None
    "Longest distance between key frames, so far; None before the first. Seconds."
    first_audio: bytes = b""
    rate_bps: int = RATE_BPS_DEFAULT
    is_whole: bool = False
    "The source ended."
    arrivals: list[Arrival] = field(default_factory=list)
    "The packets themselves, if the source cannot be read again."
    _bytes: int = 0
    _first: Fraction | None = None
    _last: Fraction = Fraction()
    _key_at: Fraction | None = None
    _video_end: Fraction = Fraction()

    @property
    def is_empty(self) -> bool:
        """No packet came at all."""
        return self._first is None

    @property
    def span(self) -> Fraction:
        """How much of the source was seen, in its own time; seconds."""
        return Fraction() if self._first is None else self._last - self._first

    @property
    def since_key(self) -> Fraction | None:
        """Time since the last key frame, in seconds; None before the first."""
        return None if self._key_at is None else self._video_end - self._key_at

    def look(self, arrival: Arrival, *, is_video: bool) -> None:
        """Take in one more packet."""
        packet = arrival.packet
        times = packet_times(packet)
        self._bytes += packet.size
        if self._first is None:
            self._first = self._last = times.dts
        self._last = max(self._last, times.dts)
        if is_video:
            self._look_at_video(times.pts, times.end, is_keyframe=packet.is_keyframe)
        elif not self.first_audio:
            self.first_audio = bytes(packet)

    def conclude(self, *, is_whole: bool) -> None:
        """Draw the sum: the last GOP counts too, and the rate is bytes over time."""
        self.is_whole = is_whole
        since_key = self.since_key
        if self.gop_max is not None and since_key is not None:
            self.gop_max = max(self.gop_max, since_key)
        if self.span > Fraction(1, 2):
            self.rate_bps = int(self._bytes * 8 / self.span)

    @property
    def is_over_limit(self) -> bool:
        """Too many bytes to go on."""
        return self._bytes > BYTES_MAX

    def _look_at_video(self, pts: Fraction, end: Fraction, *, is_keyframe: bool) -> None:
        if is_keyframe:
            if self._key_at is None:
                self.gop_max = Fraction()
            else:
                self.gop_max = max(self.gop_max or Fraction(), pts - self._key_at)
            self._key_at = pts
        self._video_end = max(self._video_end, end)


def survey_file(source: Source) -> Survey:
    """Look at the first minute, then go back to the beginning."""
    survey = Survey()
    is_whole = True
    for arrival in source.packets():
        survey.look(arrival, is_video=arrival.packet.stream is source.video)
        if survey.span > FILE_SPAN_MAX or survey.is_over_limit:
            is_whole = False
            break
    survey.conclude(is_whole=is_whole)
    source.reopen()
    return survey


def survey_live(source: Source, *, measures_gops: bool) -> Survey:
    """Look at no more packets than it takes, and keep them.

    Args:
        source: Where they come from.
        measures_gops: Wait for the second key frame, or until it is too late for one. Sound is
            waited for in any case, until it is clear that none will come.
    """
    survey = Survey()
    is_whole = True
    for arrival in source.packets():
        survey.arrivals.append(arrival)
        survey.look(arrival, is_video=arrival.packet.stream is source.video)
        if _knows_enough(survey, source, measures_gops) or survey.is_over_limit:
            is_whole = False
            break
    survey.conclude(is_whole=is_whole)
    return survey


def why_not_copyable(source: Source, survey: Survey) -> str:
    """Return why the packets cannot be passed on, whatever their GOPs; empty if they can."""
    video, audio = source.video, source.audio
    if video is not None:
        context = video.codec_context
        if context.name != "h264":
            return f"its video is {context.name}, not H.264"
        if context.pix_fmt not in COPYABLE_PIXELS:
            return f"its pixels are {context.pix_fmt}, which browsers do not show"
        if not context.extradata:
            return "its H.264 parameters did not come in time"
    if audio is not None:
        context_audio = audio.codec_context
        if context_audio.name != "aac":
            return f"its sound is {context_audio.name}, not AAC"
        if not aac_config(source, survey):
            return "its AAC does not say what it is"
    return ""


def aac_config(source: Source, survey: Survey) -> bytes:
    """Return the AudioSpecificConfig of the sound; empty if there is none."""
    if is_adts(survey.first_audio):
        return audio_specific_config(survey.first_audio) or b""
    return b"" if source.audio is None else source.audio.codec_context.extradata or b""


def _knows_enough(survey: Survey, source: Source, measures_gops: bool) -> bool:
    if source.audio is not None and not survey.first_audio and survey.span < SOUND_SPAN_MAX:
        return False
    if source.video is None or not measures_gops:
        return True
    if survey.gop_max is None:
        return survey.span > LIVE_SPAN_MAX
    since_key = survey.since_key
    return survey.gop_max > 0 or (since_key is not None and since_key > GOP_MAX)
