"""BEP 3's byte stream as a machine: however bytes are cut, the same messages come out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.machine import SECOND, Address
from livestream.transport.connection import (
    BlocksReceived,
    Connected,
    ConnectionState,
    Disconnected,
    KeepAliveReceived,
    MessageReceived,
)
from livestream.transport.stream import Stream
from livestream.transport.streams import StreamEndpoint
from livestream.wire.messages import Handshake, Have, Piece

ADDRESS = Address("192.0.2.1", 6881)
HANDSHAKE = Handshake(bytes(20), bytes(range(20))).to_bytes()


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def stream(*, is_outgoing: bool = True) -> Stream:
    made = Stream(ADDRESS, lambda changed: None, 0, is_outgoing=is_outgoing)
    made.connected(0)
    assert made.next_event() == Connected(b"")
    return made


def received(reader: Stream, data: bytes) -> list[object]:
    """Feed bytes, and return what came of them; blocks one by one, copied."""
    reader.receive_data(data, 0)
    found: list[object] = []
    while (event := reader.next_event()) is not None:
        if isinstance(event, MessageReceived):
            found.append(event.data)
        elif isinstance(event, BlocksReceived):
            found += [(index, begin, bytes(block)) for index, begin, block in event.blocks]
        else:
            found.append(event)
    reader.rewind()
    return found


TALK = (
    HANDSHAKE
    + framed(Have(3).to_bytes())
    + framed(b"")
    + framed(Piece(1, 16384, b"x" * 500).to_bytes())
    + framed(Piece(1, 32768, b"y" * 16384).to_bytes())
    + framed(Have(4).to_bytes())
)
HEARD = [
    HANDSHAKE,
    Have(3).to_bytes(),
    (1, 16384, b"x" * 500),
    (1, 32768, b"y" * 16384),
    Have(4).to_bytes(),
]


def test_all_at_once() -> None:
    assert received(stream(), TALK) == HEARD


def test_split_at_every_boundary_of_the_small_ones() -> None:
    for cut in range(1, 700):
        reader = stream()
        assert received(reader, TALK[:cut]) + received(reader, TALK[cut:]) == HEARD, cut


@settings(max_examples=60)
@given(st.lists(st.integers(1, 6_000), min_size=1, max_size=30))
def test_split_anyhow(sizes: list[int]) -> None:
    reader = stream()
    heard: list[object] = []
    at = 0
    for size in [*sizes, len(TALK)]:
        heard += received(reader, TALK[at : at + size])
        at += size
    assert heard == HEARD


def test_a_message_too_long_ends_the_connection_at_once() -> None:
    reader = stream()
    found = received(reader, HANDSHAKE + (1 << 30).to_bytes(4, "big"))
    assert found[0] == HANDSHAKE
    assert isinstance(found[1], Disconnected)
    assert reader.state is ConnectionState.CLOSED
    assert received(reader, b"more") == []


def test_what_is_sent_is_framed_and_partial_writes_lose_nothing() -> None:
    writer = stream()
    writer.send(HANDSHAKE)
    writer.send(Have(3).to_bytes())
    writer.send_block(1, 16384, memoryview(b"x" * 500))
    writer.send_many([Have(5).to_bytes(), Have(6).to_bytes()])
    wanted = (
        HANDSHAKE
        + framed(Have(3).to_bytes())
        + framed(Piece(1, 16384, b"x" * 500).to_bytes())
        + framed(Have(5).to_bytes())
        + framed(Have(6).to_bytes())
    )
    assert writer.backlog_bytes == len(wanted)
    out = b""
    while buffers := writer.buffers_to_send():
        taken = b"".join(buffers)[:7]
        out += taken
        writer.sent(len(taken), 0)
    assert out == wanted
    assert writer.backlog_bytes == 0


def test_a_silent_connection_is_kept_alive() -> None:
    writer = stream()
    writer.send(HANDSHAKE)
    assert b"".join(writer.buffers_to_send()) == HANDSHAKE
    writer.sent(len(HANDSHAKE), 0)
    at = writer.get_timer()
    assert at is not None
    assert at < 120 * SECOND
    writer.handle_timer(at)
    assert b"".join(writer.buffers_to_send()) == bytes(4)


def test_a_dial_without_an_answer_is_given_up() -> None:
    endpoint = StreamEndpoint()
    dialled = endpoint.connect(ADDRESS, 0)
    assert endpoint.next_dial() is dialled
    assert endpoint.next_event() is None
    at = endpoint.get_timer()
    assert at is not None
    endpoint.handle_timer(at)
    report = endpoint.next_event()
    assert report is not None
    assert report.event == Disconnected("no answer", is_local=False)
    assert endpoint.get_timer() is None


def test_callers_are_bounded() -> None:
    endpoint = StreamEndpoint(streams_max=4)
    accepted = [endpoint.accept(ADDRESS, 0) for _ in range(4)]
    assert [each is not None for each in accepted] == [True, True, True, False]
    assert endpoint.connect(ADDRESS, 0).state is ConnectionState.CONNECTING, "one is kept for us"
    first = accepted[0]
    assert first is not None
    first.lost("gone")
    while endpoint.next_event() is not None:
        pass
    assert endpoint.accept(ADDRESS, 0) is None, "what we called counts, too"


def test_a_message_without_a_word_is_a_sign_of_life_and_many_are_one() -> None:
    reader = stream()
    assert received(reader, HANDSHAKE) == [HANDSHAKE]
    assert received(reader, framed(b"")) == [KeepAliveReceived()]
    assert received(reader, framed(b"") * 5_000 + b"\x00") == [KeepAliveReceived()]
    assert received(reader, b"\x00\x00") == []
    said = Have(3).to_bytes()
    assert received(reader, b"\x00" + framed(said)) == [said]


def test_a_closed_stream_writes_to_no_place() -> None:
    """The socket may be read once more before it is closed; others may have filled the place."""
    made = stream()
    received(made, HANDSHAKE)
    place = bytearray(100)
    made.expect([(0, 0, memoryview(place))])
    made.close("enough", 0)
    for space in made.spaces():
        space[:] = b"x" * len(space)
    made.filled(113, 0)
    made.rewind()
    assert place == bytes(100)
    assert not made.has_much_to_come


def sent(writer: Stream) -> bytes:
    """Let a stream send all that it has."""
    return b"".join(train.data for train in writer.trains_to_send(0))


def test_a_message_that_has_not_begun_to_go_by_its_deadline_does_not_go() -> None:
    writer = stream()
    writer.send(HANDSHAKE)
    late, later = Piece(1, 0, b"x" * 500).to_bytes(), Piece(2, 0, b"y" * 500).to_bytes()
    writer.send_independent(late, 5 * SECOND)
    writer.send(Have(3).to_bytes())
    writer.send_independent(later, 6 * SECOND)
    assert writer.get_timer() == 5 * SECOND
    writer.handle_timer(5 * SECOND)
    wanted = HANDSHAKE + framed(Have(3).to_bytes()) + framed(later)
    assert writer.backlog_bytes == len(wanted)
    assert sent(writer) == wanted
    writer.handle_timer(7 * SECOND)
    assert sent(writer) == b""
    assert writer.backlog_bytes == 0


def test_a_message_that_has_begun_to_go_goes_to_its_end_late_or_not() -> None:
    writer = stream()
    writer.send(HANDSHAKE)
    piece = Piece(1, 0, b"x" * 500).to_bytes()
    writer.send_independent(piece, 5 * SECOND)
    writer.send_independent(piece, 5 * SECOND)
    whole = HANDSHAKE + framed(piece)
    begun = len(HANDSHAKE) + 1
    writer.sent(begun, 0)
    writer.handle_timer(5 * SECOND)
    assert sent(writer) == whole[begun:]


def test_an_endpoint_counts_what_its_streams_take_but_not_what_was_too_late() -> None:
    endpoint = StreamEndpoint()
    writer = endpoint.accept(ADDRESS, 0)
    assert writer is not None
    writer.send(HANDSHAKE)
    writer.send_block(1, 0, memoryview(b"x" * 500))
    taken = endpoint.bytes_taken
    assert taken == len(HANDSHAKE) + 13 + 500
    writer.send_independent(Piece(1, 0, b"x" * 500).to_bytes(), SECOND)
    assert endpoint.bytes_taken == taken + 13 + 500
    while endpoint.next_event() is not None:
        pass
    at = endpoint.get_timer()
    assert at == SECOND
    endpoint.handle_timer(at)
    assert endpoint.bytes_taken == taken
    writer.sent(len(HANDSHAKE), 0)
    writer.close("enough", 0)
    assert endpoint.bytes_taken == len(HANDSHAKE), "what will not go is not counted"
