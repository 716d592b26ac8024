"""Metainfo: what a .torrent says, and every way in which it can lie."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import libtorrent as lt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.errors import MetainfoError
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo, Span
from livestream.wire import bencode
from livestream.wire.bencode import Value
from tests.interop.peers import make_data, make_torrent

HASH = bytes(20)
SINGLE: dict[bytes, Value] = {
    b"name": b"n",
    b"piece length": 16_384,
    b"pieces": HASH,
    b"length": 5,
}


def torrent(**changes: Value) -> bytes:
    info = {**SINGLE, **{key.replace("_", " ").encode(): value for key, value in changes.items()}}
    return bencode.encode({b"info": {k: v for k, v in info.items() if v != b"absent"}})


@pytest.mark.parametrize("version", list(Version))
def test_libtorrent_agrees_on_what_we_made(tmp_path: Path, version: Version) -> None:
    data = make_torrent(make_data(tmp_path / "seed"), version)
    ours = Metainfo.parse(data)
    theirs = lt.load_torrent_buffer(data).ti
    assert theirs is not None
    hashes = theirs.info_hashes()
    assert ours.has_v1 == hashes.has_v1()
    assert ours.has_v2 == hashes.has_v2()
    if ours.has_v1:
        assert str(hashes.v1) == ours.info_hash_v1.hex()
    if ours.has_v2:
        assert str(hashes.v2) == ours.info_hash_v2.hex()
    assert theirs.num_pieces() == ours.piece_count
    if ours.has_v1:
        assert theirs.total_size() == ours.length


def test_the_info_hash_is_over_the_bytes_as_they_stand() -> None:
    info = b"d6:pieces20:" + HASH + b"4:name1:n6:lengthi5e12:piece lengthi16384ee"
    metainfo = Metainfo.parse(b"d4:info" + info + b"e")
    assert metainfo.info == info


def test_spans_skip_nothing_and_overlap_nowhere() -> None:
    files: list[Value] = [
        {b"length": length, b"path": [b"f%d" % number]}
        for number, length in enumerate((10, 0, 20_000, 3))
    ]
    metainfo = Metainfo.parse(torrent(length=b"absent", files=files, pieces=HASH * 2))
    assert list(metainfo.spans(5, 20_006)) == [Span(0, 5, 5), Span(2, 0, 20_000), Span(3, 0, 1)]
    assert metainfo.piece_size(1) == 20_013 - 16_384


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i1e",
        b"d4:infoi1ee",
        b"d4:info" + b"l" * 10_000 + b"e" * 10_001,
        torrent(pieces=HASH * 2),
        torrent(pieces=HASH[:-1]),
        torrent(pieces=b"absent"),
        torrent(length=-1),
        torrent(length=0),
        torrent(length=1 << 63),
        torrent(length=b"absent"),
        torrent(length=b"absent", files=[]),
        torrent(length=b"absent", files=[{b"length": 5}]),
        torrent(length=b"absent", files=[{b"length": 5, b"path": []}]),
        torrent(length=b"absent", files=[{b"length": 5, b"path": [1]}]),
        torrent(length=b"absent", files=[{b"length": 1 << 62, b"path": [b"a"]}] * 3),
        torrent(files=[{b"length": 5, b"path": [b"a"]}]),
        torrent(piece_length=0),
        torrent(piece_length=-5),
        torrent(piece_length=1 << 40),
        torrent(meta_version=3),
        torrent(meta_version=2),
        torrent(meta_version=2, file_tree={b"other": {b"": {b"length": 5}}}),
        torrent()[:-9],
        torrent() + b"x",
    ],
)
def test_a_malformed_torrent_is_a_clear_error(data: bytes) -> None:
    with pytest.raises(MetainfoError) as caught:
        Metainfo.parse(data)
    assert len(str(caught.value)) < 200


def v2_torrent(length: int, root: bytes = b"r" * 32, **outer: Value) -> bytes:
    """Return a v2-only torrent of two files with one root."""
    tree: dict[bytes, Value] = {
        name: {b"": {b"length": size, b"pieces root": root}}
        for name, size in ((b"a", length), (b"b", length))
    }
    info: dict[bytes, Value] = {
        b"name": b"n",
        b"piece length": 1 << 14,
        b"meta version": 2,
        b"file tree": tree,
    }
    return bencode.encode(
        {b"info": info, **{key.replace("_", " ").encode(): value for key, value in outer.items()}}
    )


def test_piece_layers_must_lead_to_their_roots() -> None:
    """BEP 52 has such a torrent invalid: else every honest peer would seem to forge."""
    layer = b"p" * 32 + b"q" * 32
    root = sha256(layer).digest()
    good = Metainfo.parse(v2_torrent(20_000, root, piece_layers={root: layer}))
    assert good.layers == {root: layer}
    for bad in (b"p" * 64, layer[:32], layer + bytes(32)):
        with pytest.raises(MetainfoError, match="piece hashes"):
            Metainfo.parse(v2_torrent(20_000, root, piece_layers={root: bad}))


def test_a_v2_torrent_without_layers_is_refused_and_its_metadata_is_not() -> None:
    layer = b"p" * 32 + b"q" * 32
    root = sha256(layer).digest()
    data = v2_torrent(20_000, root)
    with pytest.raises(MetainfoError, match="magnet"):
        Metainfo.parse(data)
    info = Metainfo.parse(v2_torrent(20_000, root, piece_layers={root: layer})).info
    metainfo = Metainfo.from_info(info)
    assert metainfo.layers_missing == {root: 2}
    assert not metainfo.is_verifiable
    whole = Metainfo.from_info(info, [], {root: layer})
    assert whole.layers_missing == {}
    assert whole.is_verifiable
    assert whole.info_hash_v2 == metainfo.info_hash_v2


def test_files_of_one_piece_need_no_layers() -> None:
    assert Metainfo.parse(v2_torrent(1 << 14)).is_verifiable


def test_more_pieces_than_memory_is_given_to_are_refused_over_all_files() -> None:
    info = bencode.decode(v2_torrent(1_500_000 << 14))
    assert isinstance(info, dict)
    with pytest.raises(MetainfoError, match="pieces"):
        Metainfo.from_info(bencode.encode(info[b"info"]))


def test_names_that_are_no_text_do_no_harm() -> None:
    metainfo = Metainfo.parse(torrent(name=b"\xff\xfe/../..\x00"))
    assert "/" not in metainfo.name
    assert metainfo.files[0].path[0] not in ("", ".", "..")


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_torrent_is_parsed_or_refused(data: st.DataObject) -> None:
    good = bytearray(bencode.encode({b"info": {**SINGLE}, b"announce-list": [[b"http://a/"]]}))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at] = data.draw(st.integers(0, 255))
    try:
        Metainfo.parse(bytes(good))
    except MetainfoError:
        return


def test_the_pieces_of_a_file_are_those_that_have_its_bytes() -> None:
    size = 16_384
    files: list[Value] = [
        {b"length": length, b"path": [b"f%d" % number]}
        for number, length in enumerate((size, 0, size + 1, 5))
    ]
    metainfo = Metainfo.parse(torrent(length=b"absent", files=files, pieces=HASH * 3))
    found = [list(range(3))[metainfo.pieces_of(entry)] for entry in metainfo.files]
    assert found == [[0], [], [1, 2], [2]]
