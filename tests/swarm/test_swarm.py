"""Membership: whom a swarm greets, and that no greeting, however odd, is more than refused."""

from __future__ import annotations

from random import Random

from livestream.config import SwarmConfig, Transport
from livestream.machine import SECOND, Address
from livestream.swarm.greeting import extension_handshake
from livestream.swarm.peer import Peer, PeerState, peer_id_of
from livestream.swarm.pex import PeerExchange
from livestream.swarm.seekers import SeekerSwarm
from livestream.transport.connection import FORGOTTEN
from livestream.wire import bencode
from livestream.wire.messages import Extended, Handshake
from tests.swarm.memory import QuietConnection

INFO_HASH = b"h" * 20
OUR_KEY = b"o" * 32
THEIR_KEY = b"t" * 32


def swarm(transport: Transport | None = None) -> SeekerSwarm:
    return SeekerSwarm(INFO_HASH, OUR_KEY, SwarmConfig(transport=transport), Random(1))


def caller(number: int, transport: Transport = Transport.TCP) -> QuietConnection:
    connection = QuietConnection(number, transport)
    connection.is_outgoing = False
    return connection


def admitted(into: SeekerSwarm, number: int = 1, peer_id: bytes = b"-XX0000-somebody____") -> Peer:
    peer = into.admit(caller(number), b"", Handshake(INFO_HASH, peer_id), 0)
    assert peer is not None
    return peer


def say(into: SeekerSwarm, peer: Peer, *names: str) -> None:
    """Send an extension handshake that offers these."""
    payload = extension_handshake(names, Address("192.0.2.9", 1), {})
    into.receive_message(peer, Extended(0, payload).to_bytes(), 0)


def test_a_caller_without_the_extension_protocol_is_refused() -> None:
    ours = swarm()
    assert ours.admit(caller(1), b"", Handshake(INFO_HASH, b"-XX0000-somebody____", 0), 0) is None
    assert not ours.peers
    assert ours.stats.message_errors == 1


def test_a_caller_whose_peer_id_is_not_its_keys_is_refused() -> None:
    ours = swarm()
    connection = caller(1)
    assert ours.admit(connection, THEIR_KEY, Handshake(INFO_HASH, b"x" * 20), 0) is None
    assert not ours.peers
    honest = Handshake(INFO_HASH, peer_id_of(THEIR_KEY))
    assert ours.admit(caller(2), THEIR_KEY, honest, 0) is not None


def test_a_ban_over_tcp_bans_that_address_and_nobody_else() -> None:
    ours = swarm()
    bad = admitted(ours)
    ours.ban(bad, "forged", 0)
    assert ours.admit(caller(1), b"", Handshake(INFO_HASH, b"y" * 20), 0) is None
    ours.candidates.add([Address("198.51.100.1", 6881)])
    assert ours.next_attempts(0) == [Address("198.51.100.1", 6881)]
    assert admitted(ours, 2, b"-XX0000-another_one_")


def test_a_ban_over_quic_bans_the_key_wherever_it_calls_from() -> None:
    ours = swarm()
    greeting = Handshake(INFO_HASH, peer_id_of(THEIR_KEY))
    bad = ours.admit(caller(1, Transport.QUIC), THEIR_KEY, greeting, 0)
    assert bad is not None
    ours.ban(bad, "forged", 0)
    assert ours.admit(caller(2, Transport.QUIC), THEIR_KEY, greeting, 0) is None


def test_a_borrowed_peer_id_does_not_hang_up_on_its_owner() -> None:
    ours = swarm()
    owner = admitted(ours, 1)
    admitted(ours, 2)
    assert owner.state is PeerState.READY
    admitted(ours, 1)
    assert len(ours.peers) == 2, "the owner's host called again: its newer call counts"
    assert owner.state is not PeerState.READY


def test_callers_over_tcp_are_not_called_back() -> None:
    ours = swarm()
    for number in range(1, 20):
        admitted(ours, number, b"%020d" % number)
    assert len(ours.candidates) == 0
    greeting = Handshake(INFO_HASH, peer_id_of(THEIR_KEY))
    assert ours.admit(caller(30, Transport.QUIC), THEIR_KEY, greeting, 0)
    assert len(ours.candidates) == 1, "over QUIC nodes listen where they call from"


def test_callers_that_have_not_greeted_do_not_use_up_our_calls() -> None:
    ours = swarm()
    for number in range(1, 50):
        admitted(ours, number, ours.peer_id)
    addresses = [Address(f"198.51.100.{number}", 6881) for number in range(1, 40)]
    ours.candidates.add(addresses)
    assert len(ours.next_attempts(0)) == SwarmConfig().attempts_max


