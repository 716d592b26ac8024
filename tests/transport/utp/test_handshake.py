"""Callers and strangers: what a handshake costs, proves and survives."""

from __future__ import annotations

from random import Random

from livestream.machine import SECOND, Address
from livestream.transport.connection import Connected, Disconnected
from livestream.transport.utp.endpoint import CALLERS_SHARE, RESETS_PER_SECOND
from livestream.transport.utp.packet import HEADER_BYTES, Packet, PacketType
from tests.transport.utp.pair import GREETING, HERE, THERE, Pair
from tests.transport.utp.stranger import SOMEWHERE, Stranger, framed, listening
from tests.world import Link

CONNECTED = Connected(b"")


def _drops(kind: PacketType, source: Address, count: int) -> Pair:
    """Return a pair whose path loses the first packets of a kind from one side."""
    lost = 0

    def censor(sender: Address, datagram: bytes) -> list[bytes]:
        nonlocal lost
        if sender == source and datagram[0] >> 4 == kind and lost < count:
            lost += 1
            return []
        return [datagram]

    return Pair(censor=censor)


# What it costs


def test_a_flood_of_syns_costs_no_state_and_is_never_answered_with_more_bytes() -> None:
    endpoint = listening()
    rng = Random(1)
    bytes_in = bytes_out = 0
    for _ in range(5_000):
        host = f"203.0.113.{rng.randrange(256)}"
        stranger = Stranger(
            endpoint, Address(host, rng.randrange(1, 1 << 16)), rng.randrange(1 << 16)
        )
        stranger.syn()
        bytes_in += stranger.bytes_in
        bytes_out += stranger.bytes_out
    assert endpoint.connection_count == 0
    assert endpoint.get_timer() is None
    assert 0 < bytes_in <= bytes_out


def test_a_guessing_flood_gets_no_more_bytes_than_it_sends() -> None:
    """Who cannot hear the answers may hit one by chance; it gains nothing by that."""
    endpoint = listening()
    rng = Random(2)
    victim = Stranger(endpoint)
    for _ in range(3_000):
        victim.send(PacketType.DATA, rng.randrange(1 << 16), GREETING, ack=rng.randrange(1 << 16))
    victim.wait(200)
    assert victim.bytes_in <= victim.bytes_out
    assert endpoint.connection_count == 0


def test_resets_are_few_however_many_strangers_send_data() -> None:
    endpoint = listening()
    stranger = Stranger(endpoint)
    answers: list[Packet] = []
    for number in range(500):
        answers += stranger.send(PacketType.DATA, number, b"data of no connection", ack=number)
    assert {answer.type for answer in answers} == {PacketType.RESET}
    assert len(answers) <= RESETS_PER_SECOND
    stranger.now += SECOND
    assert stranger.send(PacketType.FIN, 1)[0].type is PacketType.RESET


def test_neither_a_state_nor_a_reset_of_no_connection_is_answered() -> None:
    """Else two hosts could answer each other for ever."""
    stranger = Stranger(listening())
    assert stranger.send(PacketType.STATE, 5) == []
    assert stranger.send(PacketType.RESET, 5) == []


def test_a_full_table_answers_no_caller_and_lets_us_call() -> None:
    endpoint = listening(connections_max=8)
    callers = [Stranger(endpoint, connection_id=10 * number) for number in range(8)]
    share = int(8 * CALLERS_SHARE)
    for caller in callers[:share]:
        caller.call()
    assert [caller.syn() for caller in callers[share:]] == [[], []]
    assert endpoint.stats.turned_away == 2
    ours = [endpoint.connect(THERE, callers[0].now) for _ in range(3)]
    heard = callers[0]
    heard.address = THERE
    assert [packet.type for packet in heard.drain()] == [PacketType.SYN] * 2
    assert [each.state.value for each in ours] == ["connecting", "connecting", "closed"]
    assert isinstance(heard.events[-1], Disconnected)
    assert endpoint.connection_count == 8


def test_who_was_answered_before_the_table_filled_is_refused_by_reset() -> None:
    endpoint = listening(connections_max=4)
    late = Stranger(endpoint, connection_id=900)
    late.syn()
    for number in range(3):
        Stranger(endpoint, connection_id=10 * number).call()
    assert [answer.type for answer in late.say(GREETING)] == [PacketType.RESET]
    assert endpoint.connection_count == 3


# What it proves


def test_the_answer_to_a_syn_is_one_state_of_20_bytes() -> None:
    stranger = Stranger(listening(), seq=77)
    (answer,) = stranger.syn()
    assert (answer.type, answer.connection_id, answer.ack) == (PacketType.STATE, 500, 77)
    assert stranger.bytes_in == HEADER_BYTES


def test_the_number_of_the_answer_is_another_for_each_address_id_and_start() -> None:
    endpoint = listening()
    numbers = {
        Stranger(endpoint, Address(host, port), connection_id, seq).syn()[0].seq
        for host in ("198.51.100.7", "198.51.100.8")
        for port in (6881, 6882)
        for connection_id in (500, 501)
        for seq in (1, 2)
    }
    assert len(numbers) == 16


def test_data_that_does_not_return_the_number_makes_no_connection() -> None:
    stranger = Stranger(listening())
    stranger.syn()
    stranger.ack = (stranger.ack + 1) & 0xFFFF
    assert [answer.type for answer in stranger.say(GREETING)] == [PacketType.RESET]
    assert stranger.endpoint.connection_count == 0


def test_the_number_is_worth_nothing_at_another_address() -> None:
    endpoint = listening()
    genuine = Stranger(endpoint)
    genuine.syn()
    thief = Stranger(endpoint, Address("198.51.100.99", 6881))
    thief.ack = genuine.ack
    thief.say(GREETING)
    assert endpoint.connection_count == 0


