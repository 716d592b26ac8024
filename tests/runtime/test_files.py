"""The files of a torrent: under which names, on which disks, and who else writes to them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest

from livestream.errors import DiskError
from livestream.runtime.disk import DiskStore
from livestream.runtime.files import FileSet
from livestream.runtime.resume import ResumeRecord
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from livestream.wire import bencode
from tests.interop.peers import make_torrent
from tests.runtime.test_disk import Recorder

T = TypeVar("T")


def run(work: Coroutine[None, None, T]) -> T:
    return asyncio.run(work)


def share(folder: Path, *names: str) -> Metainfo:
    """Write a folder of files, and return its torrent."""
    rng = Random(9)
    for name in names:
        path = folder / "m" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(40_000))
    return Metainfo.parse(make_torrent(folder / "m", Version.V1))


async def held(
    metainfo: Metainfo, folder: Path, record: Path | None = None, *, is_read_only: bool = True
) -> int:
    """Return how many pieces are found in a folder."""
    store = DiskStore(metainfo, folder, record=ResumeRecord(record), is_read_only=is_read_only)
    await store.open()
    count = store.held.held
    await store.close(0)
    return count


def test_files_are_found_under_the_torrents_own_names(tmp_path: Path) -> None:
    """Whoever created it, or has it from another client, has these."""
    metainfo = share(tmp_path, "Part 1: X?.mkv", "CON", "README", "readme", "Part 2: Y/end.")
    safe = [entry.path[1:] for entry in metainfo.files]
    assert ("Part 1_ X_.mkv",) in safe
    assert ("readme.1",) in safe
    assert run(held(metainfo, tmp_path)) == metainfo.piece_count
    assert not [path for path in tmp_path.rglob("*") if "_" in path.name], "nothing was made"


def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 5)
    files: list[bencode.Value] = [
        {b"length": 5, b"path": [b"..", b"..", b"secret"]},
        {b"length": 5, b"path": [b"../../secret"]},
        {b"length": 5, b"path": [b"link", b"secret"]},
    ]
    info: bencode.Value = {
        b"name": b"m", b"piece length": 16_384, b"pieces": bytes(20), b"files": files,
    }  # fmt: skip
    metainfo = Metainfo.parse(bencode.encode({b"info": info}))
    folder = tmp_path / "deep" / "out"
    (folder / "m").mkdir(parents=True)
    (folder / "m" / "link").symlink_to(tmp_path)
    found = FileSet(metainfo, folder, frozenset(range(3)))
    found.open()
    assert found.states()[:2] == [(-1, 0)] * 2
    for start in (0, 5):
        assert found.read(start, 5) is None
    with pytest.raises(DiskError, match="link"):
        found.read(10, 5)
    found.close()


def test_two_names_of_one_file_are_not_two_files(tmp_path: Path) -> None:
    """As where case does not count: what belongs to the second must not go into the first."""
    metainfo = share(tmp_path / "seed", "A", "a")
    out = tmp_path / "out"
    (out / "m").mkdir(parents=True)
    (out / "m" / "A").write_bytes(b"")
    os.link(out / "m" / "A", out / "m" / "a")
    files = FileSet(metainfo, out, frozenset(range(2)))
    files.create()
    files.write(0, b"1" * 40_000)
    files.write(40_000, b"2" * 40_000)
    files.close()
    assert (out / "m" / "A").read_bytes() == b"1" * 40_000
    assert (out / "m" / "a.1").read_bytes() == b"2" * 40_000


async def load(store: DiskStore, events: Recorder, index: int) -> bool:
    """Ask for a piece; whether it came."""
    count = len(events.loaded)
    store.load(index)
    await events.until(lambda: len(events.loaded) > count)
    return store.image(index) is not None


def test_a_file_that_somebody_writes_to_while_it_is_shared_is_no_longer_served(
    tmp_path: Path,
) -> None:
    """Peers ban whoever sends what does not hash; what is right still goes out."""
    metainfo = share(tmp_path, "a", "b")

    async def work() -> None:
        store = DiskStore(metainfo, tmp_path, record=ResumeRecord(None))
        store.events = events = Recorder()
        await store.open()
        assert store.held.is_full
        with (tmp_path / "m" / "a").open("r+b") as file:
            file.write(b"other")
        assert not await load(store, events, 0)
        assert 0 not in store.held
        assert await load(store, events, 1)
        (tmp_path / "new").write_bytes(bytes(40_000))
        (tmp_path / "new").replace(tmp_path / "m" / "b")
        last = metainfo.piece_count - 1
        assert await load(store, events, last), "the file that was checked is open still"
        image = store.image(last)
        assert image is not None
        assert any(image.data(0, image.size))
        await store.close(1)

    run(work())


@pytest.mark.parametrize("step_ns", [1, 1_000, 1_000_000_000])
def test_a_change_of_time_by_a_nanosecond_has_a_file_hashed_again(
    tmp_path: Path, step_ns: int
) -> None:
    metainfo, record = share(tmp_path, "a", "b"), tmp_path / "t.resume"
    assert run(held(metainfo, tmp_path, record)) == metainfo.piece_count
    path = tmp_path / "m" / "a"
    before = path.stat().st_mtime_ns
    path.write_bytes(bytes(40_000))
    os.utime(path, ns=(before, before))
    assert run(held(metainfo, tmp_path, record)) == metainfo.piece_count, "nobody could know"
    os.utime(path, ns=(before + step_ns, before + step_ns))
    assert run(held(metainfo, tmp_path, record)) == metainfo.piece_count - 2


def test_a_folder_that_cannot_be_written_to_is_said_so(tmp_path: Path) -> None:
    """Not even by root: it is the kernel's own."""
    metainfo = share(tmp_path, "a")
    with pytest.raises(DiskError, match="/sys/livestream"):
        run(held(metainfo, Path("/sys/livestream"), is_read_only=False))


def test_files_take_no_more_disk_than_what_was_written(tmp_path: Path) -> None:
    length = 1 << 40
    info: bencode.Value = {
        b"name": b"huge", b"piece length": 1 << 24, b"length": length,
        b"pieces": bytes(20 * (length >> 24)),
    }  # fmt: skip
    metainfo = Metainfo.parse(bencode.encode({b"info": info}))
    files = FileSet(metainfo, tmp_path, frozenset([0]))
    files.create()
    files.write(length - (1 << 14), bytes([1]) * (1 << 14))
    files.close()
    status = (tmp_path / "huge").stat()
    assert status.st_size == length
    assert status.st_blocks * 512 < 1 << 20
