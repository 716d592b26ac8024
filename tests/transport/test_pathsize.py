"""Large datagrams where the path carries them, small ones where it does not, never a hang."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND, Address, Train
from livestream.transport.connection import Connected, Connection
from livestream.transport.pathsize import (
    DATAGRAM_BYTES,
    DATAGRAM_BYTES_MIN,
    HOSTS_MAX,
    REMEMBERED_US,
    BlackHole,
    PathSizes,
)
from livestream.transport.quic import Quic
from tests.transport.test_endpoint import GREETING, HERE, THERE, Pair
from tests.world import Link, World

TUNNEL = 1_280 - 48  # What IPv6's smallest MTU leaves.
WIDE = 1_500 - 48
PIECE = 8_284  # 8 KiB of payload with its header and signature.


class NarrowWorld(World):
    """Drops what is longer than the sender's path carries, without a word."""

    def __init__(self, link: Link) -> None:
        super().__init__(1, link)
        self.carries = {HERE: WIDE, THERE: WIDE}
        self.sent: dict[Address, list[int]] = {HERE: [], THERE: []}
        "How long what each has sent was."

    def depart(self, source: Address, train: Train) -> None:
        for datagram in train.datagrams():
            self.sent[source].append(len(datagram))
            if len(datagram) <= self.carries[source]:
                super().depart(source, Train(train.address, datagram, len(datagram)))


def call(
    here: int = WIDE, there: int = WIDE, link: Link | None = None, seconds: float = 3.0
) -> tuple[Pair, NarrowWorld]:
    """Call over a path that carries so much each way."""
    world = NarrowWorld(link or Link(delay_us=25 * MILLISECOND))
    world.carries = {HERE: here, THERE: there}
    pair = Pair(world=world)
    pair.run(seconds)
    return pair, world


def size_of(connection: Connection | None) -> int:
    assert isinstance(connection, Quic)
    return connection.datagram_bytes


def sizes_of(pair: Pair) -> tuple[int, int]:
    return size_of(pair.client), size_of(pair.server)


def exchange(pair: Pair, seconds: float, count: int = 10) -> None:
    """Send pieces both ways, and expect all of them."""
    assert pair.server is not None
    before = len(pair.messages("client")), len(pair.messages("server"))
    for _ in range(count):
        for side in (pair.client, pair.server):
            side.send_independent(bytes(PIECE), pair.world.now + 60 * SECOND)
        pair.run(seconds / count)
    after = len(pair.messages("client")), len(pair.messages("server"))
    assert (after[0] - before[0], after[1] - before[1]) == (count, count)


def test_a_wide_path_gets_large_datagrams_both_ways() -> None:
    pair, world = call()
    exchange(pair, 3)
    assert sizes_of(pair) == (DATAGRAM_BYTES, DATAGRAM_BYTES)
    assert max(world.sent[HERE]) == max(world.sent[THERE]) == DATAGRAM_BYTES


def test_pieces_are_three_and_six_datagrams_however_long_the_connection() -> None:
    """Of 4 and 8 KiB, with header and signature; one more would be a sixth of all work."""
    pair, world = call()
    for number in range(5_000):  # Until the ids of streams have grown to four bytes.
        pair.client.send_independent(b"x", world.now + SECOND)
        if number % 50 == 0:
            pair.run(0.1)
    for size, count in ((PIECE, 6), (PIECE - 4_096, 3)):
        pair.run(1)
        world.sent[HERE].clear()
        pair.client.send_independent(bytes(size), world.now + SECOND)
        pair.run(1)
        assert len(world.sent[HERE]) == count
        assert sum(world.sent[HERE]) - size <= 37 * count, "headers, and the length of the message"


def test_a_tunnel_on_the_way_costs_a_fifth_of_a_second_and_nothing_else() -> None:
    pair, world = call(TUNNEL, TUNNEL, seconds=0.4)
    assert isinstance(pair.events["client"][0], Connected)
    pair.run(2)
    assert sizes_of(pair) == (DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MIN)
    large = sum(size > DATAGRAM_BYTES_MIN for size in world.sent[HERE])
    exchange(pair, 3)
    assert large <= 2
    assert sum(size > DATAGRAM_BYTES_MIN for size in world.sent[HERE] + world.sent[THERE]) == large


def test_who_was_called_through_a_tunnel_is_called_with_small_datagrams_next_time() -> None:
    pair, world = call(TUNNEL, TUNNEL)
    pair.client.close("again", world.now)
    pair.run(1)
    world.sent[HERE].clear()
    again = pair.client_end.connect(THERE, world.now)
    pair.run(0.12)
    assert again.state.name == "CONNECTED"
    assert max(world.sent[HERE]) == DATAGRAM_BYTES_MIN


def test_a_path_that_is_narrow_one_way_is_found_out_by_either_side() -> None:
    for here, there in ((TUNNEL, WIDE), (WIDE, TUNNEL)):
        pair, _ = call(here, there, seconds=0.9)
        assert pair.events["client"], f"{here} there, {there} back: no answer within 0.9 s"
        pair.run(2)
        exchange(pair, 3)
        assert sizes_of(pair) == (DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MIN)


def test_a_long_round_trip_is_not_taken_for_a_narrow_path() -> None:
    pair, _ = call(link=Link(delay_us=300 * MILLISECOND), seconds=5)
    assert sizes_of(pair) == (DATAGRAM_BYTES, DATAGRAM_BYTES)


