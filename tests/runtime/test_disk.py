"""A torrent on disk: hashed, written, read, remembered; never outside its folder."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from livestream.errors import DiskError, DiskFullError
from livestream.pieces.verifier import Verdict
from livestream.runtime.descriptors import OPEN_MAX
from livestream.runtime.disk import IN_FLIGHT_MAX, DiskEvents, DiskStore
from livestream.runtime.files import FileSet
from livestream.runtime.resume import ResumeRecord
from livestream.torrent.create import Version
from livestream.torrent.hashing import HashVerifier
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import contents, make_data, make_torrent


class Recorder(DiskEvents):
    """Remembers what the store reported."""

    def __init__(self) -> None:
        self.verified: dict[int, bool] = {}
        self.errors: list[DiskError] = []
        self.loaded: list[int] = []
        self.lost: list[int] = []
        self.changed = asyncio.Event()

    def on_verified(self, index: int, *, is_genuine: bool) -> None:
        self.verified[index] = is_genuine
        self.changed.set()

    def on_loaded(self, index: int) -> None:
        self.loaded.append(index)
        self.changed.set()

    def on_lost(self, indexes: list[int]) -> None:
        self.lost += indexes
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
    events.verified.clear()  # A piece that was forged before may be the last to come now.
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


class Exhausted(HashVerifier):
    """Has no memory left, and says so."""

    def verify(self, index: int, data: bytes | bytearray) -> Verdict:
        raise MemoryError


def test_whatever_befalls_a_thread_a_piece_is_reported_and_its_room_is_free_again(
    tmp_path: Path, shared: Path
) -> None:
    metainfo = Metainfo.parse(make_torrent(shared, Version.V1, 1 << 20))

    async def run() -> None:
        record = ResumeRecord(None)
        store = DiskStore(metainfo, tmp_path / "out", record=record, verifier=Exhausted(metainfo))
        store.events = events = Recorder()
        await store.open()
        try:
            count = IN_FLIGHT_MAX >> 20
            for _ in range(count):
                store.submit(0, bytearray(1 << 20))
            rooms = [store.has_room]
            await events.until(lambda: len(events.errors) == count)
            assert [*rooms, store.has_room] == [False, True]
            assert "piece 0" in str(events.errors[0])
        finally:
            await store.close(10)

    asyncio.run(run())


def test_a_piece_that_cannot_be_read_is_reported_whatever_the_reason(
    tmp_path: Path, shared: Path
) -> None:
    """Its file has changed, so that it is hashed before it is served; and that fails."""
    metainfo = Metainfo.parse(make_torrent(shared, Version.V1))
    record = tmp_path / "record"

    async def nothing(store: DiskStore, events: Recorder) -> None:
        assert store.held.is_full

    async def run() -> None:
        resumed = ResumeRecord(record)
        store = DiskStore(metainfo, shared.parent, record=resumed, verifier=Exhausted(metainfo))
        store.events = events = Recorder()
        await store.open()
        try:
            assert store.held.is_full
            os.utime(shared / "a.bin", (1, 1))
            store.load(2)
            await events.until(lambda: events.loaded == [2])
            assert 2 not in store.held
        finally:
            await store.close(10)

    with_store(metainfo, shared.parent, record, nothing)
    asyncio.run(run())


def test_what_was_in_a_file_that_is_deleted_is_lost_and_the_next_piece_makes_it_anew(
    tmp_path: Path, shared: Path
) -> None:
    """Its descriptor is open: without a look, all goes to a file that nobody can see."""
    metainfo = Metainfo.parse(make_torrent(shared, Version.V1))
    target = tmp_path / "out" / "many" / "a.bin"

    async def work(store: DiskStore, events: Recorder) -> None:
        await submit_all(store, events, shared.parent)
        target.unlink()
        data = list(pieces(metainfo, shared.parent))
        store.submit(2, data[2])
        await events.until(lambda: bool(events.lost))
        in_file = metainfo.pieces_of(metainfo.files[0])
        assert sorted(events.lost) == list(range(in_file.start, in_file.stop))
        assert store.held.held == metainfo.piece_count - len(events.lost) + 1
        for index in events.lost:
            store.submit(index, data[index])
        await events.until(lambda: store.held.is_full)

    with_store(metainfo, tmp_path / "out", None, work)
    assert contents(tmp_path / "out" / "many") == contents(shared)


def test_no_record_vouches_for_a_file_that_was_deleted_in_the_end(
    tmp_path: Path, shared: Path
) -> None:
    metainfo = Metainfo.parse(make_torrent(shared, Version.V1))
    out, record = tmp_path / "out", tmp_path / "t.resume"

    async def fill(store: DiskStore, events: Recorder) -> None:
        await submit_all(store, events, shared.parent)
        (out / "many" / "deep" / "c.bin").unlink()

    async def look(store: DiskStore, events: Recorder) -> None:
        entry = next(each for each in metainfo.files if each.path[-1] == "c.bin")
        pieces_of = metainfo.pieces_of(entry)
        assert not store.held.flags[pieces_of].any()
        assert store.held.held == metainfo.piece_count - (pieces_of.stop - pieces_of.start)

    with_store(metainfo, out, record, fill)
    with_store(metainfo, out, record, look)


def test_what_a_file_has_beyond_its_length_is_cut_by_a_download_and_left_by_a_seed(
    tmp_path: Path, shared: Path
) -> None:
    metainfo = Metainfo.parse(make_torrent(shared, Version.V1))
    wanted = contents(shared)
    right, wrong, empty = shared / "a.bin", shared / "z.bin", shared / "empty"
    right.write_bytes(right.read_bytes() + b"behind")
    wrong.write_bytes(bytes(50_000))
    empty.write_bytes(b"not so")
    before = contents(shared)

    async def run(*, is_seeding: bool) -> None:
        record = ResumeRecord(None)
        store = DiskStore(metainfo, shared.parent, record=record, is_seeding=is_seeding)
        store.events = events = Recorder()
        await store.open()
        try:
            missing = [n for n in range(metainfo.piece_count) if n not in store.held]
            assert missing == list(range(metainfo.piece_count))[metainfo.pieces_of(last)]
            if is_seeding:
                return
            assert right.stat().st_size == metainfo.files[0].length
            assert wrong.stat().st_size == 50_000, "it may be another: nothing was written yet"
            data = b"".join(wanted["/".join(each.path[1:])] for each in metainfo.files)
            for index in missing:
                start = index * metainfo.piece_length
                piece = data[start : start + metainfo.piece_size(index)]
                store.submit(index, bytearray(piece))
            await events.until(lambda: store.held.is_full)
        finally:
            await store.close(10)

    last = metainfo.files[-1]
    assert last.path[-1] == "z.bin"
    asyncio.run(run(is_seeding=True))
    assert contents(shared) == before
    asyncio.run(run(is_seeding=False))
    assert contents(shared) == wanted
