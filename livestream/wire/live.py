"""Messages of the `live` extension: what peers of a channel tell each other beside pieces.

The first byte is the kind. Times are milliseconds; a node's id in a path is four bytes of the
hash of its key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct, pack, unpack_from
from typing import ClassVar, Final

from livestream.errors import MessageDecodeError
from livestream.machine import Address
from livestream.wire.compact import V4_SIZE, V6_SIZE, decode_peers, encode_peers

__all__ = [
    "LAG_UNKNOWN_MS",
    "NODE_ID_SIZE",
    "PATH_MAX",
    "SUBSTREAMS_MAX",
    "Feed",
    "Goodbye",
    "HeadUpdate",
    "LiveMessage",
    "Refuse",
    "Rooms",
    "Status",
    "Subscribe",
    "Unsubscribe",
    "WindowUpdate",
    "parse",
]

LAG_UNKNOWN_MS: Final = 0xFFFF  # "Nobody feeds me this substream."
NODE_ID_SIZE: Final = 4
PATH_MAX: Final = 16  # Trees of a million viewers are less deep; longer is a loop or a lie.
SUBSTREAMS_MAX: Final = 32
WINDOW_BITS_MAX: Final = 1 << 14  # 60 s of the fastest channel; bounds what one message can claim.
ALTERNATIVES_MAX: Final = 3
STATUSES_REMEMBERED: Final = 2_048  # In a simulation, half a hundred nodes read the same bytes.
_WINDOW: Final = Struct("!BII")
_SUBSCRIBE: Final = Struct("!BBIB")
_UNSUBSCRIBE: Final = Struct("!BBI")
_REFUSE: Final = Struct("!BBHB")
_FEED: Final = Struct("!BBIHB")
_STATUS: Final = Struct("!BBBBH")
_HAS_SOURCE: Final = 1
ROOMS_MAX: Final = 8


class LiveMessage(ABC):
    """One message of the extension."""

    __slots__ = ()
    KIND: ClassVar[int]

    @abstractmethod
    def to_bytes(self) -> bytes:
        """Serialise."""

    @classmethod
    @abstractmethod
    def parse(cls, data: bytes) -> LiveMessage:
        """Parse, kind byte included. Raises MessageDecodeError."""


@dataclass(frozen=True, slots=True)
class HeadUpdate(LiveMessage):
    """The channel's signed newest state, as its publisher made it."""

    KIND: ClassVar[int] = 0
    head: bytes

    def to_bytes(self) -> bytes:
        """Serialise."""
        return b"\x00" + self.head

    @classmethod
    def parse(cls, data: bytes) -> HeadUpdate:
        """Parse; the head itself is checked where its signature is."""
        return cls(data[1:])


@dataclass(slots=True)  # Not frozen, as it is hot: freezing takes longer than all else about it.
class WindowUpdate(LiveMessage):
    """Which pieces I hold in `[start, start + len(held))`; nothing before `first` any more."""

    KIND: ClassVar[int] = 1
    first: int
    start: int
    held: int
    "Bit i set: I hold piece start + i."

    def to_bytes(self) -> bytes:
        """Serialise."""
        size = (self.held.bit_length() + 7) // 8
        return _WINDOW.pack(self.KIND, self.first, self.start) + self.held.to_bytes(size, "little")

    @classmethod
    def parse(cls, data: bytes) -> WindowUpdate:
        """Parse. Raises MessageDecodeError."""
        if not _WINDOW.size <= len(data) <= _WINDOW.size + WINDOW_BITS_MAX // 8:
            raise MessageDecodeError(f"window: {len(data)} bytes")
        _, first, start = _WINDOW.unpack_from(data)
        return cls(first, start, int.from_bytes(data[_WINDOW.size :], "little"))


@dataclass(frozen=True, slots=True)
class Subscribe(LiveMessage):
    """Feed me this substream, from this piece on."""

    KIND: ClassVar[int] = 2
    substream: int
    from_index: int
    is_fed: bool = False
    "Somebody else feeds me as yet: begin with the next piece, I do not lack those before it."

    def to_bytes(self) -> bytes:
        """Serialise."""
        return _SUBSCRIBE.pack(self.KIND, self.substream, self.from_index, self.is_fed)

    @classmethod
    def parse(cls, data: bytes) -> Subscribe:
        """Parse. Raises MessageDecodeError."""
        if len(data) != _SUBSCRIBE.size:
            raise MessageDecodeError(f"subscribe: {len(data)} bytes")
        _, substream, from_index, is_fed = _SUBSCRIBE.unpack(data)
        return cls(substream, from_index, bool(is_fed))


