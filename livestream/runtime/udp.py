"""All of our UDP: drives one machine over a socket, in trains where Linux can (GSO, GRO)."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from livestream.errors import NetworkError
from livestream.machine import MILLISECOND, Address, Event, Machine, Train
from livestream.runtime.clock import Clock
from livestream.runtime.joiner import TrainJoiner
from livestream.runtime.rests import Rests

__all__ = ["UdpDriver", "UdpStats"]

UDP_SEGMENT: Final = 103  # linux/udp.h
UDP_GRO: Final = 104
TRAINS_VARIABLE: Final = "LIVESTREAM_TRAINS"  # 0: for drivers and networks that spoil trains.
TIMESTAMP: Final = 35  # asm-generic/socket.h: SO_TIMESTAMPNS, of 64-bit systems.
TIMESTAMP_FORM: Final = struct.Struct("qq")  # Seconds and nanoseconds of Unix time.
WAITED_US_MAX: Final = 100 * MILLISECOND  # Longer than any rest; more: a machine that slept.
IP_MTU_DISCOVER: Final = 10  # linux/in.h
IPV6_MTU_DISCOVER: Final = 23  # linux/in6.h
MAY_FRAGMENT: Final = 0  # IP_PMTUDISC_DONT
DONT_FRAGMENT: Final = 3  # IP_PMTUDISC_PROBE: nor is an MTU believed that anybody could have told.
BUFFER_BYTES: Final = 4 << 20  # The default of 208 KiB overflows at a few hundred Mbit/s.
READS_MAX: Final = 128  # A wake-up handles so many reads...
TURN_BYTES: Final = 1 << 20  # ...or so many bytes, then lets others run, and acknowledges.
BATCH_BYTES: Final = 128 * 1024  # After so much at once, the machine is asked for more at once...
BATCHES_MAX: Final = 32  # ...so many times; then others get their turn.
QUEUE_MAX: Final = 1024  # Trains that wait for a full socket buffer; further ones are lost.
SEGMENTS_MAX: Final = 60
SEND_BYTES_MAX: Final = 65_507  # Of one sendmsg, train or not: what UDP over IPv4 can carry.
READ_BYTES: Final = 65_535
# The network's troubles are no errors of ours: the datagram is lost, as datagrams are.
LOSSES: Final = (
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EPERM,
    errno.EACCES,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EADDRNOTAVAIL,
    errno.EINVAL,
    errno.EMSGSIZE,
)
# What a train does not get through, its datagrams may: they are too long for this route (and are
# cut up), or its card computes no checksums.
NO_TRAINS: Final = (
    errno.EIO,
    errno.EINVAL,
    errno.EMSGSIZE,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
)
NEVER_TRAINS: Final = (errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP)
TRAINS_REFUSED_MAX: Final = 64  # In a row, by errors that tell of the machine, not of the route.


@dataclass(slots=True)
class UdpStats:
    """Counters; they only grow."""

    bytes_in: int = 0
    bytes_out: int = 0
    trains_lost: int = 0
    "That the socket or the network would not take."
    trains_split: int = 0
    "That went datagram by datagram, since they could not go as trains."

    @property
    def bytes_moved(self) -> int:
        """Either way."""
        return self.bytes_in + self.bytes_out


class UdpDriver:
    """The asyncio shell of a machine.

    Invariant: after anything happens to the machine it is drained, and its timer is armed.
    """

    def __init__(
        self,
        machine: Machine,
        clock: Clock,
        on_event: Callable[[Event], None],
        *,
        use_trains: bool | None = None,
        on_turn: Callable[[], None] | None = None,
        rest_us: int = 0,
    ) -> None:
        """Take the machine; `on_turn` is called after each turn that began with this driver.

        Trains are used unless `use_trains` or the environment (LIVESTREAM_TRAINS=0) forbids it.
        After a turn nothing is read and no timer is due for `rest_us` or more (`Rests`): what comes
        meanwhile, one datagram here and one there, is handled together then. Who moves much does
        not rest.
        """
        if use_trains is None:
            use_trains = os.environ.get(TRAINS_VARIABLE) != "0"
        self.stats = UdpStats()
        self.address = Address("0.0.0.0", 0)  # noqa: S104 - not bound yet.
        self._machine = machine
        self._clock = clock
        self._on_event = on_event
        self._use_trains = use_trains
        self._trains_refused = 0
        self._forbids_fragments: bool | None = None
        self._on_turn = on_turn
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        "When it goes off."
        self._wake_at: int | None = None
        "When there is to be a turn: not before the timer goes off."
        self._due_at: int | None = None
        "What the machine said last."
        self._rests = Rests(rest_us)
        self._read_at = 0
        "When the socket was last emptied: what is in it came later."
        self._waited_us_max = 0
        self._is_resting = False
        "Whether the socket is looked at when the rest is over, and is not watched until then."
        self._waiting: deque[Train] = deque()
        self._failure: asyncio.Future[None] | None = None
        self._is_draining = False
        self._buffer = memoryview(bytearray(TURN_BYTES + READ_BYTES))

    async def open(self, listen: Address) -> Address:
        """Bind and start. Raises NetworkError when the port cannot be had."""
        self._loop = asyncio.get_running_loop()
        self._failure = self._loop.create_future()
        is_v6 = ":" in listen.host
        sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        if is_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            sock.bind(listen)
        except OSError as error:
            sock.close()
            raise NetworkError(
                f"UDP port {listen.port} on {listen.host} cannot be used ({error.strerror}). "
                "Choose another with --listen HOST:PORT."
            ) from error
        if self._use_trains:
            try:
                sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
            except OSError:
                self._use_trains = False
        if sys.platform == "linux":
            sock.setsockopt(socket.SOL_SOCKET, TIMESTAMP, 1)
        self._socket = sock
        self.address = Address(*sock.getsockname()[:2])
        self._loop.add_reader(sock.fileno(), self._on_readable)
        return self.address

    def close(self) -> None:
        """Stop, without a word to anyone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_resting = False
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._waiting.clear()

    async def failed(self) -> None:
        """Wait for ever, unless the machine raises: then raise that."""
        if self._failure is not None:
            await asyncio.shield(self._failure)

    def drain(self) -> None:
        """Carry out everything that the machine wants. Call it after every change to it."""
        if self._socket is None or self._is_draining:
            return
        self._is_draining = True
        try:
            self._drain()
        except Exception as error:
            self._fail(error)
        finally:
            self._is_draining = False

    def _drain(self) -> None:
        now = self._clock.now()
        self._send_all(now)
        was_told = False
        while (event := self._machine.next_event()) is not None:
            self._on_event(event)
            was_told = True
        if was_told:
            self._send_all(now)
        self._due_at = self._machine.get_timer()
        self._arm()

    def _send_all(self, now: int) -> None:
        """Send what there is; who has much gives it in parts, which are in the cache still."""
        for _ in range(BATCHES_MAX):
            size = 0
            for train in self._machine.trains_to_send(now):
                self._send(train)
                size += len(train.data)
            if size < BATCH_BYTES:
                return

    def _arm(self) -> None:
        """See that there is a turn when one is due, and none before the rest is over."""
        wake_at = self._rests.until if self._is_resting else self._due_at
        if wake_at is not None and wake_at < self._rests.until:
            wake_at = self._rests.until
        self._wake_at = wake_at
        if wake_at is None or self._loop is None:
            return
        if self._timer is not None:
            # Nearly each turn puts off what was due: the timer is set anew only when it goes off.
            if self._timer_at <= wake_at:
                return
            self._timer.cancel()
        # uvloop would make nothing of half a millisecond, and wake us in vain until it is over.
        delay_s = max(0, -(-(wake_at - self._clock.now()) // MILLISECOND)) / 1e3
        self._timer_at = wake_at
        self._timer = self._loop.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._wake_at is not None and self._wake_at <= self._timer_at:
            self._turn(is_readable=self._is_resting)
        else:
            self._arm()

    def _on_readable(self) -> None:
        if self._clock.now() >= self._rests.until:
            self._turn(is_readable=True)
        elif self._socket is not None and self._loop is not None:
            self._is_resting = True
            self._loop.remove_reader(self._socket.fileno())
            self._arm()

    def _turn(self, *, is_readable: bool) -> None:
        now = self._clock.now()
        try:
            trains = self._read_trains() if is_readable else []
            self._plan_rest(now, is_busy=bool(trains))
            for train in trains:
                self._machine.receive_train(train, self._clock.now())
            if self._due_at is not None and self._due_at <= now:
                self._machine.handle_timer(now)
        except Exception as error:
            self._fail(error)
        self.drain()
        if self._on_turn is not None:
            self._on_turn()
        self._rests.end_turn(self._clock.now())

    def _plan_rest(self, now: int, *, is_busy: bool) -> None:
        """As long as each rest brings something, the next turn looks for it unasked."""
        has_rest = self._rests.begin_turn(now, self.stats.bytes_moved)
        if self._is_resting and not (has_rest and is_busy):
            self._is_resting = False
            if self._socket is not None and self._loop is not None:
                self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def _read_trains(self) -> list[Train]:
        """Read what is there, for one turn; datagrams of one size and sender become one train.

        GRO makes trains of what came through a network card together, but not of what came one by
        one; work per train is the same however long it is. The trains are views of one buffer,
        and good until the next turn.
        """
        now = self._clock.now()
        self._waited_us_max = min(now - self._read_at, WAITED_US_MAX)
        self._read_at = now
        joiner = TrainJoiner(self._buffer)
        for _ in range(READS_MAX):
            if not self._read(joiner) or joiner.end >= TURN_BYTES:
                break
        return joiner.trains()

    def _read(self, joiner: TrainJoiner) -> bool:
        """Read once; False if there was nothing."""
        if self._socket is None:
            return False
        try:
            length, control, _, source = self._socket.recvmsg_into([self._buffer[joiner.end :]], 64)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno not in LOSSES:
                raise
            self.stats.trains_lost += 1
            return False
        size, waited_us = length, 0
        for level, kind, value in control:
            if level == socket.IPPROTO_UDP and kind == UDP_GRO:
                size = struct.unpack("i", value[:4])[0]
            elif kind == TIMESTAMP and len(value) == TIMESTAMP_FORM.size:
                seconds, nanoseconds = TIMESTAMP_FORM.unpack(value)
                waited_us = self._clock.since_us(seconds * 1_000_000_000 + nanoseconds)
        self.stats.bytes_in += length
        if not 0 <= waited_us <= self._waited_us_max:
            waited_us = 0  # The system's clock was set.
        joiner.add(source, length, size, waited_us)
        return True

    def _send(self, train: Train) -> None:
        size, data = train.datagram_size, train.data
        span = (
            size * max(1, min(SEGMENTS_MAX, SEND_BYTES_MAX // size)) if self._use_trains else size
        )
        if len(data) <= span:
            self._send_one(train)
            return
        view = memoryview(data)  # Slices of it are no copies.
        for at in range(0, len(data), span):
            part = Train(train.address, view[at : at + span], size, train.dont_fragment)
            self._send_one(part)

    def _send_apart(self, train: Train) -> None:
        for datagram in train.datagrams():
            self._send_one(replace(train, data=datagram))

    def _send_one(self, train: Train) -> None:
        if self._socket is None:
            return
        if self._waiting:
            self._wait(train)  # Behind the others: a train's datagrams stay in order.
            return
        if ":" in train.address.host and ":" not in self.address.host:
            self.stats.trains_lost += 1  # Peers name IPv6 addresses to IPv4 sockets too.
            return
        control = []
        if len(train.data) > train.datagram_size:
            segment = struct.pack("H", train.datagram_size)
            control = [(socket.IPPROTO_UDP, UDP_SEGMENT, segment)]
        try:
            self._forbid_fragments(self._socket, is_forbidden=train.dont_fragment)
            self._socket.sendmsg([train.data], control, 0, self._target(train.address))
            self.stats.bytes_out += len(train.data)
            if control:
                self._trains_refused = 0
        except (BlockingIOError, InterruptedError):
            self._wait(train)
        except OSError as error:
            if control and error.errno in NO_TRAINS:
                self._trains_refused += error.errno in NEVER_TRAINS
                self._use_trains = self._trains_refused < TRAINS_REFUSED_MAX
                self.stats.trains_split += 1
                self._send_apart(train)
            elif error.errno in LOSSES:
                self.stats.trains_lost += 1
            else:
                raise

    def _forbid_fragments(self, sock: socket.socket, *, is_forbidden: bool) -> None:
        """See that what is sent now is marked as it should be; it is no system call each time."""
        if is_forbidden is self._forbids_fragments or sys.platform != "linux":
            return
        self._forbids_fragments = is_forbidden
        mode = DONT_FRAGMENT if is_forbidden else MAY_FRAGMENT
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, mode)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, mode)

    def _target(self, address: Address) -> tuple[str, int]:
        if ":" in self.address.host and ":" not in address.host:
            return f"::ffff:{address.host}", address.port
        return address.host, address.port

    def _wait(self, train: Train) -> None:
        if len(self._waiting) >= QUEUE_MAX:
            self.stats.trains_lost += 1
            return
        self._waiting.append(train)
        if self._loop is not None and self._socket is not None:
            self._loop.add_writer(self._socket.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        if self._loop is not None and self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())
        try:
            for train in waiting:
                self._send(train)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)
