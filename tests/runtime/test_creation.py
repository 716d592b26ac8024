"""Creating torrents: the hashes that libtorrent finds, and what cannot be shared is said so."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import libtorrent as lt
import pytest

from livestream.errors import DiskError, ExistsError, UsageError
from livestream.runtime.creation import CreateOptions, make
from livestream.runtime.hashing import READ_BYTES, RUN_BYTES, find_files, hash_pieces
from livestream.torrent.create import Version, lay_out
from livestream.torrent.metainfo import Metainfo

FLAGS = {
    Version.V1: lt.create_torrent.v1_only,
    Version.V2: lt.create_torrent.v2_only,
    Version.HYBRID: 0,
}


def silent(done: int, count: int) -> None:
    """Show no progress."""


def create(path: Path, output: Path, version: Version, piece_size: str | None = None) -> Metainfo:
    make(CreateOptions(str(path), str(output), version=version, piece_size=piece_size), silent)
    return Metainfo.parse(output.read_bytes())


def theirs(path: Path, version: Version, piece_length: int) -> Metainfo:
    """Return what libtorrent makes of the same file."""
    torrent = lt.create_torrent(lt.list_files(str(path)), piece_length, FLAGS[version])
    lt.set_piece_hashes(torrent, str(path.parent))
    return Metainfo.parse(lt.bencode(torrent.generate()))


@pytest.mark.parametrize("version", list(Version))
@pytest.mark.parametrize("size", [1, 16_384, 16_385, READ_BYTES + 1, RUN_BYTES + 5, 3 * RUN_BYTES])
@pytest.mark.parametrize("piece_size", ["16k", "1M", "2M"])
def test_every_hash_is_the_one_that_libtorrent_finds(
    tmp_path: Path, version: Version, size: int, piece_size: str
) -> None:
    """Whether pieces are read many at once, one at once, or in parts."""
    path = tmp_path / "data.bin"
    path.write_bytes(Random(size).randbytes(size))
    length = {"16k": 1 << 14, "1M": 1 << 20, "2M": 1 << 21}[piece_size]
    ours = create(path, tmp_path / "t.torrent", version, piece_size)
    other = theirs(path, version, length)
    assert (ours.hashes, ours.layers) == (other.hashes, other.layers)
    assert [entry.root for entry in ours.files] == [entry.root for entry in other.files]


def test_progress_goes_from_run_to_run_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(5 * RUN_BYTES + 1))
    files, is_single = find_files(path)
    layout = lay_out("data.bin", files, 1 << 20, Version.V1, is_single=is_single)
    seen: list[tuple[int, int]] = []
    hash_pieces(layout, tmp_path, Version.V1, lambda done, count: seen.append((done, count)))
    assert seen == [(4, 21), (8, 21), (12, 21), (16, 21), (20, 21), (21, 21)]


def test_a_file_that_shrinks_while_it_is_hashed_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(100_000))
    files, is_single = find_files(path)
    layout = lay_out("data.bin", files, 1 << 14, Version.V2, is_single=is_single)
    os.truncate(path, 50_000)
    with pytest.raises(DiskError, match="changed"):
        hash_pieces(layout, tmp_path, Version.V2)


def test_files_are_found_in_the_order_of_their_paths_and_links_are_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "b" / "c").mkdir(parents=True)
    for name in ("b.txt", "b/z", "b/c/y", "a", "ü"):
        (root / name).write_bytes(b"x")
    (root / "link").symlink_to(root / "a")
    (root / "b" / "up").symlink_to(root)
    os.mkfifo(root / "pipe")
    found, is_single = find_files(root)
    assert not is_single
    assert [parts for parts, _ in found] == [
        ("a",),
        ("b", "c", "y"),
        ("b", "z"),
        ("b.txt",),
        ("ü",),
    ]


def test_what_cannot_be_shared_is_said_so_and_nothing_is_written(tmp_path: Path) -> None:
    output = tmp_path / "t.torrent"
    latin = tmp_path / "latin"
    latin.mkdir()
    (latin / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")
    for path, said in (
        (latin, "not UTF-8"),
        (latin / os.fsdecode(b"caf\xe9.txt"), "not UTF-8"),
        (tmp_path / "none", "no such file"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            create(path, output, Version.HYBRID)
        str(caught.value).encode()
    assert not output.exists()


def test_a_torrent_that_is_there_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "t.torrent"
    output.write_bytes(b"mine")
    (tmp_path / "data").write_bytes(b"x")
    with pytest.raises(ExistsError, match="--force"):
        create(tmp_path / "data", output, Version.V1)
    assert output.read_bytes() == b"mine"


def test_an_output_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x")
    with pytest.raises(DiskError, match="none"):
        create(tmp_path / "data", tmp_path / "none" / "t.torrent", Version.V1)


def test_the_only_file_of_a_folder_is_shared_itself_in_v2(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "f0").write_bytes(b"x")
    options = CreateOptions(str(tmp_path / "x"), str(tmp_path / "t.torrent"), version=Version.V2)
    made = make(options, silent)
    assert (made.magnet.name, made.folder) == ("f0", tmp_path / "x")
