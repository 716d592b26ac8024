"""A live piece on the wire. Each verifies alone ("Sign All", RFC 7574)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from livestream.errors import MessageDecodeError
from livestream.live.signing import PIECE_DOMAIN, SIGNATURE_SIZE, ChannelKey, Signer
from livestream.media.records import NO_RECORD, Payload, PayloadFlags

__all__ = ["PIECE_OVERHEAD", "LivePiece"]

# epoch u32, index u32, captured u48 (as u16 and u32), flags u8, first_record u16, length u16
_HEADER: Final = Struct("!IIHIBHH")
PIECE_OVERHEAD: Final = _HEADER.size + SIGNATURE_SIZE
_KNOWN_FLAGS: Final = PayloadFlags.KEYFRAME | PayloadFlags.END


@dataclass(frozen=True, slots=True)
class LivePiece:
    """One piece of a channel: the payload, where it belongs, and the publisher's word for it."""

    epoch: int
    "Which run of the publisher: rises with every start."
    index: int
    payload: Payload
    signature: bytes

    @classmethod
    def sign(cls, signer: Signer, epoch: int, index: int, payload: Payload) -> LivePiece:
        """Make a piece out of a payload."""
        header = _pack_header(epoch, index, payload)
        signature = signer.sign(PIECE_DOMAIN, header + payload.data)
        return cls(epoch, index, payload, signature)

    def to_bytes(self) -> bytes:
        """Serialise."""
        header = _pack_header(self.epoch, self.index, self.payload)
        return header + self.signature + self.payload.data

    @classmethod
    def parse(cls, data: bytes) -> LivePiece:
        """Parse, without checking the signature.

        Raises:
            MessageDecodeError: sizes or fields that no publisher writes.
        """
        if len(data) < PIECE_OVERHEAD:
            raise MessageDecodeError(f"live piece: {len(data)} bytes")
        epoch, index, high, low, flags, first_record, length = _HEADER.unpack_from(data)
        body = data[PIECE_OVERHEAD:]
        if len(body) != length or flags & ~_KNOWN_FLAGS:
            raise MessageDecodeError(f"live piece: {len(body)} bytes, header says {length}")
        if first_record != NO_RECORD and first_record >= max(length, 1):
            raise MessageDecodeError(f"live piece: first record at {first_record} of {length}")
        payload = Payload(high << 32 | low, PayloadFlags(flags), first_record, body)
        return cls(epoch, index, payload, data[_HEADER.size : PIECE_OVERHEAD])

    def is_signed_by(self, key: ChannelKey) -> bool:
        """Whether the channel's publisher made this piece."""
        header = _pack_header(self.epoch, self.index, self.payload)
        return key.verifies(PIECE_DOMAIN, header + self.payload.data, self.signature)


def _pack_header(epoch: int, index: int, payload: Payload) -> bytes:
    captured = payload.captured_ms
    return _HEADER.pack(
        epoch,
        index,
        captured >> 32,
        captured & 0xFFFFFFFF,
        payload.flags,
        payload.first_record,
        len(payload.data),
    )
