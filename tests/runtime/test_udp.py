"""UDP in trains and without: what one socket sends, another receives whole and in order."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from livestream.errors import NetworkError
from livestream.machine import MILLISECOND, SECOND, Address, Event, Machine, Train
from livestream.runtime.clock import Clock
from livestream.runtime.rests import BUSY_BYTES
from livestream.runtime.udp import BATCH_BYTES, UdpDriver

HERE = Address("127.0.0.1", 0)
# The last two are more than one sendmsg carries, in datagrams and in bytes.
TRAINS = [(1_200, 40), (1_200, 3), (700, 1), (1, 5), (1_350, 44), (20, 130), (1_400, 100)]


class Mailbox(Machine):
    """Sends what it is given; keeps what comes, datagram by datagram."""

    def __init__(self) -> None:
        self.outgoing: deque[Train] = deque()
        self.received: list[bytes] = []
        self.arrived = asyncio.Event()

    def receive_train(self, train: Train, now: int) -> None:
        self.received += [bytes(datagram) for datagram in train.datagrams()]
        self.arrived.set()

    def trains_to_send(self, now: int) -> list[Train]:
        trains = list(self.outgoing)
        self.outgoing.clear()
        return trains

    def get_timer(self) -> int | None:
        return None

    def handle_timer(self, now: int) -> None:
        """Nothing is due."""

    def next_event(self) -> Event | None:
        return None

    async def until(self, count: int) -> None:
        while len(self.received) < count:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 10)


def datagrams_of(size: int, count: int, start: int) -> list[bytes]:
    """Distinct datagrams of one size, the last a little shorter where it can be."""
    made = [bytes([(start + n) % 256]) * size for n in range(count)]
    made[-1] = made[-1][: max(1, size - 3)]
    return made


@pytest.mark.parametrize("sends_trains", [True, False])
@pytest.mark.parametrize("receives_trains", [True, False])
def test_trains_of_all_sizes_arrive_whole_and_in_order(
    sends_trains: bool, receives_trains: bool
) -> None:
    async def run() -> None:
        sender, receiver = Mailbox(), Mailbox()
        sending = UdpDriver(sender, Clock(), lambda event: None, use_trains=sends_trains)
        receiving = UdpDriver(receiver, Clock(), lambda event: None, use_trains=receives_trains)
        await sending.open(HERE)
        to = await receiving.open(HERE)
        sent: list[bytes] = []
        for size, count in TRAINS:
            made = datagrams_of(size, count, len(sent))
            sent += made
            sender.outgoing.append(Train(to, b"".join(made), size))
        sending.drain()
        await receiver.until(len(sent))
        assert receiver.received == sent
        sending.close()
        receiving.close()

    asyncio.run(run())


def test_a_peer_that_is_gone_does_not_end_the_socket_nor_cost_others_a_datagram() -> None:
    async def run() -> None:
        sender, receiver = Mailbox(), Mailbox()
        sending = UdpDriver(sender, Clock(), lambda event: None)
        await sending.open(HERE)
        gone = UdpDriver(Mailbox(), Clock(), lambda event: None)
        nobody = await gone.open(HERE)
        gone.close()
        receiving = UdpDriver(receiver, Clock(), lambda event: None)
        to = await receiving.open(HERE)
        for _ in range(20):
            for address in (nobody, to):
                sender.outgoing.append(Train(address, b"hello" * 3, 5))
                sending.drain()
                await asyncio.sleep(0)
        await receiver.until(60)
        assert receiver.received == [b"hello"] * 60
        sending.close()
        receiving.close()

    asyncio.run(run())


def test_addresses_that_no_datagram_can_reach_cost_a_datagram_and_nothing_else() -> None:
    """Strangers name them: peers, trackers and links do."""

    async def run() -> None:
        sender, receiver = Mailbox(), Mailbox()
        sending = UdpDriver(sender, Clock(), lambda event: None, use_trains=True)
        await sending.open(HERE)
        receiving = UdpDriver(receiver, Clock(), lambda event: None)
        to = await receiving.open(HERE)
        unreachable = [Address("::1", 9), Address("fe80::1", 9), Address("255.255.255.255", 9)]
        for address in unreachable:
            sender.outgoing.append(Train(address, b"x" * 20, 10))
        sender.outgoing.append(Train(to, bytes(70_000), 70_000))  # No datagram is as long.
        sender.outgoing.append(Train(to, b"hello", 5))
        sending.drain()
        await receiver.until(1)
        assert receiver.received == [b"hello"]
        assert sending.stats.trains_lost == len(unreachable) + 1
        sending.close()
        receiving.close()

    asyncio.run(run())


def test_a_machine_that_raises_is_reported_and_not_swallowed() -> None:
    class Broken(Mailbox):
        def receive_train(self, train: Train, now: int) -> None:
            raise ZeroDivisionError

    async def run() -> None:
        sender = Mailbox()
        sending = UdpDriver(sender, Clock(), lambda event: None)
        await sending.open(HERE)
        broken = UdpDriver(Broken(), Clock(), lambda event: None)
        to = await broken.open(HERE)
        sender.outgoing.append(Train(to, b"hello", 5))
        sending.drain()
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(broken.failed(), 10)
        sending.close()
        broken.close()

    asyncio.run(run())


def test_a_port_in_use_is_a_clear_error() -> None:
    async def run() -> None:
        first = UdpDriver(Mailbox(), Clock(), lambda event: None)
        taken = await first.open(HERE)
        second = UdpDriver(Mailbox(), Clock(), lambda event: None)
        with pytest.raises(NetworkError, match=str(taken.port)):
            await second.open(taken)
        first.close()

    asyncio.run(run())


class StoppedClock(Clock):
    """Whoever rests by it never ceases, unless a timer of the loop's wakes them."""

    def now(self) -> int:
        return 1


