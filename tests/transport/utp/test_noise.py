"""Whatever comes to the socket, in whatever order: the endpoint stays up, small and quiet."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.config import TransportConfig
from livestream.machine import SECOND, Address, Machine, Train
from livestream.transport.connection import BlocksReceived, Connected, Connection, ConnectionState
from livestream.transport.endpoint import Endpoint
from livestream.transport.utp.endpoint import EARLY_BYTES_MAX, UtpEndpoint
from livestream.transport.utp.packet import HEADER_BYTES, Packet, PacketType
from tests.transport.identity import identity
from tests.transport.utp.pair import GREETING, HERE
from tests.transport.utp.test_allowance import Budget

THERE = Address("192.0.2.2", 2000)
CONNECTIONS_MAX = 12
IDLE_STEPS_MAX = 50  # Wake-ups at one instant: more are an endless loop.


@dataclass(frozen=True)
class Step:
    """Something that happens to the endpoint."""

    kind: str
    data: bytes
    number: int
    datagram_size: int


class Target:
    """An endpoint with a genuine peer, into whose talk anything is mixed.

    Invariant: what `check` says.
    """

    def __init__(self, seed: int) -> None:
        self.now = SECOND
        self.rng = Random(seed)
        config = TransportConfig(connections_max=CONNECTIONS_MAX)
        allowance = Budget() if seed % 2 else None
        self.endpoint = Endpoint(identity(1), config, Random(seed), allowance)
        self.peer = UtpEndpoint(TransportConfig(), Random(seed + 1))
        self.stream = self.peer.connect(THERE, self.now)
        self.stream.send(GREETING)
        self.accepted: list[Connection] = []
        self.held: list[Train] = []
        self.machines: list[Machine] = [self.endpoint, self.peer]
        self.exchange()

    def play(self, steps: list[Step]) -> None:
        """Let everything happen; then we hang up, and nobody answers any more."""
        for step in steps:
            self.act(step)
            self.exchange()
            self.check()
        self.machines = [self.endpoint]
        for connection in self.accepted:
            connection.close("done", self.now)
        self.wait(60 * SECOND)
        assert self.endpoint.utp.connection_count == 0
        assert self.endpoint.utp.early_bytes_left == EARLY_BYTES_MAX

    def act(self, step: Step) -> None:
        data, number = step.data, step.number
        if step.kind == "wait":
            self.wait(number % (40 * SECOND))
        elif step.kind == "talk":
            for stream in (self.stream, *self.accepted):
                if stream.state is not ConnectionState.CLOSED:
                    stream.send(b"\x14" + bytes(number % 20_000))
        elif step.kind == "close":
            for connection in self.accepted[-1:]:
                connection.close("done", self.now)
        elif step.kind == "packet":
            self.receive(self.forged(number, data), step.datagram_size)
        elif step.kind == "train":
            packets = [self.forged(number + row, data) for row in range(number % 8)]
            size = max(map(len, packets), default=1)
            self.receive(b"".join(each.ljust(size, b"x") for each in packets), size)
        elif step.kind == "mutated":
            self.receive(self.mutated(number, data), step.datagram_size)
        else:
            self.receive(data, step.datagram_size)

    def mutated(self, number: int, places: bytes) -> bytes:
        """Return one of the peer's trains of late with a few bits changed."""
        copy = bytearray(self.held[number % len(self.held)].data)
        for at in places[:4]:
            copy[at % min(24, len(copy))] ^= 1 << (number % 8)
        return bytes(copy)

    def forged(self, number: int, payload: bytes) -> bytes:
        """Return a packet that names the genuine connection, more or less."""
        genuine = int.from_bytes(self.held[0].data[2:4], "big")
        latest = int.from_bytes(self.held[-1].data[16:18], "big")
        pick = Random(number)
        return Packet(
            PacketType(pick.choice([0] * 20 + [2] * 12 + [1, 3, 4])),
            (genuine + pick.randrange(-1, 3)) & 0xFFFF,
            pick.getrandbits(32),
            pick.getrandbits(32),
            pick.choice([0, 1, 5_000, 0xFFFFFFFF]),
            pick.choice([latest + pick.randrange(-2, 9), latest + 1, 700, pick.getrandbits(16)]),
            int.from_bytes(self.held[-1].data[18:20], "big") + pick.randrange(-2, 3),
            pick.choice([0, 1, pick.getrandbits(60)]),
            payload,
        ).to_bytes()

    def receive(self, data: bytes, datagram_size: int) -> None:
        train = Train(HERE, data, max(1, min(datagram_size, len(data))))
        self.endpoint.receive_train(train, self.now)

    def exchange(self) -> None:
        """Let both sides say what they want to; each row that the peer sends is held, too."""
        for _ in range(20):
            is_alone = self.peer not in self.machines
            there = [] if is_alone else self.peer.trains_to_send(self.now)
            for train in there:
                self.held = [*self.held[-40:], train]
                self.endpoint.receive_train(Train(HERE, train.data, train.datagram_size), self.now)
            here = self.endpoint.trains_to_send(self.now)
            self.read()
            for train in here:
                if train.address == HERE and not is_alone:
                    self.peer.receive_train(Train(THERE, train.data, train.datagram_size), self.now)
            while self.peer.next_event() is not None:
                pass
            if not there and not here:
                return

    def read(self) -> None:
        while (report := self.endpoint.next_event()) is not None:
            if isinstance(report.event, Connected):
                self.accepted.append(report.connection)
            if isinstance(report.event, BlocksReceived):
                assert all(len(data) for _, _, data in report.event.blocks)

    def wait(self, us: int) -> None:
        """Let time pass for both."""
        end, idle = self.now + us, 0
        while timers := [at for each in self.machines if (at := each.get_timer()) is not None]:
            if min(timers) > end:
                break
            idle = idle + 1 if min(timers) <= self.now else 0
            assert idle < IDLE_STEPS_MAX, "a timer that does not move"
            self.now = max(self.now, min(timers))
            for machine in self.machines:
                machine.handle_timer(self.now)
            self.exchange()
        self.now = end

    def check(self) -> None:
        utp = self.endpoint.utp
        assert utp.connection_count <= CONNECTIONS_MAX
        assert 0 <= utp.early_bytes_left <= EARLY_BYTES_MAX


