"""A swarm of which only the info-hash is known: its peers are asked for the rest (BEP 9, 52)."""

from __future__ import annotations

from random import Random

from livestream.config import SwarmConfig, Transport
from livestream.swarm.hashes import HashFetch
from livestream.swarm.peer import Peer
from livestream.swarm.swarm import Swarm
from livestream.wire.hashes import Hashes, HashReject, HashRequest
from livestream.wire.messages import Extended, Handshake, Message

__all__ = ["SeekerSwarm"]


class SeekerSwarm(Swarm):
    """Greets peers and speaks extensions with them; pieces mean nothing to it yet."""

    preferred = (Transport.UTP, Transport.TCP)
    bounds_callers = True

    def __init__(
        self, info_hash: bytes, public_key: bytes, config: SwarmConfig, rng: Random
    ) -> None:
        super().__init__(info_hash, public_key, config, rng)
        self._hashes: HashFetch | None = None

    def seek(self, hashes: HashFetch, now: int) -> None:
        """Ask every peer for piece layers from now on."""
        self._hashes = hashes
        for peer in self.ready:
            hashes.ask(peer, now)

    def next_upload(self, now: int) -> bool:
        """There is nothing to give."""
        return False

    def _send_handshakes(self, peer: Peer) -> None:
        self._send_handshake(peer)

    def _on_greeted(self, peer: Peer, handshake: Handshake, now: int) -> None:
        super()._on_greeted(peer, handshake, now)
        self._send_extension_handshake(peer)

    def _on_extended(self, peer: Peer, message: Extended, now: int) -> None:
        super()._on_extended(peer, message, now)
        self._sweep_peer(peer, now)

    def _on_message(self, peer: Peer, message: Message, now: int) -> None:
        """What peers have is asked again once it is known what it means."""
        if isinstance(message, HashRequest):
            peer.send(message.rejection)
        elif isinstance(message, Hashes) and self._hashes is not None:
            self._hashes.on_hashes(peer, message, now)
        elif isinstance(message, HashReject) and self._hashes is not None:
            self._hashes.on_reject(peer, message, now)

    def _on_gone(self, peer: Peer, now: int) -> None:
        if self._hashes is not None:
            self._hashes.on_gone(peer)

    def _sweep_peer(self, peer: Peer, now: int) -> None:
        if self._hashes is not None and peer in self.ready:
            self._hashes.ask(peer, now)
