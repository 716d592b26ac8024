"""ut_metadata: what liars and endless talkers get out of it, and that the honest copy wins."""

from __future__ import annotations

from hashlib import sha1
from random import Random

import pytest

from livestream.errors import MessageDecodeError
from livestream.machine import SECOND, Address
from livestream.swarm.greeting import extension_handshake, read_extension_handshake
from livestream.swarm.metadata import (
    BACKLOG_MAX,
    BLOCK,
    COPIES_BYTES_MAX,
    METADATA_BYTES_MAX,
    MetadataFetch,
    MetadataServe,
)
from livestream.swarm.peer import Peer
from livestream.wire import bencode
from tests.swarm.memory import QuietConnection

INFO = Random(3).randbytes(3 * BLOCK + 100)
HASH = sha1(INFO, usedforsecurity=False).digest()


class SlowConnection(QuietConnection):
    """Takes nothing off our hands."""

    @property
    def backlog_bytes(self) -> int:
        return sum(len(message) for message in self.sent)


def speaker(number: int, size: int | None = None) -> tuple[Peer, SlowConnection]:
    """Return a peer that speaks ut_metadata, and says how long its copy is."""
    connection = SlowConnection(number)
    peer = Peer(connection, b"", 0)
    fields: dict[bytes, bencode.Value] = {} if size is None else {b"metadata_size": size}
    greeting = extension_handshake(["ut_metadata"], Address("192.0.2.9", 1), fields)
    peer.greeting = read_extension_handshake(greeting)
    peer.extensions = peer.greeting.extensions
    return peer, connection


def said(connection: QuietConnection) -> list[tuple[int, int]]:
    """Return (msg_type, piece) of what was sent."""
    found = []
    for message in connection.sent:
        fields, _ = bencode.decode_prefix(message[2:])
        assert isinstance(fields, dict)
        kind, piece = fields[b"msg_type"], fields[b"piece"]
        assert isinstance(kind, int)
        assert isinstance(piece, int)
        found.append((kind, piece))
    return found


def message(kind: int, piece: bencode.Value, block: bytes = b"") -> bytes:
    return bencode.encode({b"msg_type": kind, b"piece": piece}) + block


class Seeker:
    """A search for the metadata, and what came of it."""

    def __init__(self) -> None:
        self.found: list[bytes] = []
        self.liars: list[Peer] = []
        self.fetch = MetadataFetch((HASH, b""), self.found.append, self._on_liar)

    def give(self, peer: Peer, data: bytes, numbers: range) -> None:
        for number in numbers:
            block = data[number * BLOCK : (number + 1) * BLOCK]
            self.fetch.on_message(peer, message(1, number, block), 0)

    def _on_liar(self, peer: Peer, reason: str, now: int) -> None:
        self.liars.append(peer)
        self.fetch.on_gone(peer, now)


def test_a_peer_that_asks_and_does_not_read_is_given_a_megabyte() -> None:
    serve = MetadataServe(bytes(METADATA_BYTES_MAX))
    peer, connection = speaker(1)
    for number in range(1_500):
        serve.on_message(peer, message(0, number), 0)
    assert connection.backlog_bytes < 2 * BACKLOG_MAX
    kinds = [kind for kind, _ in said(connection)]
    assert kinds == sorted(kinds), "data until it is too much, rejects from then on"
    assert kinds.count(1) * BLOCK < BACKLOG_MAX + BLOCK


@pytest.mark.parametrize("piece", [-1, 4, 1 << 63])
def test_a_request_for_what_is_not_there_is_rejected(piece: int) -> None:
    serve = MetadataServe(INFO)
    peer, connection = speaker(1)
    serve.on_message(peer, message(0, piece), 0)
    assert said(connection) == [(2, piece)]


@pytest.mark.parametrize("piece", [b"0", [], {b"a": 1}], ids=["text", "list", "dictionary"])
def test_a_request_that_is_none_is_an_error_of_the_peer(piece: bencode.Value) -> None:
    with pytest.raises(MessageDecodeError):
        MetadataServe(INFO).on_message(speaker(1)[0], message(0, piece), 0)


@pytest.mark.parametrize("size", [0, -1, METADATA_BYTES_MAX + 1, 1 << 63])
def test_a_size_that_cannot_be_is_not_asked_for(size: int) -> None:
    seeker = Seeker()
    peer, connection = speaker(1, size)
    seeker.fetch.on_ready(peer, 0)
    seeker.give(peer, INFO, range(4))
    assert connection.sent == []
    assert seeker.fetch.held_bytes == 0


def test_data_never_asked_for_is_not_kept() -> None:
    seeker = Seeker()
    peer, _ = speaker(1, METADATA_BYTES_MAX)
    seeker.fetch.on_ready(peer, 0)
    for number in [*range(100, 1_000), -5, 1 << 62]:
        seeker.fetch.on_message(peer, message(1, number, bytes(BLOCK)), 0)
    assert seeker.fetch.held_bytes == 0


def test_many_endless_copies_are_bounded_and_the_honest_one_wins() -> None:
    seeker = Seeker()
    liars = [speaker(number, METADATA_BYTES_MAX)[0] for number in range(1, 6)]
    honest, _ = speaker(9, len(INFO))
    for peer in [*liars, honest]:
        seeker.fetch.on_ready(peer, 0)
    seeker.give(honest, INFO, range(3))
    last = METADATA_BYTES_MAX // BLOCK - 1
    junk = bytes(METADATA_BYTES_MAX)
    for number in range(last):
        for peer in liars:
            seeker.give(peer, junk, range(number, number + 1))
            assert seeker.fetch.held_bytes <= COPIES_BYTES_MAX
    assert not seeker.found
    seeker.give(honest, INFO, range(3, 4))
    assert seeker.found == [INFO]
    assert seeker.fetch.held_bytes == 0
    assert seeker.fetch.get_timer() is None


def test_a_liar_is_named_and_the_next_copy_is_taken() -> None:
    seeker = Seeker()
    liar, honest = speaker(1, len(INFO))[0], speaker(2, len(INFO))[0]
    for peer in (liar, honest):
        seeker.fetch.on_ready(peer, 0)
    seeker.give(liar, bytes(len(INFO)), range(4))
    assert seeker.liars == [liar]
    seeker.give(honest, INFO, range(4))
    assert seeker.found == [INFO]


def test_what_does_not_come_is_asked_for_again() -> None:
    seeker = Seeker()
    peer, connection = speaker(1, len(INFO))
    seeker.fetch.on_ready(peer, 0)
    timer = seeker.fetch.get_timer()
    assert timer is not None
    seeker.fetch.handle_timer(timer)
    assert said(connection) == 2 * [(0, number) for number in range(4)]
    assert (seeker.fetch.get_timer() or 0) > timer
    assert timer < 10 * SECOND
