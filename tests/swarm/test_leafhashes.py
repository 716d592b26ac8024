"""Hashes of blocks for peers: they lead to the file's root, and cost no more than they may."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.machine import SECOND
from livestream.pieces.merkle import HashLayer, root_of_proof, width_of
from livestream.swarm.hashes import HashServe
from livestream.swarm.leafhashes import LEAVES_PER_SECOND, LeafFile, LeafServe
from livestream.wire.hashes import Hashes, HashReject, HashRequest
from tests.swarm.test_hashes import peer, told

BASE = 3  # Pieces of eight blocks.
PIECE = 1 << BASE
FIRST = 5  # The first piece of the file.


class Tree:
    """A file of so many blocks, and the server of whoever has it."""

    def __init__(self, count: int, base: int = BASE) -> None:
        self.count = count
        self.hashes = Random(count).randbytes(32 * count)
        whole = HashLayer(self.hashes, 0)
        self.root = whole.root
        self.asked: list[int] = []
        pieces = -(-count // (1 << base))
        nodes = [whole.node(base, each) for each in range(pieces)] if pieces > 1 else []
        layers = {self.root: b"".join(nodes)} if nodes else {}
        self.server = HashServe(layers, base)
        files = {self.root: LeafFile(FIRST, count)}
        self.server.leaves = LeafServe(files, base, self.asked.append)
        self._base = base

    def hash_piece(self) -> None:
        """Do what the disk does: hash the piece that was asked for."""
        index = self.asked.pop()
        at = (index - FIRST) << self._base
        found = [self.hashes[32 * each : 32 * each + 32] for each in range(self.count)]
        assert self.server.leaves is not None
        self.server.leaves.on_leaves(index, found[at : at + (1 << self._base)])


@pytest.mark.parametrize("count", [2, 7, 8, 9, 100, 1_000])
def test_the_blocks_of_any_piece_are_proved_up_to_the_root(count: int) -> None:
    levels = width_of(count).bit_length() - 1
    width = min(PIECE, 1 << levels)
    for length in (width, 2):
        for index in range(0, count, width):
            tree, asker = Tree(count), peer()
            request = HashRequest(tree.root, 0, index, length, levels - 1)
            tree.server.on_request(asker, request, 0)
            assert tree.asked == [FIRST + index // PIECE]
            assert told(asker) == []
            tree.hash_piece()
            (message,) = told(asker)
            assert isinstance(message, Hashes)
            assert message.request == request
            found = [message.hashes[at : at + 32] for at in range(0, len(message.hashes), 32)]
            leaves, uncles = found[:length], found[length:]
            assert len(uncles) == levels - (length.bit_length() - 1)
            assert root_of_proof(leaves, index, uncles) == tree.root


def test_without_proof_there_are_the_leaves_alone() -> None:
    tree, asker = Tree(100), peer()
    tree.server.on_request(asker, HashRequest(tree.root, 0, 16, 8, 0), 0)
    tree.hash_piece()
    (message,) = told(asker)
    assert isinstance(message, Hashes)
    assert message.hashes == tree.hashes[16 * 32 : 24 * 32]


def test_a_piece_that_cannot_be_read_is_refused() -> None:
    tree, asker = Tree(100), peer()
    request = HashRequest(tree.root, 0, 8, 8, 6)
    tree.server.on_request(asker, request, 0)
    assert tree.server.leaves is not None
    tree.server.leaves.on_leaves(tree.asked.pop(), None)
    assert told(asker) == [request.rejection]


def test_one_piece_at_a_time_is_hashed_and_whoever_asks_meanwhile_is_refused() -> None:
    tree, first, second = Tree(100), peer(1), peer(2)
    request = HashRequest(tree.root, 0, 8, 8, 6)
    tree.server.on_request(first, request, 0)
    tree.server.on_request(second, request, 0)
    assert told(second) == [request.rejection]
    assert len(tree.asked) == 1
    tree.hash_piece()
    assert isinstance(told(first)[0], Hashes)
    tree.server.on_request(second, request, 0)
    assert len(tree.asked) == 1


def test_a_flood_has_only_so_much_hashed_a_second() -> None:
    tree = Tree(100)
    hashed = 0
    for number in range(2 * LEAVES_PER_SECOND // PIECE):
        asker = peer(number % 250)
        tree.server.on_request(asker, HashRequest(tree.root, 0, 8, 8, 6), SECOND)
        if tree.asked:
            hashed += PIECE
            tree.hash_piece()
    assert LEAVES_PER_SECOND <= hashed <= LEAVES_PER_SECOND + PIECE


@pytest.mark.parametrize(
    ("index", "length", "proof_layers"),
    [(0, 16, 0), (0, 0, 0), (4, 8, 0), (104, 8, 0), (1 << 31, 8, 0), (0, 8, 7), (0, 2**32 - 1, 0)],
)
def test_what_is_of_no_single_piece_or_cannot_be_is_refused(
    index: int, length: int, proof_layers: int
) -> None:
    tree, asker = Tree(100), peer()
    request = HashRequest(tree.root, 0, index, length, proof_layers)
    tree.server.on_request(asker, request, 0)
    assert tree.asked == []
    assert told(asker) == [request.rejection]


def test_pieces_that_cost_too_much_are_refused() -> None:
    tree, asker = Tree(5_000, base=11), peer()
    request = HashRequest(tree.root, 0, 0, 512, 12)
    tree.server.on_request(asker, request, 0)
    assert told(asker) == [request.rejection]


@given(*[st.integers(0, 140)] * 3, st.integers(0, 9))
def test_whatever_is_asked_gets_one_answer(
    count: int, index: int, length: int, proof_layers: int
) -> None:
    tree, asker = Tree(count + 2), peer()
    tree.server.on_request(asker, HashRequest(tree.root, 0, index, length, proof_layers), 0)
    if tree.asked:
        tree.hash_piece()
    (message,) = told(asker)
    assert isinstance(message, (Hashes, HashReject))
