"""A call on a peer: what it learns from good ones, and from bad ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.machine import SECOND, Address
from livestream.swarm.visit import VISIT_US, Visit, client_of
from livestream.wire import bencode
from livestream.wire.messages import (
    EXTENDED_BIT,
    FAST_BIT,
    HANDSHAKE_SIZE,
    Bitfield,
    Extended,
    Handshake,
    Have,
    HaveAll,
    HaveNone,
    Message,
)

HASH = bytes(20)
OURS = Handshake(HASH, b"-LS0100-" + bytes(12))
PEER = Address("192.0.2.1", 6881)
PLAIN = Handshake(HASH, b"-TR4060-" + bytes(12), 0)
MODERN = Handshake(HASH, b"-qB5010-" + bytes(12), EXTENDED_BIT | FAST_BIT)


def framed(*messages: Message) -> bytes:
    bodies = [message.to_bytes() for message in messages]
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def named(name: str) -> Extended:
    return Extended(0, bencode.encode({b"m": {}, b"v": name.encode()}))


def call(data: bytes, piece_count: int | None = 10) -> Visit:
    visit = Visit(PEER, OURS, piece_count, 0)
    visit.connected(0)
    assert visit.data_to_send(0)[:HANDSHAKE_SIZE] == OURS.to_bytes()
    visit.receive_data(data, 0)
    return visit


@pytest.mark.parametrize(
    ("message", "share"),
    [
        (Bitfield(b"\xff\xc0"), 1.0),
        (Bitfield(b"\xf8\x00"), 0.5),
        (HaveAll(), 1.0),
        (HaveNone(), 0.0),
        (Have(3), 0.1),
    ],
)
def test_a_peers_share_is_learned_however_it_says_it(message: Message, share: float) -> None:
    visit = call(PLAIN.to_bytes() + framed(message))
    assert visit.is_over
    assert visit.report.share == share
    assert visit.report.client == "Transmission 4.0.6"


def test_who_says_its_name_is_called_by_it() -> None:
    visit = call(MODERN.to_bytes() + framed(HaveAll()))
    was_over = visit.is_over
    assert visit.data_to_send(0)[4:6] == b"\x14\x00"
    visit.receive_data(framed(named("qBittorrent/5.1\x1b[2J")), 0)
    assert [was_over, visit.is_over] == [False, True]
    assert visit.report.client == "qBittorrent/5.1[2J"


def test_a_magnet_does_not_say_how_many_pieces_and_the_bitfield_does_nearly() -> None:
    for bits, share in ((b"\xff\xc0", 1.0), (b"\xf0\x00", 0.25), (b"\x00\x00", 0.0)):
        assert call(PLAIN.to_bytes() + framed(Bitfield(bits)), None).report.share == share


def test_a_peer_that_never_speaks_of_pieces_is_left_after_five_seconds() -> None:
    visit = call(PLAIN.to_bytes())
    visit.handle_timer(VISIT_US - 1)
    before = visit.is_over
    visit.handle_timer(VISIT_US)
    assert [before, visit.is_over] == [False, True]
    assert VISIT_US == 5 * SECOND
    assert visit.report.share is None
    assert visit.report.failure == ""


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n" * 5,
        Handshake(bytes(19) + b"x", bytes(20)).to_bytes(),
    ],
)
def test_what_is_no_peer_of_the_torrent_is_said(data: bytes) -> None:
    visit = call(data)
    assert visit.is_over
    assert visit.report.failure


@pytest.mark.parametrize("message", [Bitfield(bytes(3)), Have(10), Have(1 << 31)])
def test_pieces_that_there_are_not_end_the_call(message: Message) -> None:
    visit = call(PLAIN.to_bytes() + framed(message))
    assert visit.is_over
    assert visit.report.share is None


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(data: bytes) -> None:
    for count in (None, 10):
        for start in (b"", MODERN.to_bytes()):
            report = call(start + data, count).report
            assert report.share is None or 0 <= report.share <= 1


@pytest.mark.parametrize(
    ("peer_id", "client"),
    [
        (b"-LT20B0-", "libtorrent 2.0.B"),
        (b"-XX1234-", "XX 1.2.3.4"),
        (b"A2-1-37-0-", "aria2 1.37.0"),
        (b"M7-9-2--", ""),
        (b"\xff" * 8, ""),
    ],
)
def test_clients_are_known_by_their_peer_ids(peer_id: bytes, client: str) -> None:
    assert client_of(peer_id.ljust(20, b"\x00")) == client
