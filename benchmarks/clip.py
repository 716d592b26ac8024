"""A video file whose frames are exactly as large as the simulator's (`livestream.sim.source`).

The picture is black; filler NAL units (H.264, 7.3.2.7) bring each frame to its size. It costs next
to nothing to publish with `--copy --loop`, and its rate is what it is said to be.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from livestream.media.records import RECORD_HEADER_SIZE
from livestream.sim.source import KEYFRAME_WEIGHT

__all__ = ["write_clip"]

WIDTH: Final = 160
HEIGHT: Final = 90
FILLER_BEGINS: Final = b"\x00\x00\x00\x01\x0c"
FILLER_ENDS: Final = b"\x80"


def write_clip(
    file: Path, *, rate_bps: int, gop_s: float, frames_per_second: int, seconds: float = 10.0
) -> None:
    """Write an MP4 of whole groups of pictures, of this rate once its frames are records."""
    gop = max(1, round(gop_s * frames_per_second))
    plain = rate_bps / 8 * gop / frames_per_second / (gop - 1 + KEYFRAME_WEIGHT)
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=frames_per_second)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "g": str(gop),
            "keyint_min": str(gop),
            "sc_threshold": "0",
        }
        for number in range(gop * max(1, round(seconds / gop_s))):
            frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts, frame.time_base = number, Fraction(1, frames_per_second)
            for packet in stream.encode(frame):
                weight = KEYFRAME_WEIGHT if packet.is_keyframe else 1.0
                container.mux(_filled(packet, int(plain * weight) - RECORD_HEADER_SIZE))


def _filled(packet: av.Packet[VideoStream], size: int) -> av.Packet[Stream]:
    """Return the packet with as much filler as brings it to this size."""
    data = bytes(packet)
    missing = size - len(data) - len(FILLER_BEGINS) - len(FILLER_ENDS)
    if missing < 0:
        raise ValueError(f"a frame of {size} bytes is too small for a black picture")
    filled = av.Packet(data + FILLER_BEGINS + b"\xff" * missing + FILLER_ENDS)
    filled.pts, filled.dts, filled.duration = packet.pts, packet.dts, packet.duration
    filled.time_base, filled.stream = packet.time_base, packet.stream
    filled.is_keyframe = packet.is_keyframe
    return filled
