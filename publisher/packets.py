"""Packets as FFmpeg hands them out, and the time stamps that some containers leave out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Final, NamedTuple

from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from livestream.errors import StateError
from livestream.machine import SECOND

__all__ = ["Arrival", "AvStream", "Times", "fill_dts", "has_time", "packet_times", "stamp_raw"]

DTSLESS_MAX: Final = 32  # H.264 reorders at most 16 frames, so more without dts means never.

AvStream = VideoStream | AudioStream


class Arrival(NamedTuple):
    """A packet, and when it came (µs, monotonic)."""

    packet: Packet[Stream]
    at_us: int


class Times(NamedTuple):
    """A packet's time stamps in seconds, on the source's own clock."""

    dts: Fraction
    pts: Fraction
    duration: Fraction

    @property
    def end(self) -> Fraction:
        """When its presentation ends."""
        return self.pts + self.duration


def has_time(packet: Packet[Stream]) -> bool:
    """Whether a packet has any time stamp."""
    return packet.dts is not None or packet.pts is not None


def packet_times(packet: Packet[Stream]) -> Times:
    """Return a packet's time stamps; one that is missing is taken to equal the other."""
    base = Fraction(packet.time_base.numerator, packet.time_base.denominator)
    dts = packet.dts if packet.dts is not None else packet.pts
    pts = packet.pts if packet.pts is not None else packet.dts
    if dts is None or pts is None:
        raise StateError("a packet without time stamps")
    return Times(dts * base, max(pts, dts) * base, (packet.duration or 0) * base)


def fill_dts(arrivals: Iterable[Arrival], video: VideoStream | None) -> Iterator[Arrival]:
    """Give the first video packets the dts that Matroska leaves out where there are B-frames.

    They are counted back from the first packet that has one, so nothing is lost.
    """
    held: list[Arrival] = []
    is_settled = False
    for arrival in arrivals:
        packet = arrival.packet
        if not is_settled and packet.stream is video:
            if packet.dts is None and len(held) < DTSLESS_MAX:
                held.append(arrival)
                continue
            is_settled = True
            _count_back(held, packet.dts)
            yield from held
            held = []
        yield arrival
    yield from held


def _count_back(held: list[Arrival], dts: int | None) -> None:
    for arrival in reversed(held):
        if dts is not None:
            dts -= max(1, arrival.packet.duration or 0)
            arrival.packet.dts = dts


def stamp_raw(arrivals: Iterable[Arrival], *, is_live: bool) -> Iterator[Arrival]:
    """Stamp video that comes without any container, as cameras write it: no B-frames.

    Live, a picture's time is that of its arrival; in a file, the frame rate tells.
    """
    first_us: int | None = None
    ticks = -1
    for packet, at_us in arrivals:
        first_us = at_us if first_us is None else first_us
        base = Fraction(packet.time_base.numerator, packet.time_base.denominator)
        passed = round(Fraction(at_us - first_us, SECOND) / base)
        step = max(1, packet.duration or 0)
        ticks = max(ticks + 1, passed) if is_live else ticks + step
        packet.pts = packet.dts = ticks
        yield Arrival(packet, at_us)
