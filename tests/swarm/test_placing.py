"""Whose bytes are in a piece: blocks are read straight into it, from several peers, some lying.

A state machine plays the peers, message by message and cut anywhere. What it checks:
every block of a submitted piece was sent so, whole, for that place; nobody writes to a piece that
was submitted; who tells the truth is never banned; and one honest peer is enough in the end.
"""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from livestream.config import SwarmConfig
from livestream.machine import MILLISECOND, SECOND, Address
from livestream.pieces.assembly import BLOCK_BYTES
from livestream.swarm.blocks import BlockSeams, BlockSwarm
from livestream.swarm.swarm import PeerBanned
from livestream.torrent.choker import TitForTat
from livestream.torrent.picker import RarestFirst
from livestream.transport.connection import (
    BlocksPlaced,
    BlocksReceived,
    ConnectionState,
    Disconnected,
    MessageReceived,
    RequestsReceived,
)
from livestream.transport.stream import Stream
from livestream.wire.messages import (
    EXTENDED_BIT,
    FAST_BIT,
    HANDSHAKE_SIZE,
    AllowedFast,
    Cancel,
    Choke,
    Handshake,
    Have,
    HaveAll,
    Message,
    Piece,
    Reject,
    Request,
    Unchoke,
    parse,
)
from tests.swarm.memory import BLOCKS, PIECE_BYTES, MemoryStore

COUNT = 16
INFO_HASH = b"h" * 20
PEERS = 3
Block = tuple[int, int]

numbers = st.integers(0, PEERS - 1)
pieces = st.integers(0, COUNT - 1)


def truth(index: int, begin: int) -> bytes:
    return (b"%d/%d;" % (index, begin) * BLOCK_BYTES)[:BLOCK_BYTES]


class KeptStore(MemoryStore):
    """Keeps the buffers themselves: somebody may write to them still."""

    def __init__(self) -> None:
        super().__init__(COUNT)
        self.hashing: list[tuple[int, bytearray, bytes]] = []

    def submit(self, index: int, buffer: bytearray) -> None:
        self.hashing.append((index, buffer, bytes(buffer)))


class Remote:
    """The other end of one stream."""

    def __init__(self, number: int, *, lies: bool, is_fast: bool, now: int) -> None:
        address = Address(f"10.0.{number // 250}.{number % 250 + 1}", 6881)
        self.number = number
        self.lies = lies
        self.is_fast = is_fast
        self.answers_cancels = True
        self.stream = Stream(address, lambda changed: None, now, is_outgoing=True)
        self.stream.connected(now)
        self.out = bytearray()
        "What it has said and we have not read."
        self.heard = bytearray()
        self.wanted: list[Request] = []
        self.given: list[Block] = []
        reserved = EXTENDED_BIT | (FAST_BIT if is_fast else 0)
        self.out += Handshake(INFO_HASH, b"%020d" % number, reserved).to_bytes()
        self._has_handshake = False

    def say(self, message: Message) -> None:
        data = message.to_bytes()
        self.out += len(data).to_bytes(4, "big") + data

    def listen(self, now: int) -> None:
        """Take what we say."""
        for train in self.stream.trains_to_send(now):
            self.heard += train.data
        if not self._has_handshake and len(self.heard) >= HANDSHAKE_SIZE:
            self._has_handshake = True
            del self.heard[:HANDSHAKE_SIZE]
        while len(self.heard) >= 4 and self._has_handshake:
            length = int.from_bytes(self.heard[:4], "big")
            message = parse(bytes(self.heard[4 : 4 + length])) if length else None
            del self.heard[: 4 + length]
            if isinstance(message, Request):
                self.wanted.append(message)
            elif isinstance(message, Cancel):
                self._cancel(Request(message.index, message.begin, message.length))

    def _cancel(self, request: Request) -> None:
        if self.answers_cancels and request in self.wanted:
            self.wanted.remove(request)
            if self.is_fast:
                self.say(Reject(request.index, request.begin, request.length))


