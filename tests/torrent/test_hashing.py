"""Merkle trees of BEP 52, by hand; and a wrong byte anywhere is found."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from livestream.pieces.merkle import LEAF_BYTES, merkle_root
from livestream.pieces.verifier import Verdict
from livestream.runtime.files import FileSet
from livestream.torrent.create import Version, best_piece_length
from livestream.torrent.hashing import HashVerifier, leaf_hashes, tree_root
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import make_data, make_torrent


def pair(left: bytes, right: bytes) -> bytes:
    return sha256(left + right).digest()


def test_a_root_is_padded_with_zero_leaves() -> None:
    data = bytes(LEAF_BYTES) + b"a" * LEAF_BYTES + b"b"
    a, b, c = leaf_hashes(data)
    assert c == sha256(b"b").digest()
    assert merkle_root([a], 1) == a
    assert merkle_root([a, b], 2) == pair(a, b)
    assert merkle_root([a, b, c], 4) == pair(pair(a, b), pair(c, bytes(32)))
    zeros = pair(bytes(32), bytes(32))
    assert merkle_root([a], 4) == pair(pair(a, bytes(32)), zeros)


@pytest.mark.parametrize("version", list(Version))
def test_a_wrong_byte_in_any_piece_is_found(tmp_path: Path, version: Version) -> None:
    shared = make_data(tmp_path / "seed")
    metainfo = Metainfo.parse(make_torrent(shared, version))
    verifier = HashVerifier(metainfo)
    files = FileSet(metainfo, shared.parent, frozenset(range(len(metainfo.files))))
    files.open()
    for index in range(metainfo.piece_count):
        data = files.read(index * metainfo.piece_length, metainfo.piece_size(index))
        assert data is not None
        assert verifier.verify(index, data) is Verdict.GENUINE
        data[0] ^= 1
        assert verifier.verify(index, data) is Verdict.FORGED
    files.close()


def test_many_small_files_get_small_pieces_where_padding_separates_them() -> None:
    lengths = [4_000] * 10_000 + [4 << 30]
    assert best_piece_length(lengths, Version.V1) == 4 << 20
    hybrid = best_piece_length(lengths, Version.HYBRID)
    assert hybrid < 1 << 20
    assert best_piece_length([4 << 30], Version.HYBRID) == 4 << 20


@pytest.mark.parametrize("leaves", [1, 2, 8, 64])
@pytest.mark.parametrize("missing", [0, 1, LEAF_BYTES])
def test_a_tree_made_as_it_grows_has_the_root_of_the_whole(leaves: int, missing: int) -> None:
    data = Random(leaves).randbytes(leaves * LEAF_BYTES - missing)
    assert tree_root(memoryview(data), leaves) == merkle_root(leaf_hashes(data), leaves)
