"""The outlet: joining late, falling behind, and coming to an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from viewer.outlet import QUEUE_BYTES_MAX, Outlet
from viewer.remuxer import Fragment


def key(data: bytes) -> Fragment:
    return Fragment(data, is_keyframe=True)


def delta(data: bytes) -> Fragment:
    return Fragment(data, is_keyframe=False)


async def collect(reading: AsyncIterator[bytes]) -> list[bytes]:
    return [data async for data in reading]


def test_a_late_reader_starts_at_the_last_key_frame() -> None:
    async def run() -> list[bytes]:
        outlet = Outlet()
        outlet.restart(b"init")
        outlet.publish([key(b"k1"), delta(b"d1"), key(b"k2"), delta(b"d2")])
        reading = outlet.read()
        got = [await anext(reading) for _ in range(3)]
        outlet.publish([delta(b"d3")])
        outlet.end()
        return got + await collect(reading)

    assert asyncio.run(run()) == [b"init", b"k2", b"d2", b"d3"]


def test_a_reader_who_is_first_waits_for_a_key_frame() -> None:
    async def run() -> list[bytes]:
        outlet = Outlet()
        reading = asyncio.create_task(collect(outlet.read()))
        await asyncio.sleep(0)
        outlet.restart(b"")
        await asyncio.sleep(0)
        outlet.publish([delta(b"d0"), key(b"k1"), delta(b"d1")])
        outlet.end()
        return await reading

    assert asyncio.run(run()) == [b"k1", b"d1"]


def test_a_restart_ends_readers_and_new_ones_get_the_new_container() -> None:
    async def run() -> tuple[list[bytes], list[bytes]]:
        outlet = Outlet()
        outlet.restart(b"one")
        outlet.publish([key(b"k1")])
        old = outlet.read()
        got = [await anext(old)]
        outlet.restart(b"two")
        outlet.publish([key(b"k2")])
        got += await collect(old)
        outlet.end()
        return got, await collect(outlet.read())

    assert asyncio.run(run()) == ([b"one", b"k1"], [b"two", b"k2"])


def test_a_slow_reader_skips_to_a_key_frame_and_holds_up_nobody() -> None:
    big = b"x" * (QUEUE_BYTES_MAX // 4)

    async def run() -> tuple[list[bytes], int]:
        outlet = Outlet()
        outlet.restart(b"init")
        outlet.publish([key(b"k1")])
        slow, fast = outlet.read(), outlet.read()
        await anext(slow)
        fast_count = len([await anext(fast), await anext(fast)])
        for _ in range(8):
            outlet.publish([delta(big)])
            await anext(fast)
            fast_count += 1
        outlet.publish([key(b"k2"), delta(b"d2")])
        outlet.end()
        return await collect(slow), fast_count

    rest, fast_count = asyncio.run(run())
    assert fast_count == 10
    assert rest[-2:] == [b"k2", b"d2"]
    assert sum(map(len, rest)) <= QUEUE_BYTES_MAX + len(big)


def test_an_end_before_the_beginning_ends_the_reader() -> None:
    async def run() -> list[bytes]:
        outlet = Outlet()
        reading = asyncio.create_task(collect(outlet.read()))
        await asyncio.sleep(0)
        outlet.end()
        return await reading

    assert asyncio.run(run()) == []