class Placing(RuleBasedStateMachine):
    """One swarm of ours, and three others at a time."""

    @initialize(seed=st.integers(0, 1_000), liars=st.sets(numbers, max_size=2))
    def start(self, seed: int, liars: set[int]) -> None:
        self.rng = Random(seed)
        self.store = KeptStore()
        picker = RarestFirst(COUNT, self.rng)
        seams = BlockSeams(self.store, picker, TitForTat(self.rng))
        config = SwarmConfig(silence_max_us=10_000 * SECOND)
        self.swarm = BlockSwarm(INFO_HASH, b"o" * 32, seams, config, self.rng)
        self.now = 0
        self.met = 0
        self.sent: set[tuple[int, int, bytes]] = set()
        self.honest: set[Address] = set()
        self.remotes: list[Remote] = []
        for number in range(PEERS):
            self.meet(number, lies=number in liars)

    # What happens

    @rule(number=numbers, count=st.integers(1, 6), way=st.sampled_from(["next", "last", "any"]))
    def give(self, number: int, count: int, way: str) -> None:
        remote = self.remotes[number]
        for _ in range(min(count, len(remote.wanted))):
            at = {"next": 0, "last": -1, "any": self.rng.randrange(len(remote.wanted))}[way]
            request = remote.wanted.pop(at)
            self.send_block(remote, request.index, request.begin)

    @rule(
        number=numbers,
        count=st.integers(1, 12),
        way=st.sampled_from(["next", "last", "any"]),
        left=st.sampled_from([0, 0, 5, 3_000, 16_390, 20_000]),
    )
    def trade(self, number: int, count: int, way: str, left: int) -> None:
        """Blocks come at once, but for the last bytes of them."""
        remote = self.remotes[number]
        self.give(number, count, way)
        self.deliver(remote, max(0, len(remote.out) - left))

    @rule(numbers=st.permutations(range(PEERS)))
    def trade_all(self, numbers: list[int]) -> None:
        for number in numbers:
            self.trade(number, 4, "next", 0)
        self.wait(10)

    @rule(number=numbers)
    def repeat(self, number: int) -> None:
        remote = self.remotes[number]
        if remote.given:
            self.send_block(remote, *self.rng.choice(remote.given))

    @rule(number=numbers, index=pieces, block=st.integers(0, BLOCKS - 1))
    def give_unasked(self, number: int, index: int, block: int) -> None:
        self.send_block(self.remotes[number], index, block * BLOCK_BYTES)

    @rule(number=numbers, index=pieces, length=st.integers(1, BLOCK_BYTES - 1))
    def give_short(self, number: int, index: int, length: int) -> None:
        remote = self.remotes[number]
        if remote.lies:
            remote.say(Piece(index, 0, bytes(length)))

    @rule(
        number=numbers,
        count=st.integers(1, 90_000) | st.sampled_from([4, 13, 16_397]),
        has_events_late=st.booleans(),
    )
    def read(self, number: int, count: int, has_events_late: bool) -> None:
        self.deliver(self.remotes[number], count, has_events_late=has_events_late)

    @rule(number=numbers)
    def read_nothing(self, number: int) -> None:
        stream = self.remotes[number].stream
        stream.spaces()
        stream.filled(0, self.now)
        self.settle(stream)

    @rule(number=numbers)
    def choke(self, number: int) -> None:
        remote = self.remotes[number]
        remote.say(Choke())
        requests, remote.wanted = remote.wanted, []
        for request in requests if remote.is_fast else ():
            remote.say(Reject(request.index, request.begin, request.length))

    @rule(number=numbers)
    def unchoke(self, number: int) -> None:
        self.remotes[number].say(Unchoke())

    @rule(number=numbers)
    def reject(self, number: int) -> None:
        remote = self.remotes[number]
        if remote.is_fast and remote.wanted:
            request = remote.wanted.pop(self.rng.randrange(len(remote.wanted)))
            remote.say(Reject(request.index, request.begin, request.length))

    @rule(number=numbers, index=pieces)
    def talk(self, number: int, index: int) -> None:
        remote = self.remotes[number]
        remote.say(Have(index))
        if remote.is_fast:
            remote.say(AllowedFast(index))

    @rule(number=numbers, answers=st.booleans())
    def change_manners(self, number: int, answers: bool) -> None:
        self.remotes[number].answers_cancels = answers

    @rule(number=numbers, lies=st.booleans())
    def leave(self, number: int, lies: bool) -> None:
        self.remotes[number].stream.lost("hung up")
        self.hear(self.remotes[number].stream)
        self.meet(number, lies=lies)

    @precondition(lambda self: self.store.hashing)
    @rule(last=st.booleans())
    def verify(self, last: bool) -> None:
        index, buffer, submitted = self.store.hashing.pop(-1 if last else 0)
        assert buffer == submitted, f"piece {index} was written to after it was submitted"
        is_genuine = True
        for begin in range(0, PIECE_BYTES, BLOCK_BYTES):
            data = submitted[begin : begin + BLOCK_BYTES]
            assert (index, begin, data) in self.sent, f"nobody sent {index}/{begin} so"
            is_genuine &= data == truth(index, begin)
        if is_genuine:
            self.store.held.add(index)
        self.swarm.on_verified(index, is_genuine=is_genuine, now=self.now)
        self.hear_all()

    @rule(ms=st.sampled_from([10, 10, 1_000, 1_000, 2_000, 21_000, 61_000]))
    def wait(self, ms: int) -> None:
        end = self.now + ms * MILLISECOND
        while (at := self.swarm.get_timer()) is not None and at <= end:
            self.now = max(self.now, at)
            self.swarm.handle_timer(self.now)
        self.now = end
        self.hear_all()

    @rule(indexes=st.lists(pieces, max_size=3, unique=True), is_jump=st.booleans())
    def hurry(self, indexes: list[int], is_jump: bool) -> None:
        wanted = [index for index in indexes if index not in self.store.held]
        self.swarm.set_urgent(wanted, self.now, is_jump=is_jump)
        self.hear_all()

    def teardown(self) -> None:
        """An honest peer comes, and the others do nothing more: all pieces come in the end."""
        if not hasattr(self, "swarm"):
            return
        helper = self.meet(PEERS, lies=False)
        for _ in range(60):
            if self.swarm.is_complete:
                break
            for _ in range(8):
                while helper.wanted:
                    request = helper.wanted.pop(0)
                    self.send_block(helper, request.index, request.begin)
                self.deliver(helper, 1 << 20)
                while self.store.hashing:
                    self.verify(last=False)
            self.wait(5_000)
        assert self.swarm.is_complete, f"stalls at {self.store.held.held} of {COUNT} pieces"

    # How

    def meet(self, number: int, *, lies: bool) -> Remote:
        self.met += 1
        remote = Remote(self.met, lies=lies, is_fast=self.met % 3 != 0, now=self.now)
        self.remotes[number : number + 1] = [remote]
        if not lies:
            self.honest.add(remote.stream.address)
        assert self.swarm.greet(remote.stream, b"", self.now) is not None
        if remote.is_fast:
            remote.say(HaveAll())
        else:
            for index in range(COUNT):
                remote.say(Have(index))
        remote.say(Unchoke())
        self.deliver(remote, 1 << 20)
        return remote

    def send_block(self, remote: Remote, index: int, begin: int) -> None:
        data = truth(index, begin)
        if remote.lies and self.rng.random() < 0.7:
            serial = b"%d:%d;" % (remote.number, len(self.sent))
            data = (serial * BLOCK_BYTES)[:BLOCK_BYTES]
        self.sent.add((index, begin, data))
        remote.given.append((index, begin))
        remote.say(Piece(index, begin, data))

    def deliver(self, remote: Remote, count: int, *, has_events_late: bool = False) -> None:
        """Read as the driver does; or as the one of capped downloads does, events at the end."""
        data = bytes(remote.out[:count])
        del remote.out[:count]
        if has_events_late:
            remote.stream.receive_data(data, self.now)
            self.settle(remote.stream)
            return
        view = memoryview(data)
        while view and remote.stream.state is ConnectionState.CONNECTED:
            view = view[remote.stream.receive_some(view, self.now) :]
            self.settle(remote.stream)

    def settle(self, stream: Stream) -> None:
        self.hear(stream)
        stream.rewind()
        self.hear_all()

    def hear(self, stream: Stream) -> None:
        peer = self.swarm.peers.get(stream)
        while (event := stream.next_event()) is not None:
            if peer is None:
                continue
            if isinstance(event, (BlocksPlaced, BlocksReceived, RequestsReceived)):
                self.swarm.receive_run(peer, event, self.now)
            elif isinstance(event, MessageReceived):
                self.swarm.receive_message(peer, event.data, self.now)
            elif isinstance(event, Disconnected):
                self.swarm.on_disconnected(peer, event.reason, self.now)

    def hear_all(self) -> None:
        """Everybody listens to us; who was let go comes back as somebody else."""
        while (event := self.swarm.next_event()) is not None:
            if isinstance(event, PeerBanned):
                address = event.peer.connection.address
                assert address not in self.honest, f"{address} told the truth: {event.reason}"
        for number, remote in enumerate(self.remotes):
            remote.listen(self.now)
            if remote.stream.state is ConnectionState.CLOSED:
                self.hear(remote.stream)
                self.meet(number, lies=False)


Placing.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, derandomize=True
)
TestPlacing = Placing.TestCase
