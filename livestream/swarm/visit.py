"""A short call on a peer, to learn which client it is and how much it holds (`Visit`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from livestream.errors import MessageDecodeError
from livestream.machine import SECOND, Address
from livestream.swarm.greeting import extension_handshake, read_extension_handshake
from livestream.transport.connection import Connected, Disconnected, MessageReceived
from livestream.transport.stream import Stream
from livestream.wire.messages import (
    Bitfield,
    Extended,
    Handshake,
    Have,
    HaveAll,
    HaveNone,
    Message,
    parse,
)

__all__ = ["Visit", "VisitReport", "client_of"]

VISIT_US: Final = 5 * SECOND
_AZUREUS: Final = re.compile(rb"-([A-Za-z]{2})([0-9A-Za-z]{4})-")  # BEP 20
_ARIA2: Final = re.compile(rb"A2-([0-9]{1,3}(?:-[0-9]{1,3}){1,2})-")
_CLIENTS: Final = {
    "AZ": "Azureus",
    "BC": "BitComet",
    "BI": "BiglyBT",
    "DE": "Deluge",
    "KT": "KTorrent",
    "LS": "livestream",
    "LT": "libtorrent",
    "RN": "rain",
    "TR": "Transmission",
    "UT": "µTorrent",
    "WW": "WebTorrent",
    "lt": "rTorrent",
    "qB": "qBittorrent",
}


@dataclass(frozen=True, slots=True)
class VisitReport:
    """What a visit learned. Without a handshake, `failure` says why there is nothing."""

    address: Address
    client: str = ""
    share: float | None = None
    "Held of the torrent, 0 to 1; None: it did not say."
    failure: str = ""


class Visit:
    """One call: handshakes, then the peer's pieces, within VISIT_US. Bytes in, bytes out.

    Invariant: `is_over` once there is nothing more to learn.
    """

    def __init__(
        self, address: Address, handshake: Handshake, piece_count: int | None, now: int
    ) -> None:
        """Take whom to call, with what words; `piece_count` None: a magnet does not say."""
        self.is_over = False
        self._stream = Stream(address, lambda stream: None, now, is_outgoing=True)
        self._handshake = handshake
        self._piece_count = piece_count
        self._until = now + VISIT_US
        self._their: Handshake | None = None
        self._client = ""
        self._has_greeted = False
        "They have said their name, or do not speak the extension protocol."
        self._bits: int | None = None
        self._has_all = False
        self._failure = "no answer"

    @property
    def report(self) -> VisitReport:
        """What is known so far."""
        address = self._stream.address
        if self._their is None:
            return VisitReport(address, failure=self._failure)
        return VisitReport(address, self._client or client_of(self._their.peer_id), self._share())

    def get_timer(self) -> int:
        """Return when the visit is over, come what may."""
        return self._until

    def handle_timer(self, now: int) -> None:
        """End a visit that has taken too long."""
        self.is_over = self.is_over or now >= self._until

    def connected(self, now: int) -> None:
        """The socket is up."""
        self._stream.connected(now)
        self._drain()

    def lost(self, reason: str) -> None:
        """The socket is gone, or never came."""
        self._stream.lost(reason)
        self._drain()

    def receive_data(self, data: bytes, now: int) -> None:
        """Take bytes from the peer. Never raises for what they are."""
        self._stream.receive_data(data, now)
        self._drain()
        self._stream.rewind()

    def data_to_send(self, now: int) -> bytes:
        """Return what is to go out."""
        return b"".join(train.data for train in self._stream.trains_to_send(now))

    def _drain(self) -> None:
        while (event := self._stream.next_event()) is not None:
            if isinstance(event, Connected):
                self._stream.send(self._handshake.to_bytes())
            elif isinstance(event, Disconnected):
                self._end(event.reason)
            elif isinstance(event, MessageReceived) and not self.is_over:
                try:
                    self._on_message(event.data)
                except MessageDecodeError as error:
                    self._end(str(error))

    def _on_message(self, data: bytes) -> None:
        if self._their is None:
            their = Handshake.parse(data)
            if their.info_hash != self._handshake.info_hash:
                raise MessageDecodeError("it answers for another torrent")
            self._their = their
            self._has_greeted = not their.has_extended
            if their.has_extended:
                payload = extension_handshake((), self._stream.address, {})
                self._stream.send(Extended(0, payload).to_bytes())
            return
        message = parse(data)
        if isinstance(message, Extended) and message.extension == 0:
            self._client = read_extension_handshake(message.payload).client
            self._has_greeted = True
        elif message is not None:
            self._note(message)
        self.is_over = self._has_greeted and (self._bits is not None or self._has_all)

    def _note(self, message: Message) -> None:
        if isinstance(message, Bitfield):
            self._check(len(message.bits))
            self._bits = int.from_bytes(message.bits, "big")
            if self._piece_count is None:
                self._piece_count = _count_of(message.bits)
        elif isinstance(message, HaveAll):
            self._has_all = True
        elif isinstance(message, HaveNone):
            self._bits = 0
        elif isinstance(message, Have) and self._piece_count is not None:
            if message.index >= self._piece_count:
                raise MessageDecodeError(f"it has piece {message.index}, which there is not")
            # Numbered as in a bitfield: the first piece is the most significant bit.
            last = -(-self._piece_count // 8) * 8 - 1
            self._bits = (self._bits or 0) | 1 << (last - message.index)

    def _check(self, size: int) -> None:
        if self._piece_count is not None and size != -(-self._piece_count // 8):
            raise MessageDecodeError(f"a bitfield of {size} bytes, for {self._piece_count} pieces")

    def _share(self) -> float | None:
        if self._has_all:
            return 1.0
        if self._bits is None:
            return None
        return min(self._bits.bit_count() / max(self._piece_count or 1, 1), 1.0)

    def _end(self, reason: str) -> None:
        self._failure = reason
        self.is_over = True


def _count_of(bits: bytes) -> int:
    """Return how many pieces a bitfield is of, when nothing else tells: up to seven are spare."""
    value = int.from_bytes(bits, "big")
    size = 8 * len(bits)
    if value:
        spare = (value & -value).bit_length() - 1
        if spare < 8 and value.bit_count() == size - spare:
            return size - spare
    return size


def client_of(peer_id: bytes) -> str:
    """Return the client that a peer id names (BEP 20); empty if it names none."""
    aria2 = _ARIA2.match(peer_id)
    if aria2 is not None:
        return f"aria2 {aria2[1].decode().replace('-', '.')}"
    found = _AZUREUS.match(peer_id)
    if found is None:
        return ""
    code = found[1].decode()
    digits = found[2].decode()
    version = ".".join(digits).removesuffix(".0")
    return f"{_CLIENTS.get(code, code)} {version}"
