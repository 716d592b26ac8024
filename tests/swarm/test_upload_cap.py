"""`--max-up`: what leaves by TCP is paid for, be it blocks or answers of another kind."""

from __future__ import annotations

from random import Random

from livestream.config import SwarmConfig, TransportConfig
from livestream.live.channel import Channel
from livestream.machine import MILLISECOND, SECOND, Address
from livestream.swarm.blocks import BlockSeams, BlockSwarm
from livestream.swarm.hashes import HashServe
from livestream.swarm.node import ANSWERS_SHARE, BURST_BYTES_MIN, BURST_SECONDS, Node
from livestream.torrent.choker import TitForTat
from livestream.torrent.picker import RarestFirst
from livestream.transport.quics import QuicEndpoint
from livestream.wire.framing import frame
from livestream.wire.hashes import HashRequest
from livestream.wire.messages import Handshake, Interested, Message, Request
from tests.swarm.memory import BLOCKS, PIECE_BYTES, MemoryStore
from tests.swarm.test_hashes import BASE, layers
from tests.transport.identity import identity
from tests.world import Link, World

COUNT = 40
INFO_HASH = b"h" * 20
CAP_BPS = 1_000_000
SECONDS = 10
ALLOWED = CAP_BPS // 8 * (SECONDS + 1)  # And what a pause earns, and one batch.


def bytes_sent(
    *said: Message, cap_bps: int = CAP_BPS, duration_us: int = SECONDS * SECOND, booked: int = 0
) -> int:
    """Return what a capped seed sends to a peer that reads all, and says this at the beginning.

    Of the cap, so many bytes were taken by others before.
    """
    rng, me = Random(1), identity(1)
    config = SwarmConfig(upload_bps=cap_bps, silence_max_us=60 * SECOND)
    store, picker = MemoryStore(COUNT), RarestFirst(COUNT, rng)
    store.held.fill()
    for index in range(COUNT):
        picker.close(index)
    seams = BlockSeams(store, picker, TitForTat(rng))
    swarm = BlockSwarm(INFO_HASH, me.public_key, seams, config, rng)
    swarm.hashes = HashServe(layers(700), BASE, upload_bps=cap_bps)
    node = Node(me, rng, swarm=config)
    node.add_swarm(swarm, 0)
    node.book(booked, 0)
    stream = node.streams.accept(Address("192.0.2.1", 6881), 0)
    assert stream is not None
    stream.receive_data(Handshake(INFO_HASH, b"-XX0000-somebody____").to_bytes(), 0)
    node.handle_streams(0)
    stream.receive_data(b"".join(frame(message.to_bytes()) for message in said), 0)
    node.handle_streams(0)
    sent = 0
    for now in range(0, duration_us, min(duration_us, 20 * MILLISECOND)):
        node.handle_timer(now)
        node.trains_to_send(now)
        while buffers := stream.buffers_to_send():
            size = sum(map(len, buffers))
            stream.sent(size, now)
            sent += size
    return sent


def test_a_seed_under_a_cap_sends_as_much_as_it_may_and_no_more() -> None:
    wanted = [Request(n, b * 16_384, 16_384) for n in range(COUNT) for b in range(BLOCKS)]
    sent = bytes_sent(Interested(), *wanted)
    assert COUNT * PIECE_BYTES > ALLOWED
    assert 0.95 * CAP_BPS / 8 * SECONDS < sent <= ALLOWED


def test_answers_about_hashes_are_under_the_cap_and_blocks_make_room_for_them() -> None:
    (root,) = layers(700)
    hashes = [HashRequest(root, BASE, 0, 512, 9)] * 200
    assert 0.9 * CAP_BPS / 8 * SECONDS < bytes_sent(*hashes) <= ALLOWED
    wanted = [Request(n, b * 16_384, 16_384) for n in range(COUNT) for b in range(BLOCKS)]
    assert bytes_sent(Interested(), *hashes, *wanted) <= ALLOWED + CAP_BPS // 8


def test_a_cap_that_is_used_up_wakes_nobody_who_has_nothing_to_give() -> None:
    rng, me = Random(1), identity(1)
    config = SwarmConfig(upload_bps=CAP_BPS)
    channel = Channel(b"k" * 32, me.public_key, 0, rng, swarm=config)
    node = Node(me, rng, swarm=config)
    node.add_swarm(channel.swarm, 0)
    node.handle_timer(0)
    looks_at = node.get_timer()
    node.book(16_384 + CAP_BPS // 80, 0)  # What it may send at once, and a tenth of a second.
    node.trains_to_send(0)
    assert looks_at is not None
    assert looks_at > 100 * MILLISECOND
    assert node.get_timer() == looks_at


def test_after_a_pause_a_capped_node_sends_no_more_than_a_line_s_queue_at_once() -> None:
    """What waits in the line cannot be overtaken by what is more urgent."""
    cap_bps = 16_000_000
    wanted = [Request(n, b * 16_384, 16_384) for n in range(COUNT) for b in range(BLOCKS)]
    sent = bytes_sent(Interested(), *wanted, cap_bps=cap_bps, duration_us=1)
    burst = int(cap_bps / 8 * BURST_SECONDS)
    assert 0.9 * burst <= sent <= burst + PIECE_BYTES


def test_what_leaves_by_other_ways_is_taken_from_the_cap() -> None:
    wanted = [Request(n, b * 16_384, 16_384) for n in range(COUNT) for b in range(BLOCKS)]
    booked = CAP_BPS // 8 * 4
    without, sent = (
        bytes_sent(Interested(), *wanted),
        bytes_sent(Interested(), *wanted, booked=booked),
    )
    assert abs(without - sent - booked) <= 2 * PIECE_BYTES


def test_a_crowd_that_calls_gets_a_fifth_of_the_cap_and_what_a_pause_earns() -> None:
    me = identity(2)
    node = Node(me, Random(1), swarm=SwarmConfig(upload_bps=CAP_BPS))
    world = World(1, Link())
    world.add(Address("192.0.2.1", 6881), node)
    for number in range(80):
        caller = QuicEndpoint(identity(1), TransportConfig(), Random(number))
        world.add(Address("192.0.2.9", 1024 + number), caller)
        caller.connect(Address("192.0.2.1", 6881), world.now)
        world.run_until(world.now + SECOND // 40)
    allowed = 2 * ANSWERS_SHARE * CAP_BPS / 8 + BURST_BYTES_MIN
    assert 0.4 * allowed < node.wire_bytes_out < 1.1 * allowed
