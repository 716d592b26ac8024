"""Settings as frozen dataclasses; units are in the names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from livestream.machine import MILLISECOND, SECOND

__all__ = ["Identity", "TransportConfig"]

LIVE_DELAY_TARGET_US: Final = (
    25 * MILLISECOND
)  # Live hops add up, so each may queue only this long.


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is: an Ed25519 key pair and the self-signed certificate that carries it."""

    public_key: bytes
    "Raw Ed25519 public key, 32 bytes."
    private_key: bytes
    "Raw Ed25519 private key (seed), 32 bytes."
    certificate: bytes
    "DER of the self-signed X.509 certificate over that key."


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """How the endpoint behaves."""

    delay_target_us: int = LIVE_DELAY_TARGET_US
    "Queuing delay that LEDBAT allows itself to cause."
    idle_timeout_us: int = 10 * SECOND
    "A connection that heard nothing for so long is gone."
    handshake_timeout_us: int = 5 * SECOND
    connections_max: int = 400
    "Connections at once, both directions; further ones are not answered."
    retry_threshold: int = 32
    "With this many unfinished incoming handshakes, strangers must first prove their address."
