"""The model of a transport: whole messages between two hosts, as QUIC would bring them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from livestream.config import Transport
from livestream.errors import StateError
from livestream.machine import MILLISECOND, SECOND, Address, Event, Train
from livestream.sim.links import (
    ACK_BYTES,
    DATAGRAM_BYTES,
    DATAGRAM_OVERHEAD,
    FRAME_BYTES,
    PREFIX_BYTES,
    datagrams_of,
    reception,
    wire_size,
)
from livestream.sim.world import Occurrence
from livestream.transport.connection import (
    Connected,
    Connection,
    ConnectionState,
    Disconnected,
)

if TYPE_CHECKING:
    from livestream.sim.host import Host

__all__ = ["Arrival", "ModelConnection", "repeat_us"]

_CONNECTING: Final = ConnectionState.CONNECTING  # To look up an enum's member takes longer...
_CONNECTED: Final = ConnectionState.CONNECTED  # ...than most of what a message does here.
_CLOSED: Final = ConnectionState.CLOSED
UNANSWERED_BYTES_MAX: Final = 64 * 1024  # In flight to somebody who acknowledges nothing.
PROBE_US: Final = 50 * MILLISECOND  # How much later than a round trip a lost end is sent again.
QUEUE_BYTES_MAX: Final = 8 << 20  # As QUIC's control backlog: who lets it grow to that is let go.


class ModelConnection(Connection):
    """One end. Control messages arrive in order; pieces at any time; both share the uplink.

    Invariant: `_backlog` is the size of all that is in the two queues.
    """

    def __init__(self, host: Host, address: Address, *, is_outgoing: bool) -> None:
        self.host = host
        self.transport = Transport.QUIC
        self.address = address
        self.is_outgoing = is_outgoing
        self.state = ConnectionState.CONNECTING
        self.other: ModelConnection | None = None
        self.delay_us = 0
        "Base delay to the other end."
        # Lists, not deques: a simulation has tens of thousands of these, and nearly all are empty.
        self._ordered: list[bytes] = []
        self._independent: list[tuple[bytes, int]] = []
        self._waiting: list[bytes] = []
        "What goes along with the next that goes."
        self._backlog = 0
        self._ordered_at = 0
        "When the last ordered message arrives: later ones arrive no sooner."
        self._unanswered = 0
        self._unanswered_at: int | None = None

    # Connection

    def send(self, message: bytes) -> None:
        """Queue a message on the ordered stream."""
        if self._waiting:
            self.end_waiting()
        if self.state is not _CLOSED:
            self._ordered.append(message)
            self._count(len(message))

    def send_later(self, message: bytes, by: int) -> None:
        """Queue a message that goes along with the next one, or an acknowledgement, until `by`."""
        if self.state is not _CLOSED:
            self._waiting.append(message)
            self.host.wait(self, by)

    def send_independent(self, message: bytes, deadline: int) -> None:
        """Queue a message that is dropped if it has not begun to leave by `deadline`."""
        if self.state is not _CLOSED:
            self._independent.append((message, deadline))
            self._count(len(message))

    def reserve(self, rate_bps: int) -> None:
        """Nothing to do: the model's senders do not yield below their share of the uplink."""

    def close(self, reason: str, now: int) -> None:
        """Say goodbye and end; what was not sent is not sent any more."""
        if self.state is _CLOSED:
            return
        other = self.other
        if other is not None:
            self.host.world.plan(now + self.delay_us, _HangUp(self, other, reason))
        self.finish(reason, is_local=True)

    @property
    def backlog_bytes(self) -> int:
        """Bytes that have not left for the uplink."""
        return self._backlog

    @property
    def rtt_us(self) -> int:
        """The path's round trip, and what waits at both uplinks now."""
        other = self.other
        if other is None:
            return SECOND // 10
        now, rtt_us = self.host.world.now, 2 * self.delay_us
        for free_at in (self.host.uplink.free_at, other.host.uplink.free_at):
            if free_at > now:
                rtt_us += free_at - now
        return rtt_us

    def keep_alive(self) -> None:
        """Send next to nothing, which is acknowledged if anybody is there."""
        if self.state is not _CONNECTED or self._backlog:
            return
        now, far = self.host.world.now, self.end.host
        self.host.take(DATAGRAM_OVERHEAD, now)
        if self._is_cut_off():
            self._note_unanswered(now)
        else:
            far.take(ACK_BYTES, now)

    @property
    def unanswered_at(self) -> int | None:
        """When the first left of what nobody was there to acknowledge."""
        return self._unanswered_at

    # The five verbs: the model moves messages, not datagrams

    def receive_train(self, train: Train, now: int) -> None:
        """Nothing comes as datagrams."""

    def trains_to_send(self, now: int) -> list[Train]:
        """Nothing goes as datagrams."""
        return []

    def get_timer(self) -> int | None:
        """All that happens is planned in the world."""
        return None

    def handle_timer(self, now: int) -> None:
        """All that happens is planned in the world."""

    def next_event(self) -> Event | None:
        """Return nothing: events go to the dialler at once."""
        return None

    # For the model

    @property
    def end(self) -> ModelConnection:
        """The other end, once it has answered."""
        if self.other is None:
            raise StateError(f"nobody has answered at {self.address} yet")
        return self.other

    def connected(self) -> None:
        """The handshake is done at this end."""
        self.state = _CONNECTED
        self.host.report(self, Connected(self.end.host.public_key))
        if self._backlog:
            self.host.sending[self] = None

    def finish(self, reason: str, *, is_local: bool) -> None:
        """End, whoever ended it."""
        if self.state is _CLOSED:
            return
        self.state = _CLOSED
        self._ordered.clear()
        self._independent.clear()
        self._waiting.clear()
        self._backlog = 0
        self.host.sending.pop(self, None)
        self.host.report(self, Disconnected(reason, is_local))

    def transmit(self, now: int) -> bool:
        """Give the uplink a datagram of control messages, or a piece. Whether there is more."""
        host, other = self.host, self.other or self.end
        far, uplink, paths = other.host, host.uplink, host.internet.paths
        is_ordered = bool(self._ordered)
        if is_ordered and self._waiting:
            self.end_waiting()
        messages = self._take_ordered() if is_ordered else self._take_piece(now)
        if not messages:
            return False
        size = self._note_sent(messages)
        self._backlog -= size
        if is_ordered:
            size += PREFIX_BYTES * len(messages)
        control = wire_size(size) if is_ordered else 0
        if self._waiting and self._ordered_at <= now:
            is_ordered = True  # What comes later must not overtake what goes along.
            companions, companion_bytes = self._take_waiting()
            messages += companions
            control = wire_size(size + companion_bytes) - wire_size(size)
            size += companion_bytes
            host.book(control, now)
        host.control_bytes_out += control
        count, wire = datagrams_of(size), wire_size(size)
        at = uplink.take(wire, now) + self.delay_us
        if self._is_cut_off():
            self._unanswered += wire
            self._note_unanswered(now)
            return self._backlog > 0 and self._unanswered < UNANSWERED_BYTES_MAX
        self._unanswered, self._unanswered_at = 0, None
        last_mile_us, took_us, acknowledgements = reception(wire, uplink.rate_bps, far.downlink_bps)
        at += paths.jitter_us() + last_mile_us
        if rounds := paths.repeats(count):
            at += _repeat_us(self, count, rounds, wire // count)
        if is_ordered:
            at = self._ordered_at = max(at, self._ordered_at)
        host.world.plan(at, Arrival(other, messages, wire, took_us, acknowledgements))
        return self._backlog > 0

    def end_waiting(self) -> None:
        """What went along with nothing goes alone."""
        messages, self._waiting = self._waiting, []
        self.host.waiting.pop(self, None)
        self._ordered += messages
        self._count(sum(map(len, messages)))

    def answer(self, now: int) -> None:
        """Send along with an acknowledgement what waits for that."""
        if not self._waiting or self._is_cut_off():
            return
        host, other = self.host, self.end
        messages, size = self._take_waiting()
        host.control_bytes_out += size
        at = host.take(size, now) + self.delay_us + host.internet.paths.jitter_us()
        at += repeat_us(self, 1, size + ACK_BYTES)
        at = self._ordered_at = max(at, self._ordered_at)
        last_mile_us, took_us, acknowledgements = reception(
            size, host.uplink.rate_bps, other.host.downlink_bps
        )
        host.world.plan(
            at + last_mile_us, Arrival(other, messages, size, took_us, acknowledgements)
        )

    # Helpers

    def _take_waiting(self) -> tuple[list[bytes], int]:
        """Return what goes along with something, and the bytes that it adds there."""
        messages, self._waiting = self._waiting, []
        self.host.waiting.pop(self, None)
        return messages, self._note_sent(messages) + FRAME_BYTES + PREFIX_BYTES * len(messages)

    def _note_sent(self, messages: Sequence[bytes]) -> int:
        """Let whoever watches see messages leave; returns their bytes."""
        host, size = self.host, 0
        for message in messages:
            size += len(message)
            if host.on_sent is not None:
                host.on_sent(host, message)
        return size

    def _is_cut_off(self) -> bool:
        """Whether nothing gets to the other end."""
        host, far, paths = self.host, self.end.host, self.host.internet.paths
        return not far.is_up or (paths.is_split and not paths.are_joined(host.number, far.number))

    def _note_unanswered(self, now: int) -> None:
        if self._unanswered_at is None:
            self._unanswered_at = now

    def _count(self, size: int) -> None:
        self._backlog += size
        if self.host.node is not None:
            self.host.node.book(wire_size(size), self.host.world.now)
        if self._backlog > QUEUE_BYTES_MAX:
            self.finish("does not read what it is sent", is_local=True)
        elif self.state is _CONNECTED and self._unanswered < UNANSWERED_BYTES_MAX:
            self.host.sending[self] = None

    def _take_ordered(self) -> list[bytes]:
        """Take as many control messages as share a datagram."""
        ordered = self._ordered
        if len(ordered) <= 1:
            self._ordered = []
            return ordered
        size, count = len(ordered[0]), 1
        while count < len(ordered) and size + len(ordered[count]) <= DATAGRAM_BYTES:
            size += len(ordered[count])
            count += 1
        messages = ordered[:count]
        del ordered[:count]
        return messages

    def _take_piece(self, now: int) -> list[bytes]:
        independent = self._independent
        while independent:
            message, deadline = independent.pop(0)
            if deadline > now:
                return [message]
            self._backlog -= len(message)
        return []


def repeat_us(connection: ModelConnection, count: int, each_bytes: int) -> int:
    """Return what losses add to a message of so many datagrams, and send those again.

    A loss shows by what comes after it, 9/8 of a round trip later (RFC 9002 section 6.1.2). The
    last or only datagram is sent again as a probe (section 6.2): after a round trip, four of its
    variances and the longest delay of an acknowledgement. Measured with round trips of 20 to
    140 ms that vary by 2 to 10: the round trip and 34 to 74 ms.
    """
    rounds = connection.host.internet.paths.repeats(count)
    return _repeat_us(connection, count, rounds, each_bytes)


def _repeat_us(
    connection: ModelConnection, count: int, rounds: Sequence[int], each_bytes: int
) -> int:
    host, paths = connection.host, connection.host.internet.paths
    extra, probe_us = 0, 2 * connection.delay_us + PROBE_US
    for lost in rounds:
        if count == 1 or paths.happens(lost / count):
            extra += probe_us
            probe_us *= 2  # RFC 9002 section 6.2.1: until something is acknowledged.
        else:
            extra += 2 * connection.delay_us * 9 // 8
        count = lost
        host.take(lost * each_bytes, host.world.now)
    return extra


class Arrival(Occurrence):
    """Messages reach the other end."""

    __slots__ = ("_acknowledgements", "_end", "_is_queued", "_messages", "_took_us", "_wire")

    def __init__(
        self,
        end: ModelConnection,
        messages: list[bytes],
        wire: int,
        took_us: int,
        acknowledgements: int,
    ) -> None:
        self._acknowledgements = acknowledgements
        self._end = end
        self._messages = messages
        self._took_us = took_us
        self._wire = wire
        self._is_queued = False

    def happen(self, now: int) -> None:
        """Deliver, once the downlink has brought it."""
        end = self._end
        host = end.host
        if not host.is_up:
            return
        if not self._is_queued:
            at = host.through_downlink(self._took_us, now)
            if at > now:
                self._is_queued = True
                host.world.plan(at, self)
                return
        if end.state is _CLOSED:
            return
        host.world.note(host.number << 32 | self._wire)
        if end.state is _CONNECTING:
            end.connected()
        host.receive_messages(end, self._messages, self._wire, self._acknowledgements)


class _HangUp(Occurrence):
    """The other end has said goodbye."""

    __slots__ = ("_end", "_reason", "_sender")

    def __init__(self, sender: ModelConnection, end: ModelConnection, reason: str) -> None:
        self._sender = sender
        self._end = end
        self._reason = reason

    def happen(self, now: int) -> None:
        """End this one, too."""
        end = self._end
        host = end.host
        if host.is_up and host.internet.paths.are_joined(self._sender.host.number, host.number):
            end.finish(self._reason, is_local=False)
            host.settle(now)
