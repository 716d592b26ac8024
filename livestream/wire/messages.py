"""Peer wire messages (BEP 3, 6, 10): the handshake, and the bodies behind a length prefix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Final

from livestream.errors import MessageDecodeError
from livestream.wire.hashes import Hashes, HashReject, HashRequest
from livestream.wire.message import Message

__all__ = [
    "HANDSHAKE_SIZE",
    "MESSAGE_BYTES_MAX",
    "AllowedFast",
    "Bitfield",
    "Cancel",
    "Choke",
    "Extended",
    "Handshake",
    "Have",
    "HaveAll",
    "HaveNone",
    "Interested",
    "Message",
    "NotInterested",
    "Piece",
    "Reject",
    "Request",
    "Suggest",
    "Unchoke",
    "parse",
    "requests_to_bytes",
]

MESSAGE_BYTES_MAX: Final = 1 << 20  # More than any piece or metadata message; bitfields fit too.
PROTOCOL: Final = b"\x13BitTorrent protocol"
HANDSHAKE_SIZE: Final = 68
EXTENDED_BIT: Final = 1 << 20  # BEP 10: reserved byte 5, 0x10, as a bit of the 64-bit field.
FAST_BIT: Final = 1 << 2  # BEP 6: reserved byte 7, 0x04.
_INDEX: Final = Struct("!I")
_BLOCK: Final = Struct("!III")
_REQUEST: Final = Struct("!BIII")
_PIECE: Final = Struct("!II")


@dataclass(frozen=True, slots=True)
class Handshake:
    """The first 68 bytes each way (BEP 3)."""

    info_hash: bytes
    peer_id: bytes
    reserved: int = EXTENDED_BIT | FAST_BIT

    def to_bytes(self) -> bytes:
        """Serialise."""
        return PROTOCOL + self.reserved.to_bytes(8, "big") + self.info_hash + self.peer_id

    @classmethod
    def parse(cls, data: bytes) -> Handshake:
        """Parse.

        Raises:
            MessageDecodeError: not a BitTorrent handshake.
        """
        if len(data) != HANDSHAKE_SIZE or not data.startswith(PROTOCOL):
            raise MessageDecodeError("not a BitTorrent handshake")
        return cls(data[28:48], data[48:68], int.from_bytes(data[20:28], "big"))

    @property
    def has_fast(self) -> bool:
        """Whether the sender speaks the fast extension (BEP 6)."""
        return bool(self.reserved & FAST_BIT)

    @property
    def has_extended(self) -> bool:
        """Whether the sender speaks the extension protocol (BEP 10)."""
        return bool(self.reserved & EXTENDED_BIT)


class _Bare(Message):
    """A message that is nothing but its id."""

    __slots__ = ()

    def to_bytes(self) -> bytes:
        return bytes((self.ID,))

    @classmethod
    def parse(cls, body: bytes) -> Message:
        if body:
            raise MessageDecodeError(f"{cls.__name__}: {len(body)} bytes too many")
        return cls()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class Choke(_Bare):
    """I will not answer your requests."""

    __slots__ = ()
    ID = 0


class Unchoke(_Bare):
    """I will answer your requests."""

    __slots__ = ()
    ID = 1


class Interested(_Bare):
    """You have what I want."""

    __slots__ = ()
    ID = 2


class NotInterested(_Bare):
    """You have nothing that I want."""

    __slots__ = ()
    ID = 3


class HaveAll(_Bare):
    """I have every piece (BEP 6)."""

    __slots__ = ()
    ID = 14


class HaveNone(_Bare):
    """I have no piece (BEP 6)."""

    __slots__ = ()
    ID = 15


@dataclass(frozen=True, slots=True)
class _Index(Message):
    """Names one piece."""

    index: int

    def to_bytes(self) -> bytes:
        """Serialise, without the length prefix."""
        return bytes((self.ID,)) + _INDEX.pack(self.index)

    @classmethod
    def parse(cls, body: bytes) -> Message:
        """Parse what follows the id. Raises MessageDecodeError."""
        if len(body) != _INDEX.size:
            raise MessageDecodeError(f"{cls.__name__}: {len(body)} bytes, expected {_INDEX.size}")
        return cls(*_INDEX.unpack(body))


@dataclass(frozen=True, slots=True)
class Have(_Index):
    """I have verified this piece."""

    ID: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class Suggest(_Index):
    """You may like to ask for this piece (BEP 6)."""

    ID: ClassVar[int] = 13


@dataclass(frozen=True, slots=True)
class AllowedFast(_Index):
    """I serve this piece even while I choke you (BEP 6)."""

    ID: ClassVar[int] = 17


@dataclass(frozen=True, slots=True)
class Bitfield(Message):
    """All that I have, one bit a piece, most significant first."""

    ID: ClassVar[int] = 5
    bits: bytes

    def to_bytes(self) -> bytes:
        """Serialise, without the length prefix."""
        return b"\x05" + self.bits

    @classmethod
    def parse(cls, body: bytes) -> Bitfield:
        """Parse what follows the id; its length is for the swarm to judge."""
        return cls(body)


@dataclass(frozen=True, slots=True)
class _Block(Message):
    """Names one block: `length` bytes from `begin` in piece `index`."""

    index: int
    begin: int
    length: int

    def to_bytes(self) -> bytes:
        """Serialise, without the length prefix."""
        return bytes((self.ID,)) + _BLOCK.pack(self.index, self.begin, self.length)

    @classmethod
    def parse(cls, body: bytes) -> Message:
        """Parse what follows the id. Raises MessageDecodeError."""
        if len(body) != _BLOCK.size:
            raise MessageDecodeError(f"{cls.__name__}: {len(body)} bytes, expected {_BLOCK.size}")
        return cls(*_BLOCK.unpack(body))


@dataclass(frozen=True, slots=True)
class Request(_Block):
    """Send me this block."""

    ID: ClassVar[int] = 6


@dataclass(slots=True)  # Not frozen, as it is hot: freezing takes longer than all else about it.
class Piece(Message):
    """A block of a piece."""

    ID: ClassVar[int] = 7
    index: int
    begin: int
    data: bytes

    def to_bytes(self) -> bytes:
        """Serialise, without the length prefix."""
        return b"\x07" + _PIECE.pack(self.index, self.begin) + self.data

    @classmethod
    def parse(cls, body: bytes) -> Piece:
        """Parse what follows the id. Raises MessageDecodeError."""
        if len(body) < _PIECE.size:
            raise MessageDecodeError(f"piece: {len(body)} bytes, expected at least {_PIECE.size}")
        index, begin = _PIECE.unpack_from(body)
        return cls(index, begin, body[_PIECE.size :])


@dataclass(frozen=True, slots=True)
class Cancel(_Block):
    """I no longer want this block."""

    ID: ClassVar[int] = 8


@dataclass(frozen=True, slots=True)
class Reject(_Block):
    """I will not send this block (BEP 6)."""

    ID: ClassVar[int] = 16


@dataclass(slots=True)  # Hot, as pieces are.
class Extended(Message):
    """A message of an extension (BEP 10); extension 0 is the extension handshake."""

    ID: ClassVar[int] = 20
    extension: int
    payload: bytes

    def to_bytes(self) -> bytes:
        """Serialise, without the length prefix."""
        return bytes((self.ID, self.extension)) + self.payload

    @classmethod
    def parse(cls, body: bytes) -> Extended:
        """Parse what follows the id. Raises MessageDecodeError."""
        if not body:
            raise MessageDecodeError("extended: empty")
        return cls(body[0], body[1:])


_KINDS: Final[dict[int, type[Message]]] = {
    kind.ID: kind
    for kind in (
        Choke,
        Unchoke,
        Interested,
        NotInterested,
        Have,
        Bitfield,
        Request,
        Piece,
        Cancel,
        Suggest,
        HaveAll,
        HaveNone,
        Reject,
        AllowedFast,
        Extended,
        HashRequest,
        Hashes,
        HashReject,
    )
}


def requests_to_bytes(blocks: Iterable[tuple[int, int, int]]) -> list[bytes]:
    """Serialise requests for many blocks, (piece, begin, length) each, without objects between."""
    return [_REQUEST.pack(Request.ID, *block) for block in blocks]


def parse(data: bytes) -> Message | None:
    """Parse one message; None for an id that we do not know, which BEP 3 has us ignore.

    Raises:
        MessageDecodeError: a known id with a body that cannot be.
    """
    if not data:
        raise MessageDecodeError("empty message")
    number = data[0]
    if number == Extended.ID and len(data) > 1:  # The two that come most, without a copy more.
        return Extended(data[1], data[2:])
    if number == Piece.ID and len(data) > _PIECE.size:
        index, begin = _PIECE.unpack_from(data, 1)
        return Piece(index, begin, data[1 + _PIECE.size :])
    kind = _KINDS.get(number)
    return None if kind is None else kind.parse(data[1:])
