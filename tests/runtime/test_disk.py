"""A torrent on disk: hashed, written, read, remembered; never outside its folder."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from livestream.errors import DiskError, DiskFullError
from livestream.runtime.disk import DiskEvents, DiskStore
from livestream.runtime.files import OPEN_MAX, FileSet
from livestream.runtime.resume import ResumeRecord
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import contents, make_data, make_torrent


class Recorder(DiskEvents):
    """Remembers what the store reported."""

    def __init__(self) -> None:
        self.verified: dict[int, bool] = {}
        self.errors: list[DiskError] = []
        self.loaded: list[int] = []
        self.changed = asyncio.Event()

    def on_verified(self, index: int, *, is_genuine: bool) -> None:
        self.verified[index] = is_genuine
        self.changed.set()

    def on_loaded(self, index: int) -> None:
        self.loaded.append(index)
        self.changed.set()

    def on_disk_error(self, index: int, error: DiskError) -> None:
        self.errors.append(error)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the reports say so."""
        while not condition():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 20)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return make_data(tmp_path / "seed")


@pytest.fixture(params=list(Version))
def metainfo(shared: Path, request: pytest.FixtureRequest) -> Metainfo:
    return Metainfo.parse(make_torrent(shared, request.param))


def pieces(metainfo: Metainfo, folder: Path) -> Iterator[bytearray]:
    files = FileSet(metainfo, folder, frozenset(range(len(metainfo.files))))
    files.open()
    for index in range(metainfo.piece_count):
        data = files.read(index * metainfo.piece_length, metainfo.piece_size(index))
        assert data is not None
        yield data
    files.close()


def with_store(
    metainfo: Metainfo,
    folder: Path,
    record: Path | None,
    work: Callable[[DiskStore, Recorder], Coroutine[None, None, None]],
    wanted: frozenset[int] | None = None,
) -> None:
    """Open a store, do something with it, and close it."""

    async def run() -> None:
        store = DiskStore(metainfo, folder, record=ResumeRecord(record), wanted=wanted)
        store.events = events = Recorder()
        await store.open()
        try:
            await work(store, events)
        finally:
            await store.close(10)

    asyncio.run(run())


async def submit_all(store: DiskStore, events: Recorder, source: Path) -> None:
    for index, data in enumerate(pieces(store.metainfo, source)):
        store.submit(index, data)
    count = store.metainfo.piece_count
    await events.until(lambda: len(events.verified) + len(events.errors) == count)


def test_pieces_become_the_files_and_forged_ones_do_not(
    tmp_path: Path, shared: Path, metainfo: Metainfo
) -> None:
    async def work(store: DiskStore, events: Recorder) -> None:
        store.submit(0, bytearray(metainfo.piece_size(0)))
        await events.until(lambda: bool(events.verified))
        assert events.verified == {0: False}
        assert not store.held.held
        await submit_all(store, events, shared.parent)
        assert all(events.verified.values())
        assert store.held.is_full
        store.load(1)
        await events.until(lambda: events.loaded == [1])
        image = store.image(1)
        assert image is not None
        assert image.data(0, image.size) == list(pieces(metainfo, shared.parent))[1]

    with_store(metainfo, tmp_path / "out", None, work)
    assert contents(tmp_path / "out" / "many") == contents(shared)


def test_a_record_vouches_for_unchanged_files_and_changed_ones_are_hashed_again(
    tmp_path: Path, shared: Path, metainfo: Metainfo
) -> None:
    out, record = tmp_path / "out", tmp_path / "t.resume"

    async def fill(store: DiskStore, events: Recorder) -> None:
        await submit_all(store, events, shared.parent)

    async def nothing(store: DiskStore, events: Recorder) -> None:
        held.append(store.held.held)

    held: list[int] = []
    with_store(metainfo, out, record, fill)
    with_store(metainfo, out, record, nothing)
    assert held == [metainfo.piece_count]
    target = out / "many" / "deep" / "c.bin"
    data = bytearray(target.read_bytes())
    data[-1] ^= 1
    target.write_bytes(data)
    with_store(metainfo, out, record, nothing)
    assert held[-1] == metainfo.piece_count - 1
    record.write_bytes(b"junk")
    with_store(metainfo, out, record, nothing)
    assert held[-1] == metainfo.piece_count - 1
    (out / "many" / "a.bin").unlink()
    with_store(metainfo, out, record, nothing)
    assert 0 < held[-1] < metainfo.piece_count - 1