@dataclass(frozen=True, slots=True)
class Feed(LiveMessage):
    """I feed you this substream. Sent again whenever its path changes."""

    KIND: ClassVar[int] = 3
    substream: int
    lag_ms: int
    path: tuple[bytes, ...]
    "Ids of the nodes that a piece passes, the publisher first and the sender last."
    above: Address | None = None
    "Who feeds the sender; of a head, another of its children, which takes its place if it fails."
    first: int = 0
    "The first piece that I push."

    def to_bytes(self) -> bytes:
        """Serialise."""
        v4, v6 = encode_peers([self.above] if self.above else [])
        start = _FEED.pack(self.KIND, self.substream, self.first, self.lag_ms, len(self.path))
        return start + b"".join(self.path) + v4 + v6

    @classmethod
    def parse(cls, data: bytes) -> Feed:
        """Parse. Raises MessageDecodeError."""
        if len(data) < _FEED.size:
            raise MessageDecodeError(f"feed: {len(data)} bytes")
        _, substream, first, lag_ms, hops = _FEED.unpack_from(data)
        end = _FEED.size + hops * NODE_ID_SIZE
        if not 1 <= hops <= PATH_MAX or len(data) < end:
            raise MessageDecodeError(f"feed: {len(data)} bytes, {hops} ids")
        path = tuple(data[at : at + NODE_ID_SIZE] for at in range(_FEED.size, end, NODE_ID_SIZE))
        return cls(substream, lag_ms, path, _parse_address(data[end:]), first)


