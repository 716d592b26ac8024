"""Layouts that other clients read as we do: where libtorrent looks for each file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from random import Random

import libtorrent as lt
import pytest

from livestream.errors import MetainfoError
from livestream.torrent.create import Version, lay_out
from livestream.torrent.metainfo import Metainfo
from livestream.wire import bencode
from livestream.wire.bencode import Value
from tests.interop.peers import PIECE_LENGTH, make_torrent


def theirs(data: bytes) -> list[str]:
    """Return where libtorrent has the files of a torrent, padding aside."""
    found = lt.load_torrent_buffer(data).ti
    assert found is not None
    layout = found.layout()
    pad = lt.file_flags_t.flag_pad_file
    return [
        layout.file_path(number)
        for number in range(layout.num_files())
        if not int(layout.file_flags(number)) & int(pad)
    ]


def ours(data: bytes) -> list[str]:
    """Return where we have them."""
    files = Metainfo.parse(data).files
    return [str(PurePosixPath(*entry.path)) for entry in files if not entry.is_padding]


def v2_torrent(name: bytes, *paths: str) -> bytes:
    """Return a v2 torrent of files of one byte."""
    tree: dict[bytes, Value] = {}
    for path in paths:
        node = tree
        for part in path.split("/"):
            inner = node.setdefault(part.encode(), {})
            assert isinstance(inner, dict)
            node = inner
        node[b""] = {b"length": 1, b"pieces root": b"r" * 32}
    info: Value = {b"name": name, b"piece length": 1 << 14, b"meta version": 2, b"file tree": tree}
    return bencode.encode({b"info": info, b"piece layers": {}})


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("x", ["x"]),
        ("x", ["f"]),
        ("x", ["f", "g"]),
        ("x", ["x/f"]),
        ("x", ["s/f"]),
        ("x", ["s/f", "s/g"]),
        ("x", ["s/f", "t/g", "x"]),
    ],
)
def test_a_v2_tree_is_read_as_libtorrent_reads_it(name: str, paths: list[str]) -> None:
    data = v2_torrent(name.encode(), *paths)
    assert ours(data) == theirs(data)


def test_a_v2_torrent_of_one_file_is_called_as_its_file_is() -> None:
    metainfo = Metainfo.parse(v2_torrent(b"a name for people", "f"))
    assert (metainfo.name, metainfo.is_single) == ("f", True)


@pytest.mark.parametrize("version", list(Version))
@pytest.mark.parametrize("paths", [["s/f"], ["f", "g"], ["s/f", "s/g", "empty"], ["A", "a", "ü"]])
def test_what_we_lay_out_libtorrent_finds(
    tmp_path: Path, version: Version, paths: list[str]
) -> None:
    rng = Random(3)
    for path in paths:
        whole = tmp_path / "shared" / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(b"" if path == "empty" else rng.randbytes(PIECE_LENGTH + 5))
    data = make_torrent(tmp_path / "shared", version)
    assert sorted(theirs(data)) == sorted(f"shared/{path}" for path in paths)


def test_v2_cannot_name_the_folder_of_one_file() -> None:
    with pytest.raises(MetainfoError, match="itself"):
        lay_out("x", [(("f",), 1)], 1 << 14, Version.V2, is_single=False)
    lay_out("x", [(("f",), 1)], 1 << 14, Version.HYBRID, is_single=False)
