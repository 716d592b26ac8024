"""What `-o` writes to: whole, in order, and without holding up whoever else is served."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from viewer.output import OutputFile

PIPE_BYTES = 64 * 1024  # What Linux's pipes hold; elsewhere it is less.


async def fragments(data: list[bytes]) -> AsyncGenerator[bytes, None]:
    for each in data:
        yield each
        await asyncio.sleep(0)


def read_all(path: Path, into: list[bytes]) -> None:
    with path.open("rb") as file:
        into.append(file.read())


def test_a_file_gets_everything_in_order(tmp_path: Path) -> None:
    data = [bytes([number]) * 10_000 for number in range(50)]

    async def run() -> None:
        with OutputFile(str(tmp_path / "video")) as file:
            await file.copy(fragments(data))

    asyncio.run(run())
    assert (tmp_path / "video").read_bytes() == b"".join(data)


def test_a_pipe_gets_a_frame_before_the_next_one_is_there(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    seen: list[bytes] = []

    async def frames() -> AsyncGenerator[bytes, None]:
        for number in range(3):
            yield bytes([number]) * 5_000
            seen.append(os.read(descriptor, PIPE_BYTES))

    async def run() -> None:
        with OutputFile(str(pipe)) as file:
            await file.copy(frames())

    asyncio.run(run())
    os.close(descriptor)
    assert seen == [bytes([number]) * 5_000 for number in range(3)]


def test_a_reader_that_takes_nothing_holds_up_nobody_and_loses_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    data = [os.urandom(PIPE_BYTES) for _ in range(4)]
    got: list[bytes] = []

    async def run() -> None:
        with OutputFile(str(pipe)) as file:
            copying = asyncio.create_task(file.copy(fragments(data)))
            for _ in range(100):  # The pipe is full by now, and the loop still turns.
                await asyncio.sleep(0)
            assert not copying.done()
            reader = threading.Thread(target=read_all, args=(pipe, got))
            reader.start()
            await copying
            file.close()
            os.close(descriptor)
            await asyncio.to_thread(reader.join)

    asyncio.run(run())
    assert got == [b"".join(data)]


def test_a_reader_that_leaves_is_told_as_a_broken_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    async def run() -> None:
        with OutputFile(str(pipe)) as file:
            os.close(descriptor)
            await file.copy(fragments([b"frame"]))

    with pytest.raises(BrokenPipeError):
        asyncio.run(run())