@dataclass(frozen=True, slots=True)
class Refuse(LiveMessage):
    """I do not feed you this substream, or soon no longer; perhaps these will."""

    KIND: ClassVar[int] = 4
    substream: int
    alternatives: tuple[Address, ...] = ()
    notice_ms: int = 0
    "So much longer I go on."

    def to_bytes(self) -> bytes:
        """Serialise."""
        v4, v6 = encode_peers(list(self.alternatives[:ALTERNATIVES_MAX]))
        start = _REFUSE.pack(self.KIND, self.substream, self.notice_ms, len(v4) // 6)
        return start + v4 + v6

    @classmethod
    def parse(cls, data: bytes) -> Refuse:
        """Parse. Raises MessageDecodeError."""
        if len(data) < _REFUSE.size:
            raise MessageDecodeError(f"refuse: {len(data)} bytes")
        _, substream, notice_ms, count = _REFUSE.unpack_from(data)
        split = _REFUSE.size + 6 * count
        if count > ALTERNATIVES_MAX or len(data) < split:
            raise MessageDecodeError(f"refuse: {len(data)} bytes")
        peers = decode_peers(data[_REFUSE.size : split], data[split:])
        if len(peers) > ALTERNATIVES_MAX:
            raise MessageDecodeError(f"refuse: {len(peers)} alternatives")
        return cls(substream, tuple(peers), notice_ms)


@dataclass(frozen=True, slots=True)
class Unsubscribe(LiveMessage):
    """Stop feeding me this substream."""

    KIND: ClassVar[int] = 5
    substream: int
    end: int = 0
    "Somebody else pushes this piece and those after it; I still need those before."

    def to_bytes(self) -> bytes:
        """Serialise."""
        return _UNSUBSCRIBE.pack(self.KIND, self.substream, self.end)

    @classmethod
    def parse(cls, data: bytes) -> Unsubscribe:
        """Parse. Raises MessageDecodeError."""
        if len(data) != _UNSUBSCRIBE.size:
            raise MessageDecodeError(f"unsubscribe: {len(data)} bytes")
        _, substream, end = _UNSUBSCRIBE.unpack(data)
        return cls(substream, end)


@dataclass(frozen=True, slots=True)
class Status(LiveMessage):
    """How I am; once a second, and when it changes much."""

    KIND: ClassVar[int] = 6
    is_source: bool
    "I am the publisher."
    home: int
    "The substream in which I feed others; 0xff: any."
    spare_slots: int
    children: int
    lags_ms: tuple[int, ...]
    "Per substream: how long after its capture a piece reaches me; LAG_UNKNOWN_MS: not fed."

    def to_bytes(self) -> bytes:
        """Serialise."""
        flags = _HAS_SOURCE if self.is_source else 0
        start = _STATUS.pack(self.KIND, flags, self.home, self.spare_slots, self.children)
        return start + pack(f"!{len(self.lags_ms)}H", *self.lags_ms)

    @classmethod
    def parse(cls, data: bytes) -> Status:
        """Parse. Raises MessageDecodeError."""
        return _parse_status(data)


@dataclass(frozen=True, slots=True)
class Goodbye(LiveMessage):
    """I leave; this peer fed me and may now feed you."""

    KIND: ClassVar[int] = 7
    sponsor: Address | None = None

    def to_bytes(self) -> bytes:
        """Serialise."""
        v4, v6 = encode_peers([self.sponsor] if self.sponsor else [])
        return bytes((self.KIND,)) + v4 + v6

    @classmethod
    def parse(cls, data: bytes) -> Goodbye:
        """Parse. Raises MessageDecodeError."""
        return cls(_parse_address(data[1:]))


@dataclass(frozen=True, slots=True)
class Rooms(LiveMessage):
    """These could feed one more in that substream, when I heard of them last."""

    KIND: ClassVar[int] = 8
    rooms: tuple[tuple[int, Address], ...]
    "Substream and address of each."

    def to_bytes(self) -> bytes:
        """Serialise: how many have IPv4 and IPv6 addresses, their substreams, the addresses."""
        numbers: tuple[list[int], list[int]] = [], []
        packed: tuple[list[bytes], list[bytes]] = [], []
        for number, address in self.rooms[:ROOMS_MAX]:
            for family, data in enumerate(encode_peers([address])):
                if data:
                    numbers[family].append(number)
                    packed[family].append(data)
        four, six = map(len, numbers)
        start = bytes((self.KIND, four, six, *numbers[0], *numbers[1]))
        return start + b"".join(packed[0] + packed[1])

    @classmethod
    def parse(cls, data: bytes) -> Rooms:
        """Parse. Raises MessageDecodeError."""
        return _parse_rooms(data)


def _parse_address(data: bytes) -> Address | None:
    """Parse one address, or none. Raises MessageDecodeError."""
    if len(data) not in (0, V4_SIZE, V6_SIZE):
        raise MessageDecodeError(f"an address of {len(data)} bytes")
    peers = decode_peers(data, b"") if len(data) == V4_SIZE else decode_peers(b"", data)
    return peers[0] if peers else None


_KINDS: Final[dict[int, type[LiveMessage]]] = {
    kind.KIND: kind
    for kind in (
        HeadUpdate,
        WindowUpdate,
        Subscribe,
        Feed,
        Refuse,
        Unsubscribe,
        Status,
        Goodbye,
        Rooms,
    )
}


def parse(data: bytes) -> LiveMessage | None:
    """Parse one message of the extension; None for a kind that we do not know yet.

    Raises:
        MessageDecodeError: a known kind with contents that cannot be.
    """
    if not data:
        raise MessageDecodeError("empty live message")
    kind = _KINDS.get(data[0])
    return None if kind is None else kind.parse(data)


@lru_cache(STATUSES_REMEMBERED)
def _parse_status(data: bytes) -> Status:
    count, rest = divmod(len(data) - _STATUS.size, 2)
    if rest or not 0 <= count <= SUBSTREAMS_MAX:
        raise MessageDecodeError(f"status: {len(data)} bytes")
    _, flags, home, spare_slots, children = _STATUS.unpack_from(data)
    lags_ms = unpack_from(f"!{count}H", data, _STATUS.size)
    return Status(bool(flags & _HAS_SOURCE), home, spare_slots, children, lags_ms)


@lru_cache(STATUSES_REMEMBERED)
def _parse_rooms(data: bytes) -> Rooms:
    four, six = (data[1], data[2]) if len(data) >= 3 else (0, 0)
    start = 3 + four + six
    split = start + 6 * four
    if len(data) != split + 18 * six or four + six > ROOMS_MAX:
        raise MessageDecodeError(f"rooms: {len(data)} bytes")
    addresses = decode_peers(data[start:split], data[split:])
    if len(addresses) != four + six:
        raise MessageDecodeError("rooms: an address that nobody can have")
    return Rooms(tuple(zip(data[3:start], addresses, strict=True)))