def test_what_was_submitted_before_closing_is_kept_and_recorded(
    tmp_path: Path, shared: Path, metainfo: Metainfo
) -> None:
    out, record = tmp_path / "out", tmp_path / "t.resume"

    async def submit(store: DiskStore, events: Recorder) -> None:
        for index, data in enumerate(pieces(metainfo, shared.parent)):
            store.submit(index, data)

    with_store(metainfo, out, record, submit)
    files = FileSet(metainfo, out, frozenset(range(len(metainfo.files))))
    trusted, doubtful = ResumeRecord(record).judge(metainfo, files.states())
    assert trusted == list(range(metainfo.piece_count))
    assert not doubtful
    assert contents(out / "many") == contents(shared)


def test_nothing_is_written_through_a_link(tmp_path: Path, shared: Path) -> None:
    metainfo = Metainfo.parse(make_torrent(shared, Version.V1))
    out, outside = tmp_path / "out", tmp_path / "outside"
    outside.mkdir()

    async def work(store: DiskStore, events: Recorder) -> None:
        (out / "many").mkdir(exist_ok=True)
        (out / "many" / "deep").symlink_to(outside)
        (out / "many" / "z.bin").symlink_to(outside / "z")
        await submit_all(store, events, shared.parent)
        assert all("link" in str(error) for error in events.errors)
        assert events.errors

    with_store(metainfo, out, None, work)
    assert list(outside.iterdir()) == []
    with pytest.raises(DiskError, match="link"):
        with_store(metainfo, out, None, work)


def test_a_full_disk_is_said_so_and_what_was_kept_stays(tmp_path: Path, shared: Path) -> None:
    metainfo = Metainfo.parse(make_torrent(shared, Version.V1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def work(store: DiskStore, events: Recorder) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
        try:
            await submit_all(store, events, shared.parent)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert events.errors
        assert all(isinstance(error, DiskFullError) for error in events.errors)
        assert events.errors[0].exit_code == 9
        assert store.held.held == sum(events.verified.values()) > 0

    with_store(metainfo, tmp_path / "out", None, work)


def test_unwanted_files_are_not_made_but_their_pieces_can_be_kept(
    tmp_path: Path, shared: Path
) -> None:
    metainfo = Metainfo.parse(make_torrent(shared, Version.V1))
    wanted = frozenset(n for n, f in enumerate(metainfo.files) if f.path[-1] == "c.bin")

    async def work(store: DiskStore, events: Recorder) -> None:
        await submit_all(store, events, shared.parent)
        await store.check(list(range(metainfo.piece_count)))
        assert store.held.is_full

    with_store(metainfo, tmp_path / "out", None, work, wanted)
    assert list(contents(tmp_path / "out" / "many")) == ["deep/c.bin"]


def test_a_file_cut_short_behind_our_back_is_no_longer_held(tmp_path: Path, shared: Path) -> None:
    metainfo = Metainfo.parse(make_torrent(shared, Version.V1))

    async def work(store: DiskStore, events: Recorder) -> None:
        await submit_all(store, events, shared.parent)
        os.truncate(tmp_path / "out" / "many" / "a.bin", 10)
        store.load(2)
        await events.until(lambda: events.loaded == [2])
        assert store.image(2) is None
        assert 2 not in store.held

    with_store(metainfo, tmp_path / "out", None, work)


def test_more_files_than_descriptors(tmp_path: Path) -> None:
    folder = tmp_path / "seed" / "crowd"
    folder.mkdir(parents=True)
    for number in range(3 * OPEN_MAX):
        (folder / f"{number:04}").write_bytes(number.to_bytes(2, "big") * 50)
    metainfo = Metainfo.parse(make_torrent(folder, Version.V1))

    async def work(store: DiskStore, events: Recorder) -> None:
        await submit_all(store, events, folder.parent)
        assert store.held.is_full

    with_store(metainfo, tmp_path / "out", None, work)
    assert contents(tmp_path / "out" / "crowd") == contents(folder)
