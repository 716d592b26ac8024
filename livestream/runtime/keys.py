"""A node's identity: a fresh Ed25519 key and its self-signed certificate."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from livestream.config import Identity
from livestream.errors import KeyMismatchError

__all__ = [
    "identity_of",
    "new_identity",
    "new_private_key",
    "private_key_pem",
    "public_key_of",
    "read_private_key",
]


_HEX: Final = re.compile(rb"[0-9a-fA-F]{64}")


def new_private_key() -> bytes:
    """Return a fresh raw Ed25519 private key, 32 bytes."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_key_of(private_key: bytes) -> bytes:
    """Return the raw public key of a raw private key."""
    return Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def private_key_pem(private_key: bytes) -> bytes:
    """Return a raw private key as PEM (PKCS #8)."""
    key = Ed25519PrivateKey.from_private_bytes(private_key)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_private_key(path: Path) -> bytes:
    """Read a raw private key from a file: PEM, or 64 hex digits. Raises KeyMismatchError."""
    try:
        data = path.read_bytes()[:10_000]
    except OSError as error:
        raise KeyMismatchError(f"Cannot read the key {path}: {error.strerror}.") from error
    text = data.strip()
    try:
        if _HEX.fullmatch(text):
            return bytes.fromhex(text.decode())
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyMismatchError(
            f"{path} holds no Ed25519 private key (PEM or 64 hex digits). Give another with --key."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyMismatchError(f"{path} holds another kind of key; a channel's is Ed25519.")
    return key.private_bytes_raw()


def new_identity() -> Identity:
    """Return an identity that nobody has seen before: a node is not to be tracked."""
    return identity_of(new_private_key(), x509.random_serial_number())


def identity_of(private_key: bytes, serial: int) -> Identity:
    """Return the identity of a raw private key; the same two give the same certificate."""
    key = Ed25519PrivateKey.from_private_bytes(private_key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "livestream")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .sign(key, None)
    )
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Identity(raw, private_key, certificate.public_bytes(Encoding.DER))
