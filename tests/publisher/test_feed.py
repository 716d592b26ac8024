"""Feeds: one thread, one bounded queue, and an end in every case."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from livestream.errors import MediaError, StateError
from livestream.media.joiner import CapturedSample
from livestream.media.sample import Sample
from publisher.feed import Feed, open_feed
from publisher.pacing import Clock, ClosedError, SystemClock
from publisher.producer import Producer
from tests.publisher.reading import (
    AUTO,
    ended,
    read,
)


@pytest.mark.parametrize("spec", ["test", "file"])
def test_closing_ends_the_thread_while_it_is_pacing(spec: str, clip: Path) -> None:
    async def use() -> None:
        feed = open_feed(str(clip) if spec == "file" else spec, AUTO)
        async for _ in feed.samples():
            break
        await ended(feed)
        with pytest.raises(StateError):
            await anext(feed.samples())

    asyncio.run(use())


def test_a_reader_that_stops_reading_holds_the_thread_back_and_it_can_be_closed() -> None:
    async def use() -> None:
        producer = Endless()
        clock = SystemClock()
        feed = Feed(producer, clock)
        samples = feed.samples()
        await anext(samples)
        while producer.made < 256:  # noqa: ASYNC110 (a thread cannot set an asyncio.Event)
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert producer.made < 260
        feed.close()
        await ended(feed)
        assert producer.is_closed

    asyncio.run(use())


class Endless(Producer):
    """Makes samples as fast as it may, and notes what happens to it."""

    def __init__(self) -> None:
        self.tracks = ()
        self.rate_bps = 0
        self.is_copied = False
        self.made = 0
        self.is_closed = False

    def samples(self) -> Iterator[CapturedSample]:
        while True:
            self.made += 1
            yield CapturedSample(Sample(0, True, 0, 0, 0, b""), 0)

    def close(self) -> None:
        self.is_closed = True


class Broken(Endless):
    """Fails like a library does."""

    def samples(self) -> Iterator[CapturedSample]:
        yield CapturedSample(Sample(0, True, 0, 0, 0, b""), 0)
        raise ValueError("a surprise")


def test_whatever_goes_wrong_in_the_thread_reaches_the_reader() -> None:
    producer = Broken()
    with pytest.raises(MediaError, match="a surprise"):
        asyncio.run(read(Feed(producer, SystemClock())))
    assert producer.is_closed


def test_a_feed_that_is_closed_before_it_is_read_lets_go_of_its_source() -> None:
    producer = Endless()
    clock: Clock = SystemClock()
    Feed(producer, clock).close()
    assert producer.is_closed
    with pytest.raises(ClosedError):
        clock.wait_until(0)
