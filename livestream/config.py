"""Settings as frozen dataclasses; units are in the names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from livestream.machine import MILLISECOND, SECOND

__all__ = [
    "FILE_DELAY_TARGET_US",
    "LIVE_DELAY_TARGET_US",
    "Identity",
    "LiveConfig",
    "SwarmConfig",
    "Transport",
    "TransportConfig",
]

LIVE_DELAY_TARGET_US: Final = (
    25 * MILLISECOND
)  # Live hops add up, so each may queue only this long.


class Transport(Enum):
    """What carries the messages of two peers."""

    QUIC = "quic"
    UTP = "utp"
    TCP = "tcp"
    HTTP = "http"
    "Of web seeds only: nobody can choose it."


FILE_DELAY_TARGET_US: Final = 60 * MILLISECOND  # Nobody waits for the next second of a file.


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


@dataclass(frozen=True, slots=True)
class SwarmConfig:
    """How many peers, and how long they may be silent."""

    neighbours_wanted: int = 12
    "Peers that a node calls by itself, as long as it has fewer than this."
    peers_max: int = 60
    "Peers at once, whoever called; further ones are turned away."
    attempts_max: int = 8
    "Calls under way at once."
    greeting_timeout_us: int = 5 * SECOND
    silence_max_us: int = 6 * SECOND
    "A peer that says nothing for so long is gone; a live peer says something each second."
    upload_bps: int | None = None
    "Hard cap on what leaves this node, every wire byte counted; None: no cap."
    transport: Transport | None = None
    "The only one by which peers may be called and may call; None: what suits the swarm."


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """How one channel is sent or received."""

    latency_us: int = 1 * SECOND
    "How far behind the capture a viewer plays."
    window_us: int = 15 * SECOND
    "How much of the past is kept for repair and tune-in."
    substreams: int = 8
    heads_per_substream: int = 2
    "Children that the publisher feeds in each substream."
    slots_max: int = 24
    "Children over all substreams that a viewer feeds when nothing caps its upload."
    upload_share: float = 0.85
    "The part of a capped upload that is promised to children; the rest repairs and tunes in."
    reserve_share: float = 0.03
    "The part of the rate that the publisher gives beside its heads, once there is a crowd."
    repair_share: float = 0.15
    "Repair may ask for at most this part of the channel's rate."