def test_a_path_that_becomes_narrow_is_noticed_within_a_second() -> None:
    for quiet in (False, True):
        pair, world = call()
        assert pair.server is not None
        if not quiet:
            exchange(pair, 2)
        world.carries = {HERE: TUNNEL, THERE: TUNNEL}
        before = len(pair.messages("server"))
        for _ in range(6):
            pair.client.send_independent(bytes(PIECE), world.now + 10 * SECOND)
            pair.run(0.2)
        pair.run(1)
        assert len(pair.messages("server")) - before == 6
        assert size_of(pair.client) == DATAGRAM_BYTES_MIN
        world.sent[HERE].clear()
        exchange(pair, 4)
        assert max(world.sent[HERE]) == DATAGRAM_BYTES_MIN, "for good"


def test_a_lone_large_datagram_is_sent_again_in_small_ones() -> None:
    """Nothing comes after it, so only the probes of RFC 9002 section 6.2 tell."""
    pair, world = call()
    world.carries = {HERE: TUNNEL, THERE: TUNNEL}
    pair.client.send_independent(bytes(1_400), world.now + 10 * SECOND)
    pair.run(0.8)
    assert len(pair.messages("server")) == 1


def test_an_outage_is_no_narrow_path() -> None:
    pair, world = call()
    exchange(pair, 2)
    world.carries = {HERE: 0, THERE: 0}
    for _ in range(5):
        pair.client.send_independent(bytes(PIECE), world.now + 10 * SECOND)
        pair.run(0.2)
    world.carries = {HERE: WIDE, THERE: WIDE}
    pair.run(3)
    exchange(pair, 3)
    assert sizes_of(pair) == (DATAGRAM_BYTES, DATAGRAM_BYTES)


def test_losses_by_chance_are_no_narrow_path() -> None:
    """At 5 %, where a call may well be answered only the second time."""
    pair, world = call()
    for seed in range(5):
        world.rng.seed(seed)
        world.link = Link(delay_us=25 * MILLISECOND, loss=0.05)
        exchange(pair, 20, count=100)
        assert sizes_of(pair) == (DATAGRAM_BYTES, DATAGRAM_BYTES), f"seed {seed}"


def test_a_hole_is_black_only_if_nothing_large_comes_through() -> None:
    hole = BlackHole()
    for number in range(20):
        hole.on_lost(number, DATAGRAM_BYTES, number * SECOND, 100)
        hole.on_acked(number + 100, DATAGRAM_BYTES)
    hole.on_lost(50, DATAGRAM_BYTES, 30 * SECOND, 100)
    assert not hole.is_found, "what came was sent later"
    for number in range(200, 210):
        hole.on_lost(number, DATAGRAM_BYTES, 40 * SECOND, 100)
    assert not hole.is_found, "one burst"
    for number in range(210, 220):
        hole.on_lost(number, DATAGRAM_BYTES_MIN, 50 * SECOND, 100)
    assert not hole.is_found, "small ones tell nothing"
    hole.on_lost(220, DATAGRAM_BYTES, 60 * SECOND, 100)
    assert hole.is_found


def test_narrow_paths_are_forgotten_after_ten_minutes_and_when_there_are_too_many() -> None:
    sizes = PathSizes()
    sizes.on_connected("192.0.2.1", DATAGRAM_BYTES_MIN, 0)
    sizes.on_connected("192.0.2.2", DATAGRAM_BYTES, 0)
    assert sizes.size_for("192.0.2.1", REMEMBERED_US - 1) == DATAGRAM_BYTES_MIN
    assert sizes.size_for("192.0.2.2", 0) == DATAGRAM_BYTES
    assert sizes.size_for("192.0.2.1", REMEMBERED_US) == DATAGRAM_BYTES
    for number in range(HOSTS_MAX):
        sizes.on_connected(f"host {number}", DATAGRAM_BYTES_MIN, 0)
        sizes.on_connected("192.0.2.2", DATAGRAM_BYTES, 0)
    assert sizes.size_for("192.0.2.1", 1) == DATAGRAM_BYTES
    assert sizes.size_for("host 0", 1) == DATAGRAM_BYTES_MIN


def test_who_sits_behind_a_tunnel_calls_nobody_with_large_datagrams() -> None:
    sizes = PathSizes()
    for number in range(3):
        assert sizes.size_for("192.0.2.9", 0) == DATAGRAM_BYTES
        sizes.on_connected(f"192.0.2.{number}", DATAGRAM_BYTES_MIN, 0)
    assert sizes.size_for("192.0.2.9", 1) == DATAGRAM_BYTES_MIN
    assert sizes.size_for("192.0.2.9", REMEMBERED_US) == DATAGRAM_BYTES, "it is tried anew"


def test_ordered_messages_go_through_a_tunnel_that_appears() -> None:
    pair, world = call()
    assert pair.server is not None
    wanted = [GREETING, *[bytes([number]) * 3_000 for number in range(20)]]
    for message in wanted:
        if message == wanted[5]:
            world.carries = {HERE: TUNNEL, THERE: TUNNEL}
        pair.client.send(message)
        pair.run(0.1)
    pair.run(2)
    assert pair.messages("server") == wanted
