"""Hosts whose nodes talk over byte streams: a model of TCP for whole swarms (`StreamInternet`).

Streams of a host share its uplink in turns of one block, as the flows of a fair queue do; bytes
come in order, and a loss delays all behind it by a repetition. Congestion is in the queues of
uplinks and downlinks only, which is what there is between homes.
"""

from __future__ import annotations

from typing import Final

from livestream.config import Transport
from livestream.machine import MILLISECOND, SECOND, Address
from livestream.runtime.keys import identity_of
from livestream.sim.host import Host, Internet
from livestream.sim.links import Access, Path
from livestream.sim.world import Occurrence, World
from livestream.transport.connection import ConnectionState
from livestream.transport.dialler import Dialler
from livestream.transport.stream import Stream
from livestream.wire.image import BLOCK_BYTES, BLOCK_HEADER_BYTES

__all__ = ["StreamHost", "StreamInternet", "segments_size"]

SEGMENT_BYTES: Final = 1448  # What a full TCP segment carries on Ethernet...
SEGMENT_HEADERS: Final = 52  # ...behind IPv4 and TCP headers, with timestamps.
ACK_EVERY: Final = 2  # Segments that one acknowledgement, headers only, is for (RFC 9293).
CALLERS_PORT: Final = 20_000
TURN_BYTES: Final = BLOCK_BYTES + BLOCK_HEADER_BYTES
TURN_US: Final = 25 * MILLISECOND  # Of uplinks that are quick: less is only more work.


def segments_size(size: int) -> int:
    """Return what so many bytes of a stream are on the wire."""
    return size + -(-size // SEGMENT_BYTES) * SEGMENT_HEADERS


def _first_bytes(stream: Stream, size_max: int) -> bytes:
    parts: list[bytes | bytearray | memoryview] = []
    for buffer in stream.buffers_to_send():
        parts.append(buffer if len(buffer) <= size_max else memoryview(buffer)[:size_max])
        size_max -= len(buffer)
        if size_max <= 0:
            break
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)


class StreamInternet(Internet):
    """Hosts by address; each keeps the ends of its streams."""

    def __init__(self, world: World, path: Path, seed: int) -> None:
        super().__init__(world, path, seed)
        self._callers = 0

    def add(self, number: int, access: Access, public_key: bytes) -> StreamHost:
        """Connect a host that has no node yet; its key is made of the one given."""
        host = StreamHost(self, number, access, public_key)
        self.hosts[host.address] = host
        return host

    def called(self, caller: Host, address: Address) -> StreamHost | None:
        """Return who answers there."""
        host = self.hosts.get(address)
        if not isinstance(host, StreamHost) or host.node is None:
            return None
        return host if self.paths.are_joined(caller.number, host.number) else None

    def caller_address(self, host: Host) -> Address:
        """Return where a call seems to come from: a port that nobody listens at."""
        self._callers += 1
        return Address(host.address.host, CALLERS_PORT + self._callers % CALLERS_PORT)


