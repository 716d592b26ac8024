"""Messages about a v2 torrent's hash trees (BEP 52): hash request, hashes, hash reject."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Final

from livestream.errors import MessageDecodeError
from livestream.wire.message import Message

__all__ = ["HASH_SIZE", "HashReject", "HashRequest", "Hashes"]

HASH_SIZE: Final = 32  # SHA-256.
HASHES_MAX: Final = 8_192 + 32  # What libtorrent may send at most, and a proof: 263 KB.
_RANGE: Final = Struct("!32sIIII")


@dataclass(frozen=True, slots=True)
class _Range(Message):
    """Names `length` hashes from `index` in one layer of the tree below `root`."""

    root: bytes
    "The file's `pieces root`."
    base: int
    "Layers between the leaves and the hashes: 0 for the hashes of 16 KiB blocks."
    index: int
    length: int
    proof_layers: int
    "How many layers above `base` the proof goes through."

    def to_bytes(self) -> bytes:
        """Serialise, without the length prefix."""
        return bytes((self.ID,)) + _RANGE.pack(
            self.root, self.base, self.index, self.length, self.proof_layers
        )

    @classmethod
    def parse(cls, body: bytes) -> Message:
        """Parse what follows the id. Raises MessageDecodeError."""
        if len(body) != _RANGE.size:
            raise MessageDecodeError(f"{cls.__name__}: {len(body)} bytes, expected {_RANGE.size}")
        return cls(*_RANGE.unpack(body))


@dataclass(frozen=True, slots=True)
class HashRequest(_Range):
    """Send me these hashes, and the uncles that prove them."""

    ID: ClassVar[int] = 21

    @property
    def rejection(self) -> HashReject:
        """The message that answers it with a no."""
        return HashReject(self.root, self.base, self.index, self.length, self.proof_layers)


@dataclass(frozen=True, slots=True)
class HashReject(_Range):
    """I will not send these hashes."""

    ID: ClassVar[int] = 23

    @property
    def request(self) -> HashRequest:
        """What it answers."""
        return HashRequest(self.root, self.base, self.index, self.length, self.proof_layers)


@dataclass(frozen=True, slots=True)
class Hashes(Message):
    """The answer to `request`: its hashes, then the uncles, the one nearest to the root last."""

    ID: ClassVar[int] = 22
    request: HashRequest
    hashes: bytes

    def to_bytes(self) -> bytes:
        """Serialise, without the length prefix."""
        return bytes((self.ID,)) + self.request.to_bytes()[1:] + self.hashes

    @classmethod
    def parse(cls, body: bytes) -> Hashes:
        """Parse what follows the id; how many hashes there must be is for the swarm to judge."""
        count, rest = divmod(len(body) - _RANGE.size, HASH_SIZE)
        if rest or not 0 <= count <= HASHES_MAX:
            raise MessageDecodeError(f"hashes of {len(body)} bytes")
        return cls(HashRequest(*_RANGE.unpack_from(body)), body[_RANGE.size :])
