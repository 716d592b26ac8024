"""A block swarm and single messages: who is served, who is dropped, and what we answer."""

from __future__ import annotations

from random import Random

import pytest

from livestream.config import SwarmConfig, Transport
from livestream.machine import SECOND, Address
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.blocks import BlockSeams, BlockSwarm
from livestream.swarm.donthave import LOSSES_MAX
from livestream.swarm.fastset import allowed_fast_set
from livestream.swarm.greeting import extension_handshake, read_extension_handshake
from livestream.swarm.peer import PeerState
from livestream.swarm.pex import PeerExchange
from livestream.swarm.priority import peer_priority
from livestream.swarm.swarm import PeerBanned
from livestream.swarm.turnover import INTERVAL_US, TRIAL_US
from livestream.torrent.choker import TitForTat
from livestream.torrent.picker import RarestFirst
from livestream.transport.connection import BlocksReceived
from livestream.wire import bencode
from livestream.wire.bencode import Value
from livestream.wire.messages import (
    AllowedFast,
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
    Reject,
    Request,
    Suggest,
    Unchoke,
    parse,
)
from tests.swarm.memory import BLOCKS, PIECE_BYTES, MemoryStore, QuietConnection

COUNT = 40
INFO_HASH = b"h" * 20
BLOCK = PIECE_BYTES // BLOCKS
NAMES = ("lt_donthave", "upload_only", "ut_pex")


class Stage:
    """One swarm of ours, and peers whose words the test chooses."""

    def __init__(self, *, slots: int = 8, has_all: bool = True, peers_max: int = 60) -> None:
        rng = Random(1)
        self.store = MemoryStore(COUNT)
        self.picker = RarestFirst(COUNT, rng)
        if has_all:
            self.store.held.fill()
            for index in range(COUNT):
                self.picker.close(index)
        seams = BlockSeams(self.store, self.picker, TitForTat(rng, slots=slots))
        config = SwarmConfig(peers_max=peers_max, silence_max_us=10_000 * SECOND)
        self.swarm = BlockSwarm(INFO_HASH, b"o" * 32, seams, config, rng)
        self.now = 0

    def meet(self, number: int, *said: Message, host: str | None = None) -> BlockPeer:
        connection = QuietConnection(number)
        connection.is_outgoing = False
        connection.address = Address(host or f"192.0.{number}.1", 6881)
        handshake = Handshake(INFO_HASH, b"%020d" % number)
        peer = self.swarm.admit(connection, b"", handshake, self.now)
        assert isinstance(peer, BlockPeer)
        self.say(peer, *said)
        return peer

    def call(self, number: int, *said: Message) -> tuple[BlockPeer, QuietConnection]:
        """Return a peer whom we called over µTP."""
        connection = QuietConnection(number, Transport.UTP)
        self.swarm.on_answered(connection.address, Transport.UTP, self.now)
        peer = self.swarm.greet(connection, b"", self.now)
        assert isinstance(peer, BlockPeer)
        hello = Handshake(INFO_HASH, b"%020d" % number)
        self.swarm.receive_message(peer, hello.to_bytes(), self.now)
        self.say(peer, *said)
        return peer, connection

    def greet(self, peer: BlockPeer, **fields: Value) -> None:
        known = {name.encode(): value for name, value in fields.items()}
        payload = extension_handshake(NAMES, Address("203.0.113.5", 1), known)
        self.say(peer, Extended(0, payload))

    def say(self, peer: BlockPeer, *said: Message) -> None:
        for message in said:
            self.swarm.receive_message(peer, message.to_bytes(), self.now)

    def extend(self, peer: BlockPeer, name: str, payload: bytes) -> None:
        names = ["lt_donthave", "upload_only", "ut_pex"]
        self.say(peer, Extended(names.index(name) + 1, payload))

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += SECOND
            self.swarm.handle_timer(self.now)


def heard(peer: BlockPeer, kind: type[Message]) -> list[Message]:
    """Return, of what a peer was sent and not asked for here before, messages of one kind."""
    connection = peer.connection
    assert isinstance(connection, QuietConnection)
    found = [parse(data) for data in connection.sent if data and len(data) != 68]
    return [message for message in found if isinstance(message, kind)]


def forget(peer: BlockPeer) -> None:
    assert isinstance(peer.connection, QuietConnection)
    peer.connection.sent.clear()


