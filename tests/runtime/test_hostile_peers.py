"""Peers that break every rule: the download completes from the honest seed, byte for byte."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from random import Random

import pytest

from livestream.machine import Address
from livestream.pieces.assembly import BLOCK_BYTES
from livestream.swarm import blockuploads
from livestream.transport.stream import BACKLOG_MAX
from livestream.wire import bencode
from livestream.wire.framing import frame
from livestream.wire.messages import (
    Bitfield,
    Cancel,
    Choke,
    Extended,
    Handshake,
    Have,
    HaveAll,
    HaveNone,
    Interested,
    Message,
    NotInterested,
    Piece,
    Reject,
    Request,
    Unchoke,
)
from tests.runtime.rawpeer import PEER_ID, RawPeer, Scene, play

FLOOD = 100_000
FLOOD_OF_REQUESTS = b"".join(
    frame(Request(0, 0, 1 + number % BLOCK_BYTES).to_bytes()) for number in range(FLOOD)
)


def handshake_to(stage: Scene, **changes: bytes | int) -> bytes:
    """Return a handshake with something wrong."""
    fields = {"info_hash": stage.metainfo.info_hash, "peer_id": PEER_ID, "reserved": 0, **changes}
    return Handshake(**fields).to_bytes()  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 67, 68, 5_000, 300_000])
def test_garbage_instead_of_a_handshake_ends_the_call(tmp_path: Path, size: int) -> None:
    async def act(stage: Scene) -> None:
        peer = await stage.call()
        peer.writer.write(Random(size).randbytes(size))
        if size < 68:
            peer.writer.write_eof()
        await peer.hung_up()
        assert not stage.torrent.swarm.peers
        await stage.finish()

    play(tmp_path, act)


def test_another_swarms_handshake_ends_the_call_on_either_side(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        wrong = handshake_to(stage, info_hash=b"?" * 20)
        caller = await stage.call()
        caller.writer.write(wrong)
        await caller.hung_up()
        called: asyncio.Queue[RawPeer] = asyncio.Queue()
        server = await asyncio.start_server(
            lambda *pair: called.put_nowait(RawPeer(*pair)), "127.0.0.1", 0
        )
        address = Address(*server.sockets[0].getsockname()[:2])
        stage.session.add_candidates(stage.torrent.swarm, [address])
        peer = await asyncio.wait_for(called.get(), 10)
        peer.writer.write(wrong)
        await peer.hung_up()
        server.close()
        assert stage.torrent.swarm.stats.message_errors == 1
        await stage.finish()

    play(tmp_path, act)


def test_a_call_with_our_own_peer_id_is_a_call_from_ourselves(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        peer = await stage.call()
        await peer.greet(stage.metainfo.info_hash, stage.torrent.swarm.peer_id)
        assert not stage.peers
        peer.say(Interested())
        await peer.hung_up()
        assert not stage.torrent.swarm.peers
        await stage.finish()

    play(tmp_path, act)


def test_our_own_address_is_called_once_and_forgotten(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        swarm = stage.torrent.swarm
        stage.session.add_candidates(swarm, [stage.address])
        await stage.until(lambda: not len(swarm.candidates))
        await stage.until(lambda: not swarm.peers)
        await stage.finish()

    play(tmp_path, act)


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff\xff\xff\xff",
        struct.pack("!IB", 1 << 30, 7),
        frame(Have(31).to_bytes()),
        frame(Have(0xFFFFFFFF).to_bytes()),
        frame(Bitfield(b"").to_bytes()),
        frame(Bitfield(bytes(5)).to_bytes()),
        frame(Bitfield(b"\xff" * 4).to_bytes()),
        frame(HaveAll().to_bytes()) * 2,
        frame(Request(31, 0, BLOCK_BYTES).to_bytes()),
        frame(Request(0, 0, 0).to_bytes()),
        frame(Request(0, 0xFFFFFFFF, 0xFFFFFFFF).to_bytes()),
        frame(Request(0, BLOCK_BYTES, 2 * BLOCK_BYTES).to_bytes()),
        frame(b"\x04"),
        frame(b"\x00\x00"),
        frame(b"\x14"),
        frame(b"\x14\x00garbage"),
        frame(b"\x14\x00" + b"l" * 100_000),
        frame(Extended(0, bencode.encode({b"m": {b"%d" % n: 1 for n in range(65)}})).to_bytes()),
    ],
)  # fmt: skip
def test_a_message_that_cannot_be_ends_the_connection(tmp_path: Path, bad: bytes) -> None:
    async def act(stage: Scene) -> None:
        peer = await stage.meet()
        peer.writer.write(bad)
        await peer.hung_up()
        assert not stage.torrent.swarm.peers
        await stage.finish()

    play(tmp_path, act)


@pytest.mark.parametrize("seed", range(5))
def test_random_messages_do_no_harm(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)

    async def act(stage: Scene) -> None:
        peers = [await stage.meet(peer_id=b"%020d" % n) for n in range(10)]
        for peer in peers:
            for _ in range(50):
                body = bytes((rng.randrange(24),)) + rng.randbytes(rng.choice([0, 4, 12, 30]))
                peer.writer.write(frame(body))
        await stage.finish()

    play(tmp_path, act)


def test_a_hundred_thousand_requests_without_reading_fill_no_memory(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        peer = await stage.meet(Interested())
        await stage.until(lambda: stage.peers)
        (known,) = stage.peers
        flood = FLOOD_OF_REQUESTS
        for _ in range(12):
            peer.writer.write(flood)
            assert known.connection.backlog_bytes <= BACKLOG_MAX + blockuploads.BACKLOG_MAX
        await stage.finish()
        assert known.connection.backlog_bytes <= BACKLOG_MAX + blockuploads.BACKLOG_MAX
        await stage.until(lambda: not stage.peers)
        await peer.hung_up()

    play(tmp_path, act)


def test_a_leechers_flood_of_requests_is_bounded_too(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        await stage.finish()
        peer = await stage.meet(Interested())
        await stage.until(lambda: any(not known.is_choked for known in stage.peers))
        (known,) = stage.peers
        peer.writer.write(FLOOD_OF_REQUESTS)
        most = 0
        for _ in range(100):
            await asyncio.sleep(0.005)
            most = max(most, len(known.asked_of_us))
        assert 0 < most <= 2_000
        assert known.connection.backlog_bytes <= BACKLOG_MAX + blockuploads.BACKLOG_MAX

    play(tmp_path, act)


@pytest.mark.parametrize(
    "said",
    [
        (Have(3),),
        (Interested(), NotInterested()),
        (Unchoke(), Choke()),
        (Cancel(0, 0, BLOCK_BYTES),),
        (Reject(0, 0, BLOCK_BYTES),),
        (Piece(1, 0, b"never asked for"),),
        (Extended(9, b"an extension that nobody speaks"),),
    ],
    ids=lambda said: type(said[0]).__name__,
)
def test_endless_repetition_leaves_nothing_behind(
    tmp_path: Path, said: tuple[Message, ...]
) -> None:
    async def act(stage: Scene) -> None:
        peer = await stage.meet(HaveNone())
        peer.say(*said * (FLOOD // 5))
        await stage.finish()
        swarm = stage.torrent.swarm
        assert len(swarm.candidates) <= 1
        assert swarm.requests.begun_count == 0
        for known in stage.peers:
            assert not known.owed
            assert known.connection.backlog_bytes <= BACKLOG_MAX

    play(tmp_path, act)


def test_one_author_of_a_forged_piece_is_banned_and_nobody_else(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        peer = await stage.meet(HaveAll(), Unchoke())
        while True:
            try:
                (request,) = await peer.hear_requests(1)
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            peer.say(Piece(request.index, request.begin, bytes(request.length)))
        stats = stage.torrent.swarm.stats
        assert stats.pieces_rejected
        assert not stage.peers
        await stage.meet(HaveNone(), peer_id=b"-XX0000-honest__peer")
        await stage.until(lambda: stage.peers)
        await stage.finish()

    play(tmp_path, act)


def test_of_two_authors_the_one_who_forged_is_found(tmp_path: Path) -> None:
    """Both give one block of the same piece; the honest seed's copy tells who lied."""

    async def act(stage: Scene) -> None:
        piece = Bitfield(b"\x80\x00\x00\x00")
        liar = await stage.meet(piece, Unchoke(), peer_id=b"-XX0000-a-liar______")
        asked = await liar.hear_requests(2)
        partner = await stage.meet(piece, Unchoke(), peer_id=b"-XX0000-a-partner___")
        await stage.until(lambda: len(stage.peers) == 2)
        liar.say(Choke(), Reject(asked[0].index, asked[0].begin, asked[0].length))
        (request,) = await partner.hear_requests(1)
        liar.say(Piece(asked[1].index, asked[1].begin, bytes(BLOCK_BYTES)))
        partner.say(Piece(request.index, request.begin, stage.block(request)))
        await stage.until(lambda: stage.torrent.swarm.stats.pieces_rejected == 1)
        partner.say(Choke())
        assert len(stage.peers) == 2, "it is not known yet who it was"
        await stage.finish()
        await liar.hung_up()
        names = {known.peer_id for known in stage.peers}
        assert b"-XX0000-a-partner___" in names

    play(tmp_path, act)