class StreamHost(Host):
    """Moves the bytes of one node's streams.

    Invariant: a stream in `_unsent` may have something to send; `_far` has the
    other end of each stream that is up, and that host's `_far` has this one.
    """

    def __init__(
        self, internet: StreamInternet, number: int, access: Access, private_key: bytes
    ) -> None:
        identity = identity_of(private_key, number + 1)
        super().__init__(internet, number, access, identity.public_key)
        self.identity = identity
        self.transport = Transport.TCP
        self._net = internet
        self._far: dict[Stream, tuple[StreamHost, Stream]] = {}
        self._unsent: dict[Stream, None] = {}
        self._arrives_at: dict[Stream, int] = {}
        "When the last bytes of a stream come to its other end: later ones come no sooner."
        self._turn_at: int | None = None

    @property
    def diallers(self) -> dict[Transport, Dialler] | None:
        """The node's own: its streams are moved from here."""
        return None

    def crash(self) -> None:
        """Vanish: with the process its sockets are closed, and the others hear of it."""
        super().crash()
        for stream in list(self._far):
            self._hang_up(stream, self.world.now)
        self._unsent.clear()

    def settle(self, now: int) -> None:
        """Let the node take what is reported, and carry out all that its streams want."""
        node = self.node
        if node is None:
            return
        node.handle_streams(now)
        while True:
            node.trains_to_send(now)
            while (stream := node.streams.next_dial()) is not None:
                self._dial(stream, now)
            for stream in node.streams.take_unsent():
                if stream.state is ConnectionState.CLOSED:
                    self._unsent.pop(stream, None)
                    self._hang_up(stream, now)
                else:
                    self._unsent[stream] = None
            if not self._send(now):
                break
        while (event := node.next_event()) is not None:
            self._on_event(event, now)
        self._arm(node.get_timer(), now)

    # What happens

    def answer(self, caller: StreamHost, theirs: Stream, now: int) -> None:
        """A call comes; the caller hears the answer as soon as it can."""
        node = self.node
        address = self._net.caller_address(caller)
        ours = None if node is None else node.streams.accept(address, now)
        delay_us = self.internet.paths.base_delay_us(self.number, caller.number)
        self.world.plan(now + delay_us, _Answer(caller, theirs, is_taken=ours is not None))
        if ours is not None:
            ours.rtt_measured_us = theirs.rtt_measured_us = 2 * delay_us
            self._far[ours] = caller, theirs
            caller._far[theirs] = self, ours
            self.settle(now)

    def answered(self, stream: Stream, now: int, *, is_taken: bool) -> None:
        """The answer to a call of ours is here."""
        if is_taken:
            stream.connected(now)
        else:
            stream.lost("refused")
        self.settle(now)

    def receive(self, stream: Stream, data: bytes, now: int) -> None:
        """Bytes came on a stream of ours."""
        node = self.node
        if node is None or stream not in self._far:
            return
        segments = -(-len(data) // SEGMENT_BYTES)
        self.wire_bytes_in += len(data) + segments * SEGMENT_HEADERS
        acks = -(-segments // ACK_EVERY) * SEGMENT_HEADERS
        self.ack_bytes_out += acks
        self.uplink.take(acks, now)
        self.world.note(self.number << 32 | len(data))
        rest = memoryview(data)
        while rest and stream.state is ConnectionState.CONNECTED:
            taken = stream.receive_some(rest, now)
            rest = rest[taken:]
            node.handle_streams(now)
            stream.rewind()
        self.settle(now)

    def lose(self, stream: Stream, now: int) -> None:
        """The other side has hung up."""
        stream.lost("hung up")
        self.settle(now)

    def take_turns(self, now: int) -> None:
        """The uplink is free."""
        self._turn_at = None
        self.settle(now)

    # Helpers

    def _dial(self, stream: Stream, now: int) -> None:
        called = self._net.called(self, stream.address)
        if called is None:
            return  # Nobody answers; the stream gives up by itself.
        delay_us = self.internet.paths.base_delay_us(self.number, called.number)
        leaves = self.uplink.take(SEGMENT_HEADERS, now)
        self.world.plan(leaves + delay_us, _Call(self, called, stream))

    def _send(self, now: int) -> bool:
        """Give the uplink a turn of each stream while it is free. Whether anything went."""
        unsent, uplink = self._unsent, self.uplink
        has_sent = False
        for _ in range(len(unsent)):
            if uplink.free_at > now:
                break
            stream = next(iter(unsent))
            del unsent[stream]
            if stream in self._far:
                has_sent |= self._send_turn(stream, now)
                if stream.backlog_bytes:
                    unsent[stream] = None  # Its next turn comes after everybody else's.
        if unsent and self._turn_at is None and uplink.free_at > now:
            self._turn_at = uplink.free_at
            self.world.plan(self._turn_at, _Turn(self))
        return has_sent

    def _send_turn(self, stream: Stream, now: int) -> bool:
        turn_bytes = max(TURN_BYTES, self.uplink.rate_bps * TURN_US // (8 * SECOND))
        data = _first_bytes(stream, turn_bytes)
        if not data:
            return False
        stream.sent(len(data), now)
        host, theirs = self._far[stream]
        paths, wire = self.internet.paths, segments_size(len(data))
        delay_us = paths.base_delay_us(self.number, host.number)
        at = self.uplink.take(wire, now) + delay_us + paths.jitter_us()
        for lost in paths.repeats(-(-len(data) // SEGMENT_BYTES)):
            self.uplink.take(segments_size(lost * SEGMENT_BYTES), now)
            at += 2 * delay_us * 9 // 8
        at += host.last_mile_us(wire, self.uplink.rate_bps)
        at = max(at, self._arrives_at.get(stream, 0))
        self._arrives_at[stream] = at
        self.world.plan(at, _Bytes(host, theirs, data, wire))
        return True

    def _hang_up(self, stream: Stream, now: int) -> None:
        """An end is closed: the other hears of it after what is on its way."""
        host, theirs = self._far.pop(stream, (None, None))
        arrives_at = self._arrives_at.pop(stream, 0)
        if host is None or theirs is None:
            return
        delay_us = self.internet.paths.base_delay_us(self.number, host.number)
        self.world.plan(max(arrives_at, now + delay_us), _HangUp(host, theirs))

    def forget(self, stream: Stream) -> bool:
        """The far end of a stream is gone. Whether it was still up here."""
        self._arrives_at.pop(stream, None)
        self._unsent.pop(stream, None)
        return self._far.pop(stream, None) is not None


class _Call(Occurrence):
    __slots__ = ("_called", "_caller", "_stream")

    def __init__(self, caller: StreamHost, called: StreamHost, stream: Stream) -> None:
        self._caller = caller
        self._called = called
        self._stream = stream

    def happen(self, now: int) -> None:
        if self._called.is_up and self._stream.state is ConnectionState.CONNECTING:
            self._called.answer(self._caller, self._stream, now)


class _Answer(Occurrence):
    __slots__ = ("_caller", "_is_taken", "_stream")

    def __init__(self, caller: StreamHost, stream: Stream, *, is_taken: bool) -> None:
        self._caller = caller
        self._stream = stream
        self._is_taken = is_taken

    def happen(self, now: int) -> None:
        if self._caller.is_up:
            self._caller.answered(self._stream, now, is_taken=self._is_taken)


class _Bytes(Occurrence):
    __slots__ = ("_data", "_host", "_is_queued", "_stream", "_wire")

    def __init__(self, host: StreamHost, stream: Stream, data: bytes, wire: int) -> None:
        self._host = host
        self._stream = stream
        self._data = data
        self._wire = wire
        self._is_queued = False

    def happen(self, now: int) -> None:
        host = self._host
        if not self._is_queued:
            at = host.through_downlink(host.downlink_us(self._wire), now)
            if at > now:
                self._is_queued = True
                host.world.plan(at, self)
                return
        host.receive(self._stream, self._data, now)


class _HangUp(Occurrence):
    __slots__ = ("_host", "_stream")

    def __init__(self, host: StreamHost, stream: Stream) -> None:
        self._host = host
        self._stream = stream

    def happen(self, now: int) -> None:
        if self._host.is_up and self._host.forget(self._stream):
            self._host.lose(self._stream, now)


class _Turn(Occurrence):
    __slots__ = ("_host",)

    def __init__(self, host: StreamHost) -> None:
        self._host = host

    def happen(self, now: int) -> None:
        if self._host.is_up:
            self._host.take_turns(now)