# What it survives


def test_a_lost_syn_is_sent_again() -> None:
    pair = _drops(PacketType.SYN, HERE, 2)
    pair.client.send(GREETING)
    pair.run(5)
    assert pair.messages("server") == [GREETING]


def test_a_lost_state_is_asked_for_again() -> None:
    pair = _drops(PacketType.STATE, THERE, 2)
    pair.client.send(GREETING)
    pair.run(5)
    assert pair.messages("server") == [GREETING]
    assert pair.is_connected("client")


def test_lost_first_data_is_sent_again() -> None:
    pair = _drops(PacketType.DATA, HERE, 1)
    pair.client.send(GREETING)
    pair.run(3)
    assert pair.messages("server") == [GREETING]


def test_what_follows_late_first_data_may_come_before_it() -> None:
    """As many as a caller may send at once, in any order."""
    order = list(range(10))
    for seed in range(8):
        Random(seed).shuffle(order)
        stranger = Stranger(listening(), seq=0xFFFC)
        stranger.syn()
        data = GREETING + framed(b"\x14" + bytes(200))
        rows = [data[at : at + 30] for at in range(0, 300, 30)]
        first = stranger.seq + 1
        for row in order:
            answers = stranger.send(PacketType.DATA, (first + row) & 0xFFFF, rows[row])
            assert PacketType.RESET not in [answer.type for answer in answers], f"seed {seed}"
        assert stranger.messages() == [GREETING, b"\x14" + bytes(200)], f"seed {seed}"


def test_a_caller_that_never_hears_us_gives_up_and_is_forgotten() -> None:
    pair = _drops(PacketType.STATE, THERE, 1_000)
    pair.client.send(GREETING)
    pair.run(40)
    assert pair.events["client"] == [Disconnected("no answer", is_local=False)]
    assert pair.client_end.connection_count == pair.server_end.connection_count == 0


def _calling() -> tuple[Stranger, Packet]:
    """Return a callee written by hand, and the SYN that it was sent."""
    endpoint = listening()
    callee = Stranger(endpoint, THERE)
    endpoint.connect(THERE, callee.now)
    (syn,) = callee.drain()
    return callee, syn


def test_a_caller_is_told_when_it_is_refused() -> None:
    callee, syn = _calling()
    callee.send(PacketType.RESET, 9, ack=syn.seq, connection_id=syn.connection_id)
    assert callee.events == [Disconnected("refused", is_local=False)]
    assert callee.endpoint.connection_count == 0


def test_a_refusal_of_another_syn_is_none_of_ours() -> None:
    callee, syn = _calling()
    callee.send(PacketType.RESET, 9, ack=syn.seq + 1, connection_id=syn.connection_id)
    callee.send(PacketType.STATE, 9, ack=syn.seq + 1, connection_id=syn.connection_id)
    assert callee.events == []
    assert callee.endpoint.connection_count == 1


def test_a_repeated_syn_is_answered_alike_and_disturbs_nothing() -> None:
    stranger = Stranger(listening())
    (first,) = stranger.syn()
    (again,) = stranger.syn()
    assert (first.seq, first.ack) == (again.seq, again.ack)
    stranger.call()
    assert stranger.send(PacketType.SYN, 1, connection_id=500)[0].seq == first.seq
    stranger.say(framed(b"\x14still here"))
    assert stranger.messages() == [GREETING, b"\x14still here"]
    assert stranger.endpoint.connection_count == 1


def test_two_hosts_that_call_each_other_at_once_have_two_connections() -> None:
    pair = Pair()
    other = pair.server_end.connect(HERE, pair.world.now)
    pair.client.send(GREETING)
    other.send(GREETING)
    pair.run(3)
    assert pair.client_end.connection_count == pair.server_end.connection_count == 2
    assert pair.messages("server") == pair.messages("client") == [GREETING]


def test_many_connections_to_one_address_are_kept_apart() -> None:
    pair = Pair()
    others = [pair.client_end.connect(THERE, pair.world.now) for _ in range(40)]
    for number, connection in enumerate(others):
        connection.send(GREETING)
        connection.send(b"\x14%d" % number)
    pair.run(3)
    texts = [text for text in pair.messages("server") if text != GREETING]
    assert sorted(texts) == sorted(b"\x14%d" % number for number in range(40))


def test_every_id_can_be_called_from() -> None:
    """Ids wrap: the id after 65,535 is 0."""
    for connection_id in (0, 1, 65_534, 65_535):
        stranger = Stranger(listening(), connection_id=connection_id)
        stranger.call()
        assert stranger.messages() == [GREETING]


def test_a_very_long_path_is_slow_and_works() -> None:
    pair = Pair(link=Link(delay_us=900_000))
    pair.client.send(GREETING)
    pair.run(15)
    assert pair.messages("server") == [GREETING]
    assert sum(event == CONNECTED for event in pair.events["server"]) == 1


def test_a_stranger_is_known_by_port_and_host() -> None:
    stranger = Stranger(listening())
    stranger.call()
    before = len(stranger.messages())
    spoof = Stranger(stranger.endpoint, Address(SOMEWHERE.host, SOMEWHERE.port + 1))
    spoof.seq, spoof.ack = stranger.seq, stranger.ack
    answers = spoof.say(framed(b"\x14not me"))
    assert [answer.type for answer in answers] == [PacketType.RESET]
    assert len(spoof.messages()) == 0
    stranger.say(framed(b"\x14me"))
    assert len(stranger.messages()) == before + 1
