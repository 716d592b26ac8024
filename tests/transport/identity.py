"""Identities for tests: deterministic keys with self-signed certificates."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from livestream.config import Identity


def identity(number: int) -> Identity:
    """Return the identity of node `number`; the same number gives the same keys."""
    seed = number.to_bytes(32, "big")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "livestream")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(number + 1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .sign(key, None)
    )
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Identity(raw, seed, certificate.public_bytes(Encoding.DER))
