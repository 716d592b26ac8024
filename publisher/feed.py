"""Opens a source and hands its samples to the event loop, from a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Final, final

from livestream.errors import LivestreamError, MediaError, StateError
from livestream.machine import SECOND
from livestream.media.joiner import CapturedSample
from publisher.encoder import Picture
from publisher.pacing import Clock, ClosedError, Pace, SystemClock
from publisher.passthrough import Passthrough
from publisher.producer import Producer
from publisher.source import Source
from publisher.survey import GOP_MAX, Survey, survey_file, survey_live, why_not_copyable
from publisher.testcard import PatternProducer
from publisher.transcode import PictureWish, Transcode, default_bitrate_bps

__all__ = ["Feed", "FeedMode", "FeedOptions", "open_feed"]

QUEUE_MAX: Final = 256  # Samples under way to the event loop: about three seconds.
TEST: Final = "test"
TEST_SIZE: Final = (1280, 720)
TEST_FPS: Final = Fraction(30)


class FeedMode(Enum):
    """Whether the source is encoded again."""

    AUTO = "auto"
    COPY = "copy"
    ENCODE = "encode"


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """How a source is sent. None: what suits the source."""

    mode: FeedMode = FeedMode.AUTO
    bitrate_bps: int | None = None
    "Of the video, when it is encoded."
    width: int | None = None
    height: int | None = None
    fps: Fraction | None = None
    "At most this many frames a second."
    gop_us: int = SECOND
    "From key frame to key frame, when encoded: what a newcomer waits for."
    loop: bool = False
    "Start a file again when it ends."


@final
class Feed:
    """The samples of one source, as they are captured.

    Invariant: the thread only makes samples and queues them; it ends when the source ends, breaks
    or is closed, and closes the source itself. At most QUEUE_MAX samples wait.
    """

    def __init__(self, producer: Producer, clock: Clock) -> None:
        self.tracks = producer.tracks
        self.rate_bps = producer.rate_bps
        self.is_copied = producer.is_copied
        self._producer = producer
        self._clock = clock
        self._room = threading.Semaphore(QUEUE_MAX)
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: asyncio.Queue[CapturedSample | LivestreamError | None] = asyncio.Queue()

    async def samples(self) -> AsyncIterator[CapturedSample]:
        """Yield (sample, capture time in Unix ms) until the source ends. Once only.

        Raises:
            MediaError: the source broke, or turned out to be of no use.
        """
        if self._thread is not None or self._is_closed.is_set():
            raise StateError("a feed is read once")
        self._loop = asyncio.get_running_loop()
        # A daemon: a network read that cannot be interrupted must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, LivestreamError):
                    raise item
                yield item
                self._room.release()
        finally:
            self.close()

    def close(self) -> None:
        """End the thread and the iterator; returns at once. Can be repeated."""
        self._is_closed.set()
        self._clock.close()
        self._room.release()
        self._put(None)
        if self._thread is None:
            self._producer.close()

    @property
    def is_running(self) -> bool:
        """The thread is at work."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        """Be the thread."""
        last: LivestreamError | None = None
        try:
            for captured in self._producer.samples():
                self._room.acquire()
                if self._is_closed.is_set():
                    break
                self._put(captured)
        except ClosedError:
            pass
        except LivestreamError as error:
            last = error
        except Exception as error:  # Whatever FFmpeg or numpy raise: the iterator must not hang.
            last = MediaError(f"The source failed unexpectedly: {error!r}. Try --encode.")
            last.__cause__ = error
        finally:
            self._producer.close()
            self._put(last)

    def _put(self, item: CapturedSample | LivestreamError | None) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


def open_feed(
    spec: str, options: FeedOptions, *, clock: Clock | None = None, stdin: int = 0
) -> Feed:
    """Open a source. Blocks while it looks at it: call it in a thread.

    Args:
        spec: A path, "-" for standard input, "test", or a URL.
        options: How to send it.
        clock: Instead of the real one.
        stdin: File descriptor to read for "-".

    Raises:
        MediaError: it cannot be opened or sent; what, why, and what to do.
    """
    clock = clock or SystemClock()
    if spec == TEST:
        return Feed(PatternProducer(_test_picture(options), clock), clock)
    source = Source(spec, clock, stdin=stdin)
    try:
        if options.loop and not (source.can_repeat and source.pace is Pace.PACED):
            raise MediaError(f"{source.name}: only a file can be looped. Leave out --loop.")
        return Feed(_choose_producer(source, options, clock), clock)
    except BaseException:
        source.close()
        raise


def _choose_producer(source: Source, options: FeedOptions, clock: Clock) -> Producer:
    decides = options.mode is FeedMode.AUTO
    survey = survey_file(source) if source.is_local else survey_live(source, measures_gops=decides)
    if survey.is_empty:
        raise MediaError(f"{source.name}: nothing in it has a time stamp. Remux it with ffmpeg.")
    if source.audio is not None and not survey.first_audio:
        source.without_audio()
    if options.mode is not FeedMode.ENCODE:
        obstacle = why_not_copyable(source, survey)
        if obstacle and options.mode is FeedMode.COPY:
            raise MediaError(f"{source.name} cannot be copied: {obstacle}. Leave out --copy.")
        if not obstacle and (options.mode is FeedMode.COPY or _suits_live(source, survey, options)):
            return Passthrough(source, survey, clock, loop=options.loop)
    wish = PictureWish(
        options.width, options.height, options.fps, options.bitrate_bps, options.gop_us
    )
    return Transcode(source, survey.arrivals, clock, wish, loop=options.loop)


def _suits_live(source: Source, survey: Survey, options: FeedOptions) -> bool:
    """Whether nothing is asked for that needs encoding, and newcomers find key frames."""
    wishes = (options.bitrate_bps, options.width, options.height, options.fps)
    if any(wish is not None for wish in wishes):
        return False
    if source.video is None:
        return True
    return survey.gop_max is not None and survey.gop_max <= GOP_MAX


def _test_picture(options: FeedOptions) -> Picture:
    width, height = TEST_SIZE
    if options.width and options.height:
        width, height = options.width, options.height
    elif options.width:
        width, height = options.width, options.width * TEST_SIZE[1] // TEST_SIZE[0]
    elif options.height:
        width, height = options.height * TEST_SIZE[0] // TEST_SIZE[1], options.height
    width, height = max(320, width // 2 * 2), max(180, height // 2 * 2)
    fps = options.fps or TEST_FPS
    bitrate_bps = options.bitrate_bps or default_bitrate_bps(width, height, fps)
    return Picture(width, height, fps, bitrate_bps, options.gop_us)