steps = st.builds(
    Step,
    kind=st.sampled_from(["wait", "talk", "packet", "train", "mutated", "bytes", "close"]),
    data=st.binary(max_size=120),
    number=st.integers(0, (1 << 40) - 1),
    datagram_size=st.sampled_from([1, 19, HEADER_BYTES, 21, 40, 1_400]),
)


@given(st.lists(steps, max_size=25), st.integers(0, 5))
def test_any_sequence_of_bytes_packets_and_time_is_survived(
    sequence: list[Step], seed: int
) -> None:
    Target(seed).play(sequence)


SEEDS = [pytest.param(60, id="short"), pytest.param(1_500, id="long", marks=pytest.mark.long)]


@pytest.mark.parametrize("count", SEEDS)
def test_long_sequences_are_survived(count: int) -> None:
    kinds = ["wait", *["talk"] * 3, *["packet"] * 6, *["train"] * 6, *["mutated"] * 6, "bytes"]
    for seed in range(count):
        rng = Random(seed)
        Target(seed).play(
            [
                Step(
                    "close" if rng.random() < 0.01 else rng.choice(kinds),
                    rng.randbytes(rng.choice([0, 4, 20, 60, 1_300])),
                    rng.getrandbits(40) if rng.random() < 0.3 else rng.randrange(SECOND),
                    rng.choice([1, 20, 21, 24, 40, 1_400]),
                )
                for _ in range(60)
            ]
        )
