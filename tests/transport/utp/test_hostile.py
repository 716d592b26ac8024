"""Packets that lie, repeat, jump and come from elsewhere: none of it hurts a connection."""

from __future__ import annotations

from random import Random

from livestream.machine import MILLISECOND, SECOND, Address
from livestream.transport.connection import ConnectionState, Disconnected
from livestream.transport.utp.endpoint import EARLY_BYTES_MAX
from livestream.transport.utp.packet import HEADER_BYTES, PacketType
from tests.transport.utp.pair import GREETING, HERE, THERE, Pair
from tests.transport.utp.path import Narrow
from tests.transport.utp.stranger import Stranger, framed, listening

HOUR_US = 3_600 * SECOND
HELLO = framed(b"\x14hello")


def _called() -> Stranger:
    stranger = Stranger(listening())
    stranger.call()
    return stranger


# Resets and acknowledgements that nobody gave


def test_a_blind_reset_ends_nothing() -> None:
    """Who does not know our numbers has to hit one in hundreds."""
    stranger = _called()
    for ack in range(stranger.ack + 1, stranger.ack + 60_000, 97):
        stranger.send(PacketType.RESET, 0, ack=ack & 0xFFFF)
    assert stranger.connection is not None
    assert stranger.connection.state is ConnectionState.CONNECTED


def test_a_reset_that_knows_our_numbers_ends_it() -> None:
    for offset in (1, 0):  # Some name the connection by the id that they hear on.
        stranger = _called()
        stranger.send(PacketType.RESET, 0, connection_id=stranger.connection_id + offset)
        assert stranger.events[-1] == Disconnected("reset", is_local=False)
        assert stranger.endpoint.connection_count == 0


def test_an_acknowledgement_of_what_was_never_sent_is_dropped_with_its_data() -> None:
    stranger = _called()
    stranger.seq += 1
    stranger.send(PacketType.DATA, stranger.seq, HELLO, ack=stranger.ack + 5)
    assert stranger.messages() == [GREETING]
    stranger.send(PacketType.DATA, stranger.seq, HELLO)
    assert stranger.messages() == [GREETING, b"\x14hello"]


def test_a_selective_acknowledgement_of_what_was_never_sent_frees_nothing() -> None:
    stranger = _called()
    assert stranger.connection is not None
    stranger.connection.send(GREETING)
    sent = stranger.drain()
    assert [packet.type for packet in sent] == [PacketType.DATA]
    stranger.send(PacketType.STATE, 9, sack=(1 << 2016) - 1)
    again = stranger.wait(5)
    assert {packet.seq for packet in again if packet.payload} == {sent[0].seq}


# Copies and order


def test_copies_of_old_packets_change_nothing() -> None:
    """Each datagram comes thrice, the last copy much later."""
    sent: dict[Address, list[bytes]] = {HERE: [], THERE: []}

    def censor(source: Address, datagram: bytes) -> list[bytes]:
        held = sent[source]
        held.append(datagram)
        return [datagram, datagram, held[max(0, len(held) - 60)]]

    pair = Pair(censor=censor)
    server = pair.greet()
    texts = [b"\x14" + Random(number).randbytes(3_000) for number in range(30)]
    for text in texts:
        pair.client.send(text)
        server.send(text)
    pair.run(20)
    assert pair.messages("server") == [GREETING, *texts]
    assert pair.messages("client") == [GREETING, *texts]
    assert pair.client_end.connection_count == pair.server_end.connection_count == 1


def test_damaged_and_foreign_bytes_among_the_packets_change_nothing() -> None:
    rng = Random(4)

    def censor(_: Address, datagram: bytes) -> list[bytes]:
        cut = datagram[: rng.randrange(len(datagram))]
        first = bytes((rng.randrange(256),))
        others = [cut[: rng.choice([19, len(cut)])], b"", first + datagram[1:2], rng.randbytes(40)]
        return [others[0][:HEADER_BYTES], others[1], others[2], others[3], datagram]

    pair = Pair(censor=censor)
    pair.greet()
    texts = [b"\x14" + bytes((number,)) * 2_000 for number in range(30)]
    for text in texts:
        pair.client.send(text)
    pair.run(20)
    assert pair.messages("server") == [GREETING, *texts]


def test_extensions_that_we_do_not_know_are_skipped() -> None:
    stranger = _called()
    stranger.seq += 1
    header = bytearray(_data(stranger, b""))
    header[1] = 2  # Extension bits (BEP 29), then none.
    stranger.throw(bytes(header) + b"\x00\x08" + bytes(8) + HELLO)
    assert stranger.messages() == [GREETING, b"\x14hello"]


# Clocks