def fast_of(peer: BlockPeer) -> list[int]:
    return allowed_fast_set(peer.address.host, INFO_HASH, COUNT, 10)


def crowded() -> tuple[Stage, BlockPeer]:
    """Return a swarm whose only slot is taken, and the peer that is left choked."""
    stage = Stage(slots=1)
    stage.meet(1, HaveNone(), Interested())
    choked = stage.meet(2, HaveNone(), Interested())
    assert choked.is_choked
    return stage, choked


# Requests


def test_a_peer_that_cancels_all_that_it_waits_for_costs_the_others_nothing() -> None:
    stage = Stage()
    one, other = (stage.meet(n, HaveNone(), Interested()) for n in (1, 2))
    for peer in (one, other):
        stage.say(peer, Request(0, 0, BLOCK))
    stage.say(one, Cancel(0, 0, BLOCK))
    assert stage.swarm.next_upload(0)
    assert other.bytes_out == BLOCK
    assert not stage.swarm.next_upload(0)


def test_a_choked_newcomer_is_told_its_allowed_set_and_served_each_byte_of_it_once() -> None:
    stage, peer = crowded()
    assert heard(peer, AllowedFast) == [AllowedFast(index) for index in fast_of(peer)]
    blocks = [Request(fast_of(peer)[0], n * BLOCK, BLOCK) for n in range(BLOCKS)]
    stage.say(peer, *blocks)
    while stage.swarm.next_upload(0):
        pass
    assert peer.bytes_out == PIECE_BYTES
    assert heard(peer, Reject) == []
    stage.say(peer, blocks[0])
    assert len(heard(peer, Reject)) == 1
    outside = next(index for index in range(COUNT) if index not in fast_of(peer))
    stage.say(peer, Request(outside, 0, BLOCK))
    assert len(heard(peer, Reject)) == 2


def test_who_has_pieces_to_trade_is_allowed_none() -> None:
    stage, _ = crowded()
    rich = stage.meet(3, Bitfield(b"\xff\xc0\x00\x00\x00"), Interested())
    assert rich.pieces.held == 10
    assert heard(rich, AllowedFast) == []


def test_who_came_to_have_more_is_allowed_no_more() -> None:
    stage, peer = crowded()
    stage.say(peer, *(Have(index) for index in range(11)))
    stage.say(peer, Request(fast_of(peer)[0], 0, BLOCK))
    assert len(heard(peer, Reject)) == 1


def test_ipv6_has_no_allowed_set() -> None:
    stage, _ = crowded()
    peer = stage.meet(3, HaveNone(), Interested(), host="2001:db8::3")
    assert peer.is_choked
    assert heard(peer, AllowedFast) == []


def test_a_choke_rejects_all_but_the_allowed_set() -> None:
    stage, peer = crowded()
    fast = fast_of(peer)[0]
    slow = next(index for index in range(COUNT) if index not in fast_of(peer))
    stage.swarm.ban(next(iter(stage.swarm.block_peers)), "its slot is free", 0)
    stage.say(peer, Interested())
    assert not peer.is_choked
    stage.say(peer, Request(fast, 0, BLOCK), Request(slow, 0, BLOCK))
    forget(peer)
    rest = [stage.meet(n, HaveNone(), Interested()) for n in range(3, 9)]
    for _ in range(40):
        stage.wait(10)
        peer.bytes_out_turn, peer.bytes_out_round = 1 << 30, 0
        if heard(peer, Choke):
            break
    assert rest
    assert heard(peer, Choke)
    assert heard(peer, Reject) == [Reject(slow, 0, BLOCK)]
    assert list(peer.asked_of_us) == [(fast, 0, BLOCK)]


def test_a_suggestion_is_taken_note_of_by_nobody() -> None:
    stage = Stage(has_all=False)
    peer = stage.meet(1, HaveNone(), Suggest(3), Suggest(0xFFFFFFFF))
    assert peer.state is PeerState.READY
    assert not peer.is_wanted


def test_an_allowed_piece_is_asked_for_whole_while_we_are_choked() -> None:
    stage = Stage(has_all=False)
    peer = stage.meet(1, HaveAll(), AllowedFast(7))
    assert heard(peer, Request) == [Request(7, n * BLOCK, BLOCK) for n in range(BLOCKS)]
    peer.depth = 100
    stage.wait(1)
    assert len(heard(peer, Request)) == BLOCKS, "and nothing else"


