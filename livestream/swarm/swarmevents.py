"""What every swarm reports to whoever drives it, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass

from livestream.machine import Event
from livestream.swarm.peer import Peer

__all__ = ["PeerBanned", "PeerJoined", "PeerLeft", "SwarmStats"]


@dataclass(frozen=True, slots=True)
class PeerJoined(Event):
    """The peer's greeting is in: it can be talked to."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class PeerLeft(Event):
    """A peer that had joined is gone."""

    peer: Peer
    reason: str


@dataclass(frozen=True, slots=True)
class PeerBanned(Event):
    """A peer sent what no honest peer can send."""

    peer: Peer
    reason: str


@dataclass(slots=True)
class SwarmStats:
    """Counters of a swarm; they only grow."""

    pieces_received: int = 0
    "Verified and kept."
    pieces_duplicate: int = 0
    pieces_rejected: int = 0
    "Forged: their senders are banned."
    pieces_strange: int = 0
    payload_bytes: int = 0
    "Of all pieces received, kept or not."
    source_bytes: int = 0
    "Of the kept ones, what came straight from the publisher."
    kept_bytes: int = 0
    stream_bytes_out: int = 0
    "Blocks handed to byte streams."
    message_errors: int = 0
