"""Merkle trees and proofs: what belongs below a root is accepted, and nothing else."""

from __future__ import annotations

from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.pieces.merkle import HashLayer, merkle_root, padding_hash, root_of_proof, width_of


def layer(count: int, base: int = 0) -> HashLayer:
    return HashLayer(Random(count).randbytes(32 * count), base)


def test_padding_is_zeros_at_the_leaves_and_their_hash_above() -> None:
    assert padding_hash(0) == bytes(32)
    assert padding_hash(1) == sha256(bytes(64)).digest()
    assert padding_hash(2) == sha256(2 * padding_hash(1)).digest()


@pytest.mark.parametrize(
    ("count", "width"), [(0, 1), (1, 1), (2, 2), (3, 4), (512, 512), (513, 1024)]
)
def test_the_width_is_the_next_power_of_two(count: int, width: int) -> None:
    assert width_of(count) == width


@pytest.mark.parametrize("count", [2, 3, 511, 512, 513, 1024, 1025, 2600])
@pytest.mark.parametrize("base", [0, 3])
def test_the_root_is_that_of_the_whole_tree_kept_nodes_or_not(count: int, base: int) -> None:
    tree = layer(count, base)
    expected = merkle_root(tree.part(0, count), width_of(count), padding_hash(base))
    assert tree.root == expected
    assert tree.root == expected, "from the nodes that were kept"


@given(st.data())
def test_every_part_is_proved_and_no_other_hash_is(data: st.DataObject) -> None:
    tree = layer(data.draw(st.integers(2, 1_300)), base=2)
    level = data.draw(st.integers(0, min(9, tree.levels)))
    position = data.draw(st.integers(0, (1 << (tree.levels - level)) - 1))
    part = tree.part(position << level, 1 << level)
    uncles = tree.uncles(level, position, tree.levels - 1)
    assert len(uncles) == tree.levels - level
    assert root_of_proof(part, position << level, uncles) == tree.root
    spoiled = data.draw(st.integers(0, len(part) - 1))
    part[spoiled] = b"x" * 32
    assert root_of_proof(part, position << level, uncles) != tree.root


def test_a_part_is_not_proved_at_another_place() -> None:
    tree = layer(1024)
    uncles = tree.uncles(8, 1, tree.levels - 1)
    assert root_of_proof(tree.part(256, 256), 256, uncles) == tree.root
    assert root_of_proof(tree.part(256, 256), 512, uncles) != tree.root
