"""Identities for tests: deterministic keys with self-signed certificates."""

from __future__ import annotations

from livestream.config import Identity
from livestream.runtime.keys import identity_of


def identity(number: int) -> Identity:
    """Return the identity of node `number`; the same number gives the same keys."""
    return identity_of(number.to_bytes(32, "big"), number + 1)
