"""Ed25519 signatures of a channel: over pieces, heads and nothing else (live.md's domain tags).

The only module of the core that touches cryptography besides the QUIC transport.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from livestream.errors import KeyMismatchError

__all__ = ["HEAD_DOMAIN", "KEY_SIZE", "PIECE_DOMAIN", "SIGNATURE_SIZE", "ChannelKey", "Signer"]

KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
# One key signs several kinds of thing; a signature over one must never pass for another.
PIECE_DOMAIN: Final = b"livestream piece 1\x00"
HEAD_DOMAIN: Final = b"livestream head 1\x00"


class ChannelKey:
    """A channel's public key: its name, and what its pieces are checked with."""

    __slots__ = ("_key", "raw")

    def __init__(self, raw: bytes) -> None:
        """Take 32 raw bytes.

        Raises:
            KeyMismatchError: they are no Ed25519 public key.
        """
        if len(raw) != KEY_SIZE:
            raise KeyMismatchError(f"A channel key has {KEY_SIZE} bytes, this one {len(raw)}.")
        self.raw = raw
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    def verifies(self, domain: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the channel's owner signed `message` in this domain."""
        try:
            self._key.verify(signature, domain + self.raw + message)
        except InvalidSignature:
            return False
        return True


class Signer:
    """The private half: whoever holds it is the publisher."""

    __slots__ = ("_key", "public_key")

    def __init__(self, private_key: bytes) -> None:
        """Take the raw 32-byte seed. Raises KeyMismatchError for another length."""
        if len(private_key) != KEY_SIZE:
            raise KeyMismatchError(
                f"A channel's private key has {KEY_SIZE} bytes, this one {len(private_key)}."
            )
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        self.public_key = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        return self._key.sign(domain + self.public_key + message)
