"""Piece layers between peers: served within bounds, fetched from many, and no liar is believed."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import ProtocolError
from livestream.machine import SECOND
from livestream.pieces.merkle import HashLayer, root_of_proof
from livestream.swarm.hashes import AHEAD, PART_LENGTH, REQUESTS_TAKEN, HashFetch, HashServe
from livestream.swarm.peer import Peer, PeerState
from livestream.wire import messages
from livestream.wire.hashes import Hashes, HashReject, HashRequest
from tests.swarm.memory import QuietConnection

BASE = 1


def layers(*counts: int) -> dict[bytes, bytes]:
    """Return layers of so many hashes, by their roots."""
    made = [Random(count).randbytes(32 * count) for count in counts]
    return {HashLayer(layer, BASE).root: layer for layer in made}


class Reader(QuietConnection):
    """Reads what it is sent, or lets it pile up."""

    backlog = 0

    @property
    def backlog_bytes(self) -> int:
        return self.backlog


def peer(number: int = 1) -> Peer:
    made = Peer(Reader(number), b"", 0)
    made.move(PeerState.READY)
    return made


def told(to: Peer) -> list[messages.Message | None]:
    """Return what a peer was sent since the last call."""
    assert isinstance(to.connection, Reader)
    sent, to.connection.sent = to.connection.sent, []
    return [messages.parse(data) for data in sent]


def answer(server: HashServe, request: HashRequest, now: int = 0) -> messages.Message | None:
    asker = peer()
    server.on_request(asker, request, now)
    (message,) = told(asker)
    return message


@pytest.mark.parametrize("length", [2, 8, 512])
def test_an_answer_has_the_hashes_and_the_uncles_up_to_the_layer_asked_for(length: int) -> None:
    known = layers(700)
    (root, layer), *_ = known.items()
    request = HashRequest(root, BASE, 0, length, 9)
    message = answer(HashServe(known, BASE), request)
    assert isinstance(message, Hashes)
    assert message.request == request
    found = [message.hashes[at : at + 32] for at in range(0, len(message.hashes), 32)]
    assert b"".join(found[:length]) == layer[: 32 * length]
    assert root_of_proof(found[:length], 0, found[length:]) == root
    without = answer(HashServe(known, BASE), HashRequest(root, BASE, 0, length, 0))
    assert isinstance(without, Hashes)
    assert len(without.hashes) == 32 * length


def test_uncles_that_the_hashes_imply_are_omitted_as_in_bep_52() -> None:
    (root,) = known = layers(64)
    server = HashServe(known, BASE)
    lengths = []
    for proof_layers in range(6):
        message = answer(server, HashRequest(root, BASE, 0, 8, proof_layers))
        assert isinstance(message, Hashes)
        lengths.append(len(message.hashes) // 32 - 8)
    assert lengths == [0, 0, 0, 1, 2, 3], "the first log2(length) - 1 layers are omitted"


def test_a_single_last_hash_is_proved_from_its_sibling_on() -> None:
    """Libtorrent asks so for the last of 513 pieces."""
    (root,) = known = layers(513)
    message = answer(HashServe(known, BASE), HashRequest(root, BASE, 512, 1, 9))
    assert isinstance(message, Hashes)
    found = [message.hashes[at : at + 32] for at in range(0, len(message.hashes), 32)]
    assert root_of_proof(found[:1], 512, found[1:]) == root


@pytest.mark.parametrize(
    ("base", "index", "length", "proof_layers"),
    [
        (BASE + 1, 0, 2, 0),
        (0, 0, 2, 0),
        (BASE, 0, 0, 0),
        (BASE, 0, PART_LENGTH + 1, 0),
        (BASE, 0, 0xFFFFFFFF, 0),
        (BASE, 1, 2, 0),
        (BASE, 1024, 2, 0),
        (BASE, 0xFFFFFE00, 512, 0),
        (BASE, 0, 2, 10),
        (BASE, 0, 2, 0xFFFFFFFF),
    ],
)
def test_what_cannot_be_is_rejected(base: int, index: int, length: int, proof_layers: int) -> None:
    (root,) = known = layers(700)
    request = HashRequest(root, base, index, length, proof_layers)
    assert answer(HashServe(known, BASE), request) == request.rejection


def test_an_unknown_file_is_rejected() -> None:
    request = HashRequest(b"r" * 32, BASE, 0, 2, 0)
    assert answer(HashServe(layers(2), BASE), request) == request.rejection


@given(st.integers(2, 600), *[st.integers(0, 1200)] * 3)
def test_whatever_is_asked_gets_one_answer(
    count: int, index: int, length: int, proof_layers: int
) -> None:
    (root,) = known = layers(count)
    message = answer(HashServe(known, BASE), HashRequest(root, BASE, index, length, proof_layers))
    assert isinstance(message, (Hashes, HashReject))


def test_a_flood_is_answered_at_a_bounded_rate_and_in_the_end_wholly() -> None:
    (root,) = known = layers(700)
    server, asker = HashServe(known, BASE), peer()
    request = HashRequest(root, BASE, 0, 512, 9)
    for _ in range(REQUESTS_TAKEN):
        server.on_request(asker, request, 0)
    at_once = len(told(asker))
    assert 64 <= at_once < 200
    server.serve(asker, SECOND // 10)
    assert len(told(asker)) <= 14, "a tenth of a second's worth"
    server.serve(asker, 10 * SECOND)
    server.serve(asker, 20 * SECOND)
    rest = told(asker)
    assert rest
    assert all(isinstance(message, Hashes) for message in rest)


def test_requests_beyond_what_may_wait_are_rejected() -> None:
    (root,) = known = layers(700)
    server, asker = HashServe(known, BASE), peer()
    request = HashRequest(root, BASE, 0, 512, 9)
    for _ in range(3 * REQUESTS_TAKEN):
        server.on_request(asker, request, 0)
    answers = told(asker)
    assert sum(isinstance(message, HashReject) for message in answers) >= REQUESTS_TAKEN
    assert sum(isinstance(message, Hashes) for message in answers) < 200


def test_a_peer_that_reads_no_answers_waits_and_then_is_dropped() -> None:
    (root,) = known = layers(700)
    server, asker = HashServe(known, BASE), peer()
    assert isinstance(asker.connection, Reader)
    asker.connection.backlog = 2 << 20
    request = HashRequest(root, BASE, 0, 512, 9)
    server.on_request(asker, request, 0)
    assert told(asker) == []
    asker.connection.backlog = 0
    server.serve(asker, SECOND)
    assert len(told(asker)) == 1
    asker.connection.backlog = 100 << 20
    with pytest.raises(ProtocolError):
        server.on_request(asker, request, SECOND)


class Desk:
    """A fetch, and what came of it."""

    def __init__(self, *counts: int) -> None:
        self.known = layers(*counts)
        self.server = HashServe(self.known, BASE)
        self.found: list[dict[bytes, bytes]] = []
        self.banned: list[Peer] = []
        wanted = {root: len(layer) // 32 for root, layer in self.known.items()}
        self.fetch = HashFetch(wanted, BASE, self.found.append, self._ban)

    def serve(self, source: Peer, now: int, spoil: int | None = None) -> int:
        """Answer what a peer was asked; returns how many requests that were."""
        asked = told(source)
        for request in asked:
            assert isinstance(request, HashRequest)
            message = answer(self.server, request)
            assert isinstance(message, Hashes)
            if spoil is not None:
                data = bytearray(message.hashes)
                data[spoil] ^= 1
                message = Hashes(request, bytes(data))
            self.fetch.on_hashes(source, message, now)
        return len(asked)

    def _ban(self, liar: Peer, reason: str, now: int) -> None:
        self.banned.append(liar)
        self.fetch.on_gone(liar)


def asked_of(source: Peer) -> list[HashRequest]:
    found = told(source)
    assert all(isinstance(message, HashRequest) for message in found)
    return [message for message in found if isinstance(message, HashRequest)]


@pytest.mark.parametrize("counts", [(2,), (3,), (512,), (513,), (700,), (5, 2, 2600)])
def test_layers_of_any_length_come_back_as_they_were(counts: tuple[int, ...]) -> None:
    desk, source = Desk(*counts), peer()
    desk.fetch.ask(source, 0)
    while desk.serve(source, 0):
        pass
    assert desk.found == [desk.known]
    assert desk.banned == []


def test_parts_are_spread_over_the_peers() -> None:
    desk, sources = Desk(2600), [peer(number) for number in range(3)]
    for source in sources:
        desk.fetch.ask(source, 0)
    asked = [asked_of(source) for source in sources]
    assert [len(parts) for parts in asked] == [AHEAD, 2, 0]
    assert len({part for parts in asked for part in parts}) == 6


@pytest.mark.parametrize("spoil", [0, 511 * 32, 512 * 32, -1])
def test_who_sends_hashes_that_prove_nothing_is_banned_and_others_are_asked(spoil: int) -> None:
    desk, liar, honest = Desk(700), peer(1), peer(2)
    desk.fetch.ask(liar, 0)
    request = asked_of(liar)[0]
    good = answer(desk.server, request)
    assert isinstance(good, Hashes)
    data = bytearray(good.hashes)
    data[spoil] ^= 1
    desk.fetch.on_hashes(liar, Hashes(request, bytes(data)), 0)
    assert desk.banned == [liar]
    desk.fetch.ask(honest, 0)
    while desk.serve(honest, 0):
        pass
    assert desk.found == [desk.known]


@pytest.mark.parametrize("size", [0, 32, 512 * 32, 514 * 32])
def test_an_answer_with_too_few_or_too_many_hashes_is_a_lie(size: int) -> None:
    desk, liar = Desk(700), peer()
    desk.fetch.ask(liar, 0)
    desk.fetch.on_hashes(liar, Hashes(asked_of(liar)[0], bytes(size)), 0)
    assert desk.banned == [liar]


def test_hashes_that_nobody_asked_for_are_ignored() -> None:
    desk, source, stranger = Desk(2), peer(1), peer(2)
    desk.fetch.ask(source, 0)
    (request,) = asked_of(source)
    message = answer(desk.server, request)
    assert isinstance(message, Hashes)
    desk.fetch.on_hashes(stranger, message, 0)
    assert desk.found == []
    desk.fetch.on_hashes(source, message, 0)
    desk.fetch.on_hashes(source, message, 0)
    assert desk.found == [desk.known], "once"


def test_a_rejected_part_is_asked_of_another_at_once_and_of_the_same_only_later() -> None:
    desk, first, second = Desk(2), peer(1), peer(2)
    desk.fetch.ask(first, 0)
    (request,) = asked_of(first)
    desk.fetch.on_reject(first, request.rejection, 0)
    desk.fetch.ask(first, SECOND)
    assert asked_of(first) == []
    desk.fetch.ask(second, SECOND)
    assert asked_of(second) == [request]
    desk.fetch.on_reject(second, request.rejection, SECOND)
    desk.fetch.ask(first, 3 * SECOND)
    assert asked_of(first) == [request]


def test_a_part_that_does_not_come_is_asked_of_another() -> None:
    desk, silent, other = Desk(2), peer(1), peer(2)
    desk.fetch.ask(silent, 0)
    (request,) = asked_of(silent)
    desk.fetch.ask(other, 10 * SECOND)
    assert asked_of(other) == []
    desk.fetch.ask(silent, 16 * SECOND)
    desk.fetch.ask(other, 16 * SECOND)
    assert (asked_of(silent), asked_of(other)) == ([], [request])


def test_what_a_peer_owes_when_it_leaves_is_for_others() -> None:
    desk, leaver, heir = Desk(700), peer(1), peer(2)
    desk.fetch.ask(leaver, 0)
    asked = asked_of(leaver)
    desk.fetch.on_gone(leaver)
    desk.fetch.ask(heir, 0)
    assert asked_of(heir) == asked
