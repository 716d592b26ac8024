"""All of our TCP: moves bytes between sockets and streams, a batch of blocks a system call."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Final

from livestream.errors import NetworkError
from livestream.machine import SECOND, Address
from livestream.runtime.clock import Clock
from livestream.runtime.sorter import CallerSorter
from livestream.runtime.throttle import Throttle
from livestream.transport.connection import ConnectionState
from livestream.transport.stream import Stream
from livestream.transport.streams import StreamEndpoint

__all__ = ["TcpDriver"]

BACKLOG: Final = 128
READS_MAX: Final = 4  # A wake-up of one socket handles so many reads, then others run.
CALLERS_REST_S: Final = 1.0
REST_BELOW: Final = 192 * 1024  # A wake-up that brings less than this is followed by a rest...
REST_S: Final = 0.001  # ...in which a gigabit link brings 125 kB.
TCP_INFO_BYTES: Final = 104
TCP_INFO_RTT: Final = 68  # Offset of tcpi_rtt (µs) in Linux's struct tcp_info.
MEASURE_US: Final = SECOND  # How often the round trip of a socket is asked for.
WRITES_MAX: Final = 8


class TcpDriver:
    """The asyncio shell of a node's streams: raw sockets, read into the streams' own buffers.

    Invariant: every open socket belongs to one stream; a closed stream's socket is closed at the
    next `drain`.
    """

    def __init__(
        self,
        streams: StreamEndpoint,
        clock: Clock,
        on_activity: Callable[[], None],
        throttle: Throttle | None = None,
        *,
        sorter: CallerSorter | None = None,
        unsent_bytes_max: int | None = None,
    ) -> None:
        """Take the streams; of what is optional, only if callers may be no peers, the `sorter`.

        `unsent_bytes_max` is what the kernel may hold of a socket beside what is on its way; None:
        as much as it likes, which is best for throughput.
        """
        self.address = Address("0.0.0.0", 0)  # noqa: S104 - not bound yet.
        self.bytes_in = 0
        self.bytes_out = 0
        self._streams = streams
        self._clock = clock
        self._on_activity = on_activity
        self._listener: socket.socket | None = None
        self._sockets: dict[Stream, socket.socket] = {}
        self._dialling: dict[Stream, socket.socket] = {}
        self._blocked: dict[Stream, None] = {}
        self._throttle = throttle
        self._sorter = sorter
        self._unsent_bytes_max = unsent_bytes_max
        self._measured_at: dict[Stream, int] = {}
        self._paused: dict[Stream, None] = {}
        "Streams that are not read until there are tokens, whose turn is next first."
        self._unpausing: asyncio.TimerHandle | None = None

    async def open(self, listen: Address) -> Address:
        """Bind and listen. Raises NetworkError when the port cannot be had."""
        is_v6 = ":" in listen.host
        sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            sock.bind(listen)
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            raise NetworkError(
                f"TCP port {listen.port} on {listen.host} cannot be used ({error.strerror}). "
                "Choose another with --listen HOST:PORT."
            ) from error
        self._listener = sock
        self.address = Address(*sock.getsockname()[:2])
        asyncio.get_running_loop().add_reader(sock.fileno(), self._on_callers)
        return self.address

    def close(self) -> None:
        """Stop, without a word to anyone."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for stream in [*self._sockets, *self._dialling]:
            self._drop(stream)
        if self._unpausing is not None:
            self._unpausing.cancel()
            self._unpausing = None

    def drain(self) -> bool:
        """Carry out what the streams want: dials, bytes out, goodbyes. True if bytes went out."""
        before = self.bytes_out
        while (stream := self._streams.next_dial()) is not None:
            self._dial(stream)
        for stream in self._streams.take_unsent():
            if stream.state is ConnectionState.CLOSED:
                self._drop(stream)
            elif stream not in self._blocked:
                self._write(stream)
        return self.bytes_out != before

    # Sockets

    def _on_callers(self) -> None:
        if self._listener is None:
            return
        for _ in range(BACKLOG):
            try:
                sock, source = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._rest_from_callers(self._listener)
                break  # Else the caller has gone already.
            if self._sorter is None:
                self._accept(sock, source)
            else:
                self._sorter.hold(sock, partial(self._accept, sock, source))
        self._on_activity()

    def _accept(self, sock: socket.socket, source: tuple[str, int, int, int]) -> None:
        stream = self._streams.accept(_address(source), self._clock.now())
        if stream is None:
            sock.close()
        else:
            self._adopt(stream, sock)

    def _rest_from_callers(self, listener: socket.socket) -> None:
        """No more files can be opened: callers wait, and do not wake us in vain all the time."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())

        def resume() -> None:
            if self._listener is listener:
                loop.add_reader(listener.fileno(), self._on_callers)

        loop.call_later(CALLERS_REST_S, resume)

    def _dial(self, stream: Stream) -> None:
        family = socket.AF_INET6 if ":" in stream.address.host else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # No IPv6 here, or too many open files.
            stream.lost(f"cannot connect: {error.strerror or error}")
            return
        sock.setblocking(False)
        try:
            code = sock.connect_ex(stream.address)
        except OSError:  # What is not an address at all, or of no interface here.
            code = errno.EADDRNOTAVAIL
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            stream.lost(f"cannot connect: {errno.errorcode.get(code, code)}")
            return
        self._dialling[stream] = sock
        asyncio.get_running_loop().add_writer(sock.fileno(), self._on_dialled, stream)

    def _on_dialled(self, stream: Stream) -> None:
        sock = self._dialling.pop(stream)
        asyncio.get_running_loop().remove_writer(sock.fileno())
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code or stream.state is not ConnectionState.CONNECTING:
            sock.close()
            stream.lost(f"cannot connect: {errno.errorcode.get(code, code)}")
        else:
            stream.connected(self._clock.now())
            self._adopt(stream, sock)
        self._on_activity()

    def _adopt(self, stream: Stream, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._unsent_bytes_max is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, self._unsent_bytes_max)
        self._sockets[stream] = sock
        read = self._on_readable
        if self._throttle is not None:
            read = self._read_share
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._throttle.window_bytes)
        asyncio.get_running_loop().add_reader(sock.fileno(), read, stream)

    def _drop(self, stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        sock = self._sockets.pop(stream, None) or self._dialling.pop(stream, None)
        self._blocked.pop(stream, None)
        self._paused.pop(stream, None)
        self._measured_at.pop(stream, None)
        if sock is not None:
            loop.remove_reader(sock.fileno())
            loop.remove_writer(sock.fileno())
            sock.close()

    # Bytes

    def _on_readable(self, stream: Stream) -> None:
        sock = self._sockets.get(stream)
        total = 0
        for _ in range(READS_MAX):
            if sock is None or stream.state is not ConnectionState.CONNECTED:
                return
            spaces = stream.spaces()
            try:
                if len(spaces) == 1:
                    count = sock.recv_into(spaces[0])
                else:
                    count = sock.recvmsg_into(spaces)[0]
            except (BlockingIOError, InterruptedError):
                stream.filled(0, self._clock.now())
                return
            except OSError as error:
                self._lose(stream, error.strerror or str(error))
                return
            if not count:
                self._lose(stream, "hung up")
                return
            self.bytes_in += count
            stream.filled(count, self._clock.now())
            self._on_activity()
            stream.rewind()
            total += count
            if count < sum(map(len, spaces)):
                break
        is_open = sock is not None and self._sockets.get(stream) is sock
        if sock is not None and is_open and total < REST_BELOW and stream.has_much_to_come:
            self._rest(stream, sock)

    def _rest(self, stream: Stream, sock: socket.socket) -> None:
        """Let bytes gather: a read costs much the same whether it brings one block or twenty."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock.fileno())

        def resume() -> None:
            if self._sockets.get(stream) is sock:
                loop.add_reader(sock.fileno(), self._on_readable, stream)

        loop.call_later(REST_S, resume)

    def _read_share(self, stream: Stream) -> None:
        """Read one share of a capped download, or let the socket wait for its turn."""
        sock, throttle = self._sockets.get(stream), self._throttle
        if sock is None or throttle is None or stream.state is not ConnectionState.CONNECTED:
            return
        loop = asyncio.get_running_loop()
        if not throttle.has_tokens(self._clock.now()):
            self._paused[stream] = None
            loop.remove_reader(sock.fileno())
            if self._unpausing is None:
                self._unpausing = loop.call_later(throttle.wait_s(), self._unpause)
            return
        try:
            data = sock.recv(throttle.share_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(stream, error.strerror or str(error))
            return
        if not data:
            self._lose(stream, "hung up")
            return
        now = self._clock.now()
        throttle.take(len(data), now)
        self.bytes_in += len(data)
        stream.receive_data(data, now)
        self._on_activity()
        stream.rewind()

    def _unpause(self) -> None:
        """Read from those who have waited longest, as far as the tokens go."""
        self._unpausing = None
        loop, now = asyncio.get_running_loop(), self._clock.now()
        for stream in list(self._paused):
            if self._throttle is not None and not self._throttle.has_tokens(now):
                self._unpausing = loop.call_later(self._throttle.wait_s(), self._unpause)
                return
            sock = self._sockets.get(stream)
            if stream in self._paused and sock is not None:
                del self._paused[stream]
                loop.add_reader(sock.fileno(), self._read_share, stream)
                self._read_share(stream)

    def _write(self, stream: Stream) -> None:
        sock = self._sockets.get(stream)
        if sock is None:
            return
        for _ in range(WRITES_MAX):
            buffers = stream.buffers_to_send()
            if not buffers:
                self._set_blocked(stream, sock, is_blocked=False)
                return
            try:
                count = sock.sendmsg(buffers)
            except (BlockingIOError, InterruptedError):
                self._set_blocked(stream, sock, is_blocked=True)
                return
            except OSError as error:
                self._lose(stream, error.strerror or str(error))
                return
            self.bytes_out += count
            now = self._clock.now()
            stream.sent(count, now)
            if now - self._measured_at.get(stream, -MEASURE_US) >= MEASURE_US:
                self._measured_at[stream] = now
                self._measure(stream, sock)
        self._set_blocked(stream, sock, is_blocked=True)

    def _set_blocked(self, stream: Stream, sock: socket.socket, *, is_blocked: bool) -> None:
        loop = asyncio.get_running_loop()
        if is_blocked and stream not in self._blocked:
            self._blocked[stream] = None
            loop.add_writer(sock.fileno(), self._on_writable, stream)
        elif not is_blocked and stream in self._blocked:
            del self._blocked[stream]
            loop.remove_writer(sock.fileno())

    def _on_writable(self, stream: Stream) -> None:
        self._write(stream)
        self._on_activity()

    def _measure(self, stream: Stream, sock: socket.socket) -> None:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        if len(info) >= TCP_INFO_RTT + 4:
            stream.rtt_measured_us = struct.unpack_from("I", info, TCP_INFO_RTT)[0]

    def _lose(self, stream: Stream, reason: str) -> None:
        stream.lost(reason)
        self._drop(stream)
        self._on_activity()


def _address(source: tuple[str, int, int, int] | tuple[str, int]) -> Address:
    host = source[0]
    return Address(host.removeprefix("::ffff:") if "." in host else host, source[1])