def test_an_allowed_piece_that_was_begun_is_gone_on_with() -> None:
    stage = Stage(has_all=False)
    peer = stage.meet(1, HaveAll())
    peer.depth = 1
    stage.say(peer, AllowedFast(7), AllowedFast(9))
    (first,) = heard(peer, Request)
    assert isinstance(first, Request)
    given = BlocksReceived([(first.index, 0, memoryview(bytes(BLOCK)))])
    stage.swarm.receive_run(peer, given, 0)
    assert {message.index for message in heard(peer, Request) if isinstance(message, Request)} == {
        first.index
    }
    assert len(heard(peer, Request)) > 1


# Partial seeds


def test_whoever_only_uploads_takes_no_slot_until_it_says_otherwise() -> None:
    stage = Stage(slots=1, has_all=False)
    idle = stage.meet(1, HaveNone())
    stage.greet(idle, upload_only=1)
    stage.say(idle, Interested())
    assert not heard(idle, Unchoke)
    busy = stage.meet(2, HaveNone(), Interested())
    assert heard(busy, Unchoke)
    stage.greet(busy, upload_only=1)
    assert heard(busy, Choke)
    stage.extend(idle, "upload_only", b"\x00")
    assert heard(idle, Unchoke), "it was interested all along"


def test_that_we_want_nothing_more_is_told_once_in_the_words_that_a_peer_understands() -> None:
    stage = Stage(has_all=False)
    modern, plain = stage.meet(1, HaveNone()), stage.meet(2, HaveNone())
    stage.greet(modern)
    payload = extension_handshake([], Address("203.0.113.5", 1), {})
    stage.say(plain, Extended(0, payload))
    stage.wait(2)
    for peer in (modern, plain):
        (greeting,) = heard(peer, Extended)
        assert isinstance(greeting, Extended)
        assert read_extension_handshake(greeting.payload).fields[b"upload_only"] == 0
        forget(peer)
    for index in range(COUNT):
        stage.store.held.add(index)
        stage.picker.close(index)
    stage.wait(3)
    assert heard(modern, Extended) == [Extended(2, b"\x01")]
    (again,) = heard(plain, Extended)
    assert isinstance(again, Extended)
    assert read_extension_handshake(again.payload).fields[b"upload_only"] == 1


# Bad words


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("lt_donthave", b""),
        ("lt_donthave", b"\x00\x00\x00\x00\x00"),
        ("lt_donthave", b"\x00\x00\x00\x28"),
        ("upload_only", b""),
        ("upload_only", b"\x01\x01"),
    ],
)
def test_a_word_that_cannot_be_ends_the_session(name: str, payload: bytes) -> None:
    stage = Stage(has_all=False)
    peer = stage.meet(1, HaveAll())
    stage.greet(peer)
    stage.extend(peer, name, payload)
    assert peer.state is PeerState.CLOSED
    assert stage.swarm.stats.message_errors == 1


def test_what_is_taken_back_counts_and_what_was_never_there_does_not() -> None:
    stage = Stage(has_all=False)
    seed, other = stage.meet(1, HaveAll()), stage.meet(2, HaveAll())
    for peer in (seed, other):
        stage.greet(peer)
    stage.extend(seed, "lt_donthave", b"\x00\x00\x00\x05")
    stage.extend(seed, "lt_donthave", b"\x00\x00\x00\x05")
    stage.extend(seed, "lt_donthave", b"\x00\x00\x00\x06")
    assert [stage.picker.availability(index) for index in (4, 5, 6)] == [2, 1, 1]
    stage.say(seed, Have(5), Have(6))
    assert [stage.picker.availability(index) for index in (4, 5, 6)] == [2, 2, 2]
    assert stage.picker.seeds == 2


def test_nobody_takes_back_for_ever() -> None:
    stage = Stage(has_all=False)
    peer = stage.meet(1, HaveAll())
    stage.greet(peer)
    for _ in range(LOSSES_MAX):
        stage.extend(peer, "lt_donthave", b"\x00\x00\x00\x05")
        stage.say(peer, Have(5))
    assert peer in stage.swarm.ready
    stage.greet(peer)
    stage.extend(peer, "lt_donthave", b"\x00\x00\x00\x05")
    assert peer.state is PeerState.CLOSED