def test_an_extension_can_be_taken_back_and_offered_again() -> None:
    """BEP 10 allows it; what we say then must not be news to a peer that speaks it no more."""
    ours = swarm()
    pex = PeerExchange(lambda: list(ours.ready))
    ours.speak(pex)
    peer, other = admitted(ours), admitted(ours, 2, b"-XX0000-another_one_")
    gossip = Extended(1, bencode.encode({b"added": b"\xc6\x33\x64\x01\x1a\xe1"})).to_bytes()
    say(ours, other, "ut_pex")
    for names in ([], ["ut_pex"], [], ["ut_pex"]):
        say(ours, peer, *names)
        ours.receive_message(peer, gossip, 0)
        ours.handle_timer(SECOND)
        assert peer in ours.ready
    assert pex.take_learned() == 2 * [Address("198.51.100.1", 6881)]


def test_a_greeting_that_offers_nothing_first_and_something_later_is_heard() -> None:
    ours = swarm()
    ours.speak(PeerExchange(lambda: list(ours.ready)))
    peer = admitted(ours)
    say(ours, peer)
    say(ours, peer, "ut_pex")
    ours.receive_message(peer, Extended(1, b"de").to_bytes(), 0)
    assert peer in ours.ready


def test_whoever_comes_by_another_transport_than_the_one_we_were_told_is_refused() -> None:
    ours = swarm(Transport.TCP)
    greeting = Handshake(INFO_HASH, peer_id_of(THEIR_KEY))
    assert ours.admit(caller(1, Transport.QUIC), THEIR_KEY, greeting, 0) is None
    assert ours.admit(caller(2), b"", greeting, 0)
    assert ours.transports_to(Address("198.51.100.1", 6881), 0) == [Transport.TCP]


def test_a_session_whose_name_is_proven_stays_whoever_borrows_that_name() -> None:
    ours = swarm()
    greeting = Handshake(INFO_HASH, peer_id_of(THEIR_KEY))
    proven = ours.admit(caller(1, Transport.QUIC), THEIR_KEY, greeting, 0)
    assert proven is not None
    assert ours.admit(caller(1), b"", greeting, 0) is None
    assert proven.state is PeerState.READY


def test_a_session_that_is_silent_gives_way_to_a_new_one_by_another_transport() -> None:
    """UDP is blocked midway: whoever calls again over TCP is not to wait until we notice."""
    ours = swarm()
    greeting = Handshake(INFO_HASH, peer_id_of(THEIR_KEY))
    proven = ours.admit(caller(1, Transport.QUIC), THEIR_KEY, greeting, 0)
    assert proven is not None
    silent_us = SwarmConfig().silence_max_us // 2 + 1
    assert ours.admit(caller(1), b"", greeting, silent_us)
    assert proven.state is not PeerState.READY
    assert len(ours.peers) == 1


def test_whoever_does_not_send_again_what_was_lost_is_called_anew_at_once() -> None:
    for reason, is_called in ((FORGOTTEN, True), ("hung up", False)):
        ours = swarm()
        address = Address("192.0.2.7", 6881)
        ours.candidates.add([address])
        assert ours.next_attempts(0) == [address]
        peer = ours.greet(QuietConnection(7), b"", 0)
        assert peer is not None
        ours.on_answered(address, Transport.TCP, 0)
        hello = Handshake(INFO_HASH, b"-XX0000-somebody____")
        ours.receive_message(peer, hello.to_bytes(), 0)
        say(ours, peer, "ut_metadata")
        ours.on_disconnected(peer, reason, 9 * SECOND)
        assert bool(ours.next_attempts(9 * SECOND)) is is_called, reason


def test_a_peer_that_hangs_up_on_one_name_of_a_hybrid_is_called_by_the_other() -> None:
    """Whoever came by a v2 magnet alone knows no other name (BEP 52)."""
    ours = swarm()
    ours.also_known_as(b"2" * 20)
    ours.candidates.add([Address("192.0.2.7", 6881)])
    now, said = 0, []
    for _ in range(3):
        now += 100 * SECOND
        assert ours.next_attempts(now)
        connection = QuietConnection(7)
        peer = ours.greet(connection, b"", now)
        assert peer is not None
        said.append(Handshake.parse(connection.sent[0]).info_hash)
        ours.on_disconnected(peer, "hung up", now)
        ours.on_lost(peer.address, now)
    assert said == [INFO_HASH, b"2" * 20, INFO_HASH]


def test_a_caller_is_answered_by_the_name_that_it_knows() -> None:
    ours = swarm()
    ours.also_known_as(b"2" * 20)
    connection = caller(1)
    assert ours.admit(connection, b"", Handshake(b"2" * 20, b"-XX0000-somebody____"), 0)
    assert Handshake.parse(connection.sent[0]).info_hash == b"2" * 20