def test_what_comes_during_a_rest_is_handled_in_one_turn() -> None:
    turns: list[int] = []

    async def run() -> None:
        sender, receiver = Mailbox(), Mailbox()
        sending = UdpDriver(sender, Clock(), lambda event: None)
        await sending.open(HERE)
        receiving = UdpDriver(
            receiver,
            StoppedClock(),
            lambda event: None,
            on_turn=lambda: turns.append(len(receiver.received)),
            rest_us=10 * MILLISECOND,
        )
        to = await receiving.open(HERE)
        for number in range(4):
            sender.outgoing.append(Train(to, bytes([number]) * 100, 100))
            sending.drain()
            if number == 0:
                await receiver.until(1)
        await receiver.until(4)
        sending.close()
        receiving.close()

    asyncio.run(run())
    assert turns == [1, 4]


def test_who_receives_much_does_not_rest() -> None:
    async def run() -> None:
        sender, receiver = Mailbox(), Mailbox()
        sending = UdpDriver(sender, Clock(), lambda event: None)
        await sending.open(HERE)
        receiving = UdpDriver(receiver, StoppedClock(), lambda event: None, rest_us=3600 * SECOND)
        to = await receiving.open(HERE)
        for number in range(3):
            sender.outgoing.append(Train(to, bytes(BUSY_BYTES), BUSY_BYTES))
            sending.drain()
            await receiver.until(number + 1)
        sending.close()
        receiving.close()

    asyncio.run(run())


class Alarm(Mailbox):
    """Wants to be woken once, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.timer: int | None = None
        self.rang = asyncio.Event()

    def receive_train(self, train: Train, now: int) -> None:
        super().receive_train(train, now)
        self.timer = now

    def get_timer(self) -> int | None:
        return self.timer

    def handle_timer(self, now: int) -> None:
        self.timer = None
        self.rang.set()


def test_a_timer_that_is_due_during_a_rest_goes_off_after_it() -> None:
    async def run() -> None:
        sender, receiver = Mailbox(), Alarm()
        sending = UdpDriver(sender, Clock(), lambda event: None)
        await sending.open(HERE)
        receiving = UdpDriver(
            receiver, StoppedClock(), lambda event: None, rest_us=10 * MILLISECOND
        )
        to = await receiving.open(HERE)
        sender.outgoing.append(Train(to, b"hello", 5))
        sending.drain()
        await receiver.until(1)
        await asyncio.wait_for(receiver.rang.wait(), 10)
        sending.close()
        receiving.close()

    asyncio.run(run())


class Sleeper(Alarm):
    """Wants to be woken once, and puts that off before it is due."""

    def put_off(self, to: int) -> None:
        self.timer = to

    def handle_timer(self, now: int) -> None:
        assert self.timer is not None
        assert now >= self.timer
        super().handle_timer(now)


def test_a_timer_that_is_put_off_goes_off_when_it_is_due() -> None:
    async def run() -> None:
        clock, machine = Clock(), Sleeper()
        driver = UdpDriver(machine, clock, lambda event: None)
        await driver.open(HERE)
        for wait_us in (10 * MILLISECOND, 30 * MILLISECOND, 20 * MILLISECOND):
            machine.put_off(clock.now() + wait_us)
            driver.drain()
        await asyncio.wait_for(machine.rang.wait(), 10)
        driver.close()

    asyncio.run(run())


class Hoard(Mailbox):
    """Gives what it has to send train by train."""

    def trains_to_send(self, now: int) -> list[Train]:
        return [self.outgoing.popleft()] if self.outgoing else []


def test_who_gives_much_in_parts_is_asked_until_all_is_sent() -> None:
    async def run() -> None:
        sender, receiver = Hoard(), Mailbox()
        sending = UdpDriver(sender, Clock(), lambda event: None)
        receiving = UdpDriver(receiver, Clock(), lambda event: None)
        await sending.open(HERE)
        to = await receiving.open(HERE)
        count = BATCH_BYTES // 1_024
        for _ in range(5):
            sender.outgoing.append(Train(to, bytes(count * 1_024), 1_024))
        sending.drain()
        assert not sender.outgoing
        await receiver.until(5 * count)
        sending.close()
        receiving.close()

    asyncio.run(run())


class LateClock(Clock):
    """By it, the kernel got everything so long ago."""

    def __init__(self, late_us: int) -> None:
        super().__init__()
        self.late_us = late_us

    def since_us(self, unix_ns: int) -> int:
        assert unix_ns > 0
        return self.late_us


class Timekeeper(Mailbox):
    """Notes how long each train waited."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_us: list[int] = []

    def receive_train(self, train: Train, now: int) -> None:
        super().receive_train(train, now)
        self.waited_us.append(train.waited_us)


@pytest.mark.parametrize(("late_us", "told_us"), [(7_000, 7_000), (-5, 0), (3600 * SECOND, 0)])
def test_a_train_says_how_long_the_kernel_had_it(late_us: int, told_us: int) -> None:
    """Whatever becomes of the system's clock meanwhile."""
    receiver = Timekeeper()

    async def run() -> None:
        sender = Mailbox()
        sending = UdpDriver(sender, Clock(), lambda event: None)
        await sending.open(HERE)
        receiving = UdpDriver(receiver, LateClock(late_us), lambda event: None)
        to = await receiving.open(HERE)
        sender.outgoing.append(Train(to, b"hello", 5))
        sending.drain()
        await receiver.until(1)
        sending.close()
        receiving.close()

    asyncio.run(run())
    assert receiver.waited_us == [told_us]
