"""Encoded access units (`Sample`) and the tracks that they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["VIDEO_CLOCK_RATE", "Sample", "Track", "TrackKind"]

VIDEO_CLOCK_RATE: Final = 90_000  # Ticks a second of every video track, as in MPEG-TS and RTP.


class TrackKind(Enum):
    """What a track carries."""

    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class Track:
    """One elementary stream of a channel, with all that a decoder must know in advance.

    Video ticks at 90 kHz, audio at its sample rate.
    """

    number: int
    "0-based; the order of the tracks in the channel."
    kind: TrackKind
    codec: str
    "FFmpeg's decoder name: h264, aac."
    clock_rate: int
    "Ticks a second of pts, dts and duration."
    extradata: bytes
    "Decoder configuration: avcC or Annex B parameter sets for h264, AudioSpecificConfig for aac."
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One encoded access unit: raw AAC, or h264 in the form that its track's extradata has.

    (Length-prefixed NAL units when extradata is an avcC record, starting with 1; else Annex B.)

    Invariant: dts never falls within a track, and 0 <= dts <= pts.
    """

    track: int
    is_keyframe: bool
    "Decoding can start here. False for every audio sample when the channel has video."
    pts: int
    dts: int
    duration: int
    data: bytes