def test_what_a_peer_owed_of_a_lost_piece_is_asked_of_another() -> None:
    stage = Stage(has_all=False)
    peer = stage.meet(1, HaveAll(), Unchoke())
    stage.greet(peer)
    (index,) = {piece for piece, _ in peer.owed}
    other = stage.meet(2, Bitfield(bit(index)), Unchoke())
    assert peer.owed
    stage.extend(peer, "lt_donthave", index.to_bytes(4, "big"))
    assert index not in {piece for piece, _ in peer.owed}
    assert sorted(other.owed) == [(index, block) for block in range(BLOCKS)]


def bit(index: int) -> bytes:
    return (1 << (COUNT - 1 - index)).to_bytes(COUNT // 8, "big")


def test_a_lost_piece_is_told_to_those_who_understand() -> None:
    stage = Stage()
    modern, plain = stage.meet(1, HaveNone()), stage.meet(2, HaveNone())
    stage.greet(modern)
    forget(modern)
    forget(plain)
    stage.store.held.discard(3)
    stage.swarm.on_loaded(3, 0)
    assert heard(modern, Extended) == [Extended(1, b"\x00\x00\x00\x03")]
    assert heard(plain, Extended) == []


# Membership


def test_a_peer_is_banned_once_however_often_it_forged() -> None:
    stage = Stage(has_all=False)
    peer = stage.meet(1, HaveAll())
    for _ in range(5):
        stage.swarm.ban(peer, "forged", 0)
    bans = 0
    while (event := stage.swarm.next_event()) is not None:
        bans += isinstance(event, PeerBanned)
    assert bans == 1
    assert not stage.swarm.candidates.bans(Address("192.0.1.1", 9), b"", 1), "its host is not"


def test_who_owes_and_is_heard_of_no_more_is_called_beside_and_the_new_connection_stays() -> None:
    """libtorrent ends a µTP connection without a word; nothing is missing then but all of it."""
    stage = Stage(has_all=False)
    old, connection = stage.call(1, HaveAll(), Unchoke())
    assert heard(old, Request)
    stage.wait(6)  # Of two that are heard the older one stays then.
    connection.nothing_heard_since = stage.now
    assert stage.swarm.next_attempts(stage.now) == []
    stage.wait(2)
    assert stage.swarm.next_attempts(stage.now) == [connection.address]
    assert stage.swarm.transports_to(connection.address, stage.now) == [Transport.UTP]
    new, _ = stage.call(1, HaveAll(), Unchoke())
    assert list(stage.swarm.ready) == [new]
    assert heard(new, Request)


def test_who_owes_nothing_is_not_called_beside_whatever_is_heard_of_it() -> None:
    stage = Stage(has_all=False)
    _, connection = stage.call(1)
    connection.nothing_heard_since = stage.now
    stage.wait(5)
    assert stage.swarm.next_attempts(stage.now) == []


def test_a_host_has_few_connections_and_loopback_many() -> None:
    stage = Stage()
    for host, count in (("192.0.9.1", 4), ("127.0.0.1", 30)):
        admitted = 0
        for number in range(30):
            connection = QuietConnection(number)
            connection.is_outgoing = False
            connection.address = Address(host, 1_000 + number)
            greeting = Handshake(INFO_HASH, host.encode().ljust(18, b"-") + b"%02d" % number)
            admitted += stage.swarm.admit(connection, b"", greeting, 0) is not None
        assert admitted == count


def test_when_full_the_useless_peer_of_least_priority_makes_way_for_a_better_one() -> None:
    stage = Stage(has_all=False, peers_max=8)

    def rank(host: str) -> int:
        return peer_priority(Address("203.0.113.5", 0), Address(host, 1)) or 0

    peers = [stage.meet(n, host=f"198.{n}.7.7") for n in range(1, 9)]
    stage.greet(peers[0])
    peers.sort(key=lambda peer: rank(peer.address.host))
    stage.say(peers[0], HaveAll())
    hosts = [f"198.{n}.7.7" for n in range(20, 80)]
    least = rank(peers[1].address.host)
    better = next(each for each in hosts if rank(each) > least)
    worse = next(each for each in hosts if rank(each) < least)

    def call(host: str) -> bool:
        connection = QuietConnection(99)
        connection.is_outgoing = False
        connection.address = Address(host, 6881)
        greeting = Handshake(INFO_HASH, host.encode().ljust(20))
        return stage.swarm.admit(connection, b"", greeting, stage.now) is not None

    assert not call(better), "everybody has a while to become of use"
    stage.now += TRIAL_US + 1
    assert not call(worse)
    assert call(better)
    assert peers[1].state is PeerState.CLOSED
    assert peers[0].state is PeerState.READY, "we want something of it"
    assert len(stage.swarm.peers) == 8


def test_when_full_those_who_give_least_are_replaced_if_there_is_anybody_else() -> None:
    stage = Stage(has_all=False, peers_max=60)
    peers = [stage.meet(n, HaveAll()) for n in range(1, 61)]
    for peer in peers:
        stage.greet(peer)

    def give_for(us: int) -> None:
        for number, peer in enumerate(peers):
            peer.bytes_in += 1_000 * (number + 1)
        stage.wait(us // SECOND)

    give_for(INTERVAL_US + 2 * SECOND)
    give_for(INTERVAL_US + 2 * SECOND)
    assert len(stage.swarm.peers) == 60, "there is nobody else"
    stage.swarm.candidates.add([Address("198.51.100.9", 6881)])
    give_for(INTERVAL_US + 2 * SECOND)
    gone = [number for number, peer in enumerate(peers) if peer.state is PeerState.CLOSED]
    assert gone == [0, 1]


# Peer exchange


def told(peer: BlockPeer) -> dict[bytes, bytes]:
    """Return the last gossip that a peer was sent."""
    fields: dict[bytes, bytes] = {}
    for message in heard(peer, Extended):
        assert isinstance(message, Extended)
        if message.extension == 3:
            found = bencode.decode(message.payload)
            assert isinstance(found, dict)
            fields = {key: value for key, value in found.items() if isinstance(value, bytes)}
    return fields


def test_peers_are_told_where_others_listen_and_who_is_a_seed() -> None:
    stage = Stage(has_all=False)
    stage.swarm.exchange_peers()
    listener, seed = stage.meet(1, HaveNone()), stage.meet(2, HaveAll())
    stage.meet(3, HaveNone())
    stage.greet(listener)
    stage.greet(seed, p=7_000)
    stage.wait(1)
    gossip = told(listener)
    assert gossip[b"added"] == bytes((192, 0, 2, 1)) + (7_000).to_bytes(2, "big")
    assert gossip[b"added.f"] == b"\x02"
    assert told(seed) == {}, "of a caller it is not known where it listens"


def test_gossip_does_not_lead_from_outside_to_inside() -> None:
    stage = Stage(has_all=False)
    outside = stage.meet(1, HaveNone(), host="8.8.8.8")
    inside = stage.meet(2, HaveNone(), host="10.0.0.2")
    exchange = PeerExchange(list)
    hosts = ("1.1.1.1", "192.168.0.1", "127.0.0.1", "169.254.169.254")
    packed = b"".join(bytes(map(int, host.split("."))) + b"\x1a\xe1" for host in hosts)
    for peer, expected in ((outside, hosts[:1]), (inside, hosts[:2])):
        exchange.on_ready(peer, 0)
        exchange.on_message(peer, bencode.encode({b"added": packed}), 0)
        assert [address.host for address in exchange.take_learned()] == list(expected)


def test_a_seed_does_not_call_those_who_are_said_to_be_seeds() -> None:
    stage = Stage()
    stage.swarm.exchange_peers()
    talker = stage.meet(1, HaveNone(), host="8.8.8.8")
    stage.greet(talker)
    hosts = ("1.1.1.1", "1.1.1.2", "1.1.1.3")
    packed = b"".join(bytes(map(int, host.split("."))) + b"\x1a\xe1" for host in hosts)
    news = bencode.encode({b"added": packed, b"added.f": b"\x02\x10", b"added6.f": 7})
    stage.extend(talker, "ut_pex", news)
    stage.wait(1)
    called = stage.swarm.next_attempts(stage.now)
    assert sorted(address.host for address in called) == ["1.1.1.2", "1.1.1.3"]
