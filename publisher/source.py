"""Opens whatever FFmpeg reads: a file, standard input, a URL; yields the packets of two streams."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from typing import Final, final

import av
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from livestream.errors import MediaError
from livestream.machine import MILLISECOND, SECOND
from publisher.pacing import Clock, Pace
from publisher.packets import Arrival, AvStream, fill_dts, has_time, stamp_raw

__all__ = ["STDIN", "Source"]

STDIN: Final = "-"
TIMEOUT_S: Final = 10  # A network source that says nothing for so long is gone.
PIPE_WAIT_US: Final = 30 * SECOND  # A pipe's writer may be slow to start, but not slower.
TIMELESS_MAX: Final = 500  # Packets in a row without time stamps, before giving up on them.
POLL_US: Final = 100 * MILLISECOND  # How soon a reader that waits for a pipe notices the end.

# A live source should be on air at once. A fifth of a megabyte holds a key frame and both
# streams' parameters; half a second is enough to see that a stream is there (measured on MPEG-TS).
LIVE_OPTIONS: Final = {"probesize": "200000", "analyzeduration": "500000"}
RAW_FORMATS: Final = ("h264", "hevc")  # Without a container, so without time stamps.
NOT_MEDIA: Final = ("tty", "image2")  # FFmpeg "plays" text files and single pictures too.

_UNREADABLE: Final = (av.error.InvalidDataError, av.error.EOFError)
ADVICE: Final = (
    (
        av.error.FileNotFoundError,
        "not found. Give a media file, `-` for standard input, `test`, or a URL.",
    ),
    (av.error.PermissionError, "not allowed to read it. Check its permissions."),
    (av.error.IsADirectoryError, "this is a folder. Give one of the files in it."),
    (_UNREADABLE, "not a media file, or damaged. `ffprobe` may tell more."),
    (
        av.error.ProtocolNotFoundError,
        "URLs of this kind are not built in. Try `ffmpeg -i URL -c copy -f mpegts - | …publish -`.",
    ),
    (av.error.ExitError, f"nothing came within {TIMEOUT_S} s. Is the sender running?"),
)
PIPE_ADVICE: Final = (
    (
        _UNREADABLE,
        "empty, or not media that can be read from a pipe. MPEG-TS, Matroska and FLV can; of an "
        "MP4 file give the name instead.",
    ),
)


@final
class _PipeReader:
    """What FFmpeg reads a pipe through. Waits in small steps, so that closing it is quick."""

    def __init__(self, fd: int, clock: Clock) -> None:
        self._fd = fd
        self._clock = clock

    def read(self, size: int) -> bytes:
        """Return what is there, at least one byte; none at the end."""
        gives_up_at = self._clock.now_us() + PIPE_WAIT_US
        while not select.select([self._fd], [], [], POLL_US / SECOND)[0]:
            now = self._clock.now_us()
            self._clock.wait_until(now)
            if now > gives_up_at:
                raise MediaError(
                    "standard input: nothing came for 30 s. Pipe media into it, e.g. "
                    "`ffmpeg … -f mpegts - | livestream publish -`."
                )
        return os.read(self._fd, size)


@final
class Source:
    """One opened input: its first video and its first audio stream.

    Used by one thread at a time. Whatever FFmpeg does not like surfaces as MediaError.
    """

    def __init__(self, spec: str, clock: Clock, *, stdin: int = 0) -> None:
        """Open.

        Args:
            spec: A path, "-" or a URL.
            clock: Stamps arrivals, and interrupts waiting.
            stdin: File descriptor of standard input.

        Raises:
            MediaError: what cannot be opened, and what to do about it.
        """
        self.name = "standard input" if spec == STDIN else spec
        self._spec = spec
        self._clock = clock
        self._stdin = stdin
        self._wants_audio = True
        self.video: VideoStream | None = None
        self.audio: AudioStream | None = None
        self.container = self._open()
        try:
            self._select_streams()
        except MediaError:
            self.close()
            raise
        self.pace = self._pace()

    @property
    def can_repeat(self) -> bool:
        """Whether it can be opened again from its beginning."""
        return self._spec != STDIN

    @property
    def is_local(self) -> bool:
        """Whether looking ahead costs nothing: a file on this machine."""
        return self._spec != STDIN and "://" not in self._spec

    @property
    def streams(self) -> list[AvStream]:
        """The chosen streams, video first: their places are the channel's track numbers."""
        return [stream for stream in (self.video, self.audio) if stream is not None]

    def packets(self) -> Iterator[Arrival]:
        """Yield packets as they come, until the end.

        Raises:
            MediaError: the source broke, or a network source fell silent.
        """
        arrivals = self._demux()
        if self._is_raw_video():
            return stamp_raw(arrivals, is_live=not self.is_local)
        return fill_dts(self._timed(arrivals), self.video)

    def reopen(self) -> None:
        """Go back to the beginning."""
        self.close()
        self.container = self._open()
        self._select_streams()

    def without_audio(self) -> None:
        """Forget the audio stream: it is announced, but nothing comes."""
        self.audio = None
        self._wants_audio = False

    def close(self) -> None:
        """Let go of the input. Its streams must not be touched any more: they are FFmpeg's."""
        self.video = self.audio = None
        self.container.close()

    def _demux(self) -> Iterator[Arrival]:
        try:
            for packet in self.container.demux(*self.streams):
                if packet.size:
                    yield Arrival(packet, self._clock.now_us())
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            raise MediaError(f"{self.name}: broke off ({_reason(error)}).") from error

    def _timed(self, arrivals: Iterator[Arrival]) -> Iterator[Arrival]:
        timeless = 0
        for arrival in arrivals:
            if has_time(arrival.packet):
                timeless = 0
                yield arrival
                continue
            timeless += 1
            if timeless > TIMELESS_MAX:
                raise MediaError(
                    f"{self.name}: it has no time stamps. Put it into a container first, e.g. "
                    f"`ffmpeg -i … -c copy -f mpegts`."
                )

    def _is_raw_video(self) -> bool:
        """Whether it is one bare H.264 stream without reordering, so that order is time."""
        is_raw = self.container.format.name in RAW_FORMATS and self.video is not None
        return is_raw and self.video is not None and not self.video.codec_context.has_b_frames

    def _open(self) -> InputContainer:
        try:
            if self._spec == STDIN:
                reader = _PipeReader(self._stdin, self._clock)
                return av.open(reader, "r", options=dict(LIVE_OPTIONS))
            if "://" in self._spec:
                return av.open(self._spec, "r", options=_url_options(self._spec), timeout=TIMEOUT_S)
            return av.open(self._spec, "r")
        except av.error.FFmpegError as error:
            raise MediaError(f"{self.name}: {_advice(self._spec, error)}") from error

    def _select_streams(self) -> None:
        if self.container.format.name in NOT_MEDIA:
            raise MediaError(f"{self.name}: this is neither video nor sound.")
        self.video = next(
            (
                stream
                for stream in self.container.streams.video
                if stream.codec_context is not None
                and stream.codec_context.width > 0
                and not stream.disposition & Disposition.attached_pic  # The cover of an album.
            ),
            None,
        )
        self.audio = next(
            (
                stream
                for stream in self.container.streams.audio
                if self._wants_audio
                and stream.codec_context is not None
                and stream.codec_context.sample_rate > 0
            ),
            None,
        )
        if not self.streams:
            raise MediaError(
                f"{self.name}: no video and no sound that FFmpeg could decode. "
                f"`ffprobe` tells what is in it."
            )

    def _pace(self) -> Pace:
        if self.container.duration:  # Known before the end: it is all there already.
            return Pace.PACED
        if self._spec == STDIN:
            return Pace.THROTTLED
        return Pace.PACED if self.is_local else Pace.LIVE


def _url_options(url: str) -> dict[str, str]:
    options = dict(LIVE_OPTIONS)
    if url.startswith("rtsp://"):
        options["rtsp_transport"] = "tcp"  # Lossless; UDP is what our own transport is for.
    if url.startswith("udp://"):
        options["fifo_size"] = "50000"  # TS packets, 9 MB: room while the thread is busy.
        options["overrun_nonfatal"] = "1"
    return options


def _advice(spec: str, error: av.error.FFmpegError) -> str:
    table = PIPE_ADVICE if spec == STDIN else ADVICE
    for kinds, advice in table:
        if isinstance(error, kinds):
            return advice
    return f"cannot be opened ({_reason(error)})."


def _reason(error: av.error.FFmpegError) -> str:
    if isinstance(error, av.error.ExitError):
        return f"nothing came for {TIMEOUT_S} s"
    return error.strerror or type(error).__name__