@pytest.mark.parametrize("answer", ["silence", "odd", "short", "long", "elsewhere"])
def test_useless_answers_do_not_hold_the_download_up(tmp_path: Path, answer: str) -> None:
    """Several such peers take the same blocks; the honest seed is asked for all of them."""

    async def act(stage: Scene) -> None:
        for number in range(4):
            peer = await stage.meet(HaveAll(), Unchoke(), peer_id=b"%020d" % number)
            for request in await peer.hear_requests(4):
                index, begin, data = request.index, request.begin, stage.block(request)
                if answer == "odd":
                    peer.say(Piece(index, begin + 1, data))
                elif answer == "short":
                    peer.say(Piece(index, begin, data[:-1]))
                elif answer == "long":
                    peer.say(Piece(index, begin, data + b"x"))
                elif answer == "elsewhere":
                    peer.say(Piece(index ^ 1, begin, data))
        await stage.finish()
        # A block of another piece may be one that it was asked for, too, and is forged then.
        assert answer == "elsewhere" or not stage.torrent.swarm.stats.pieces_rejected

    play(tmp_path, act)


def test_five_hundred_calls_leave_room_for_the_seed(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        for _ in range(250):
            await stage.call()
        for number in range(250):
            peer = await stage.call()
            peer.writer.write(handshake_to(stage, peer_id=b"%020d" % number))
        swarm = stage.torrent.swarm
        await stage.finish()
        assert len(swarm.peers) <= 200
        assert len(swarm.candidates) <= 1, "whoever calls us need not listen there"

    play(tmp_path, act)


def test_greeted_peers_that_only_sit_there_do_not_keep_us_from_calling(tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        for number in range(110):
            await stage.meet(HaveNone(), peer_id=b"%020d" % number)
        await stage.until(lambda: len(stage.peers) >= 100)
        await stage.finish()

    play(tmp_path, act)
