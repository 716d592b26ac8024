"""Data reaches a file whole, past the cache or not; what cannot be written is said."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from livestream.runtime.writing import DONTCACHE_MIN, Writer, has_dontcache

ODD = 1_000  # An offset and a length that are no multiples of a page.


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "data", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


@pytest.mark.parametrize("length", [1, DONTCACHE_MIN - 1, DONTCACHE_MIN, 3 * DONTCACHE_MIN + ODD])
@pytest.mark.parametrize("offset", [0, ODD])
def test_data_is_where_it_belongs(descriptor: int, offset: int, length: int) -> None:
    data = Random(length).randbytes(length)
    Writer().write(descriptor, memoryview(data), offset)
    os.fdatasync(descriptor)
    assert os.pread(descriptor, offset + length + 1, 0) == bytes(offset) + data


def test_neighbours_in_one_page_do_not_spoil_each_other(descriptor: int) -> None:
    data = Random(1).randbytes(4 * DONTCACHE_MIN)
    writer = Writer()
    for at in range(ODD, len(data), DONTCACHE_MIN)[::-1]:
        writer.write(descriptor, memoryview(data)[at : at + DONTCACHE_MIN], at)
        os.fdatasync(descriptor)
    writer.write(descriptor, memoryview(data)[:ODD], 0)
    assert os.pread(descriptor, len(data), 0) == data


def test_where_the_cache_cannot_be_passed_by_all_is_written_as_usual() -> None:
    descriptor = os.memfd_create("data")
    data = Random(1).randbytes(2 * DONTCACHE_MIN)
    writer = Writer()
    for offset in (0, len(data)):
        writer.write(descriptor, memoryview(data), offset)
    assert os.pread(descriptor, 3 * len(data), 0) == 2 * data
    os.close(descriptor)


def test_what_does_not_fit_is_an_error_after_all_that_did(descriptor: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = DONTCACHE_MIN + ODD
    data = Random(1).randbytes(2 * DONTCACHE_MIN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(OSError, match="large") as caught:
            Writer().write(descriptor, memoryview(data), 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert os.pread(descriptor, len(data), 0) == data[:room]


def test_a_file_that_may_only_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    descriptor = os.open(tmp_path / "data", os.O_RDONLY)
    with pytest.raises(OSError, match="descriptor") as caught:
        Writer().write(descriptor, memoryview(bytes(DONTCACHE_MIN)), 0)
    assert caught.value.errno == errno.EBADF
    os.close(descriptor)


@pytest.mark.parametrize(
    ("release", "is_trusted"),
    [
        ("6.16.0", True),
        ("6.18.44-fc-v669", True),
        ("7.0-rc1", True),
        ("6.15.9-arch1-1", False),
        ("6.8.0-60-generic", False),
        ("5.15.167.4-microsoft-standard-WSL2", False),
        ("", False),
        ("unknown", False),
    ],
)
def test_only_kernels_that_lose_nothing_are_asked_to_forget(release: str, is_trusted: bool) -> None:
    assert has_dontcache(release) is is_trusted