def test_timestamps_that_jump_by_hours_stop_nothing() -> None:
    """A peer sets its clock forward, then back: it is as quick as before within seconds."""
    link = Narrow(rate_bps=4_000_000, delay_us=20 * MILLISECOND)
    shift_us = 0

    def censor(source: Address, datagram: bytes) -> list[bytes]:
        copy = bytearray(datagram)  # The peer's clock is in its timestamps and differences.
        for at, sign in ((4, 1), (8, 1)):
            if source != HERE and (at == 4 or datagram[8:12] != bytes(4)):
                field = int.from_bytes(datagram[at : at + 4], "big") + sign * shift_us
                copy[at : at + 4] = (field & 0xFFFFFFFF).to_bytes(4, "big")
        return [bytes(copy)]

    pair = Pair(1, link, censor=censor)
    pair.greet()
    for jump_us in (HOUR_US // 2, -HOUR_US // 2, -3 * HOUR_US, 3 * HOUR_US, 700 * MILLISECOND):
        shift_us += jump_us
        pair.stream(3)
        share = pair.stream(5) / link.rate_bps
        assert share >= 0.5, f"jump by {jump_us // SECOND} s: {share:.2f} of the link"


def test_differences_that_lie_cannot_stop_a_transfer_nor_raise() -> None:
    rng = Random(3)

    def censor(source: Address, datagram: bytes) -> list[bytes]:
        lie = rng.choice([0, 1, 0xFFFFFFFF, 0x80000000, rng.getrandbits(32)])
        return [
            datagram if source == HERE else datagram[:8] + lie.to_bytes(4, "big") + datagram[12:]
        ]

    pair = Pair(censor=censor)
    pair.greet()
    for _ in range(20):
        pair.client.send(b"\x14" + bytes(20_000))
    pair.run(60)
    assert len(pair.messages("server")) == 21


# Memory


def test_rows_that_come_early_are_kept_within_one_budget_and_given_back() -> None:
    endpoint = listening()
    hoarders = [Stranger(endpoint, connection_id=10 * number) for number in range(30)]
    for hoarder in hoarders:
        hoarder.call()
        _hoard(hoarder)
    kept = EARLY_BYTES_MAX - endpoint.early_bytes_left
    assert EARLY_BYTES_MAX // 2 < kept <= EARLY_BYTES_MAX
    for hoarder in hoarders:
        hoarder.send(PacketType.RESET, 0)
    assert endpoint.connection_count == 0
    assert endpoint.early_bytes_left == EARLY_BYTES_MAX


def test_hoarders_leave_others_room_for_what_comes_early() -> None:
    endpoint = listening()
    for number in range(30):
        hoarder = Stranger(endpoint, connection_id=10 * number)
        hoarder.call()
        _hoard(hoarder)
    honest = Stranger(endpoint, connection_id=9_000)
    honest.call()
    honest.send(PacketType.DATA, honest.seq + 2, HELLO)
    honest.send(PacketType.DATA, honest.seq + 1, HELLO)
    assert honest.messages() == [GREETING, b"\x14hello", b"\x14hello"]


def test_early_rows_after_the_end_are_not_kept() -> None:
    """A reset and what follows it, all in one train: nobody would ever give that back."""
    stranger = _called()
    packets = [
        _packet(stranger, PacketType.RESET, 0, bytes(1_000)),
        *(
            _packet(stranger, PacketType.DATA, stranger.seq + 3 + row, bytes(1_000))
            for row in range(9)
        ),
    ]
    stranger.throw(b"".join(packets), len(packets[0]))
    assert stranger.endpoint.connection_count == 0
    assert stranger.endpoint.early_bytes_left == EARLY_BYTES_MAX


def test_a_round_trip_that_shrinks_beside_much_early_data_does_no_harm() -> None:
    """Long paths are granted large windows; what is early then may exceed a short path's."""
    stranger = _called()
    assert stranger.connection is not None
    for delay_s, count in ((0.9, 30), (0.001, 600)):
        for _ in range(count):
            stranger.connection.send(GREETING)
            sent = stranger.drain()
            stranger.wait(delay_s)
            stranger.listen(sent)
        _hoard(stranger)
    heard = stranger.send(PacketType.DATA, stranger.seq + 2, b"again")
    assert heard[-1].window == 0
    assert heard[-1].type is PacketType.STATE
    assert stranger.connection.state is ConnectionState.CONNECTED


def test_a_flood_of_tiny_early_rows_is_bounded_in_number() -> None:
    stranger = _called()
    for ahead in range(2, 40_000, 3):
        stranger.send(PacketType.DATA, (stranger.seq + ahead) & 0xFFFF, b"x")
    (answer,) = stranger.send(PacketType.DATA, stranger.seq + 2, b"x")
    assert answer.sack.bit_length() <= 2016


def _hoard(stranger: Stranger, rows: int = 2_000) -> None:
    """Send everything but what is next."""
    payload = bytes(1_400)
    size = HEADER_BYTES + len(payload)
    packets = [
        _packet(stranger, PacketType.DATA, (stranger.seq + ahead) & 0xFFFF, payload)
        for ahead in range(2, rows)
    ]
    for at in range(0, rows, 40):
        stranger.throw(b"".join(packets[at : at + 40]), size)


def _data(stranger: Stranger, payload: bytes) -> bytes:
    return _packet(stranger, PacketType.DATA, stranger.seq, payload)


def _packet(stranger: Stranger, kind: PacketType, seq: int, payload: bytes) -> bytes:
    return stranger.packet(kind, seq, payload).to_bytes()
