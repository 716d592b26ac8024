"""A swarm of which only the info-hash is known: its peers are asked for the metadata (BEP 9)."""

from __future__ import annotations

from livestream.swarm.peer import Peer
from livestream.swarm.swarm import Swarm
from livestream.wire.messages import Handshake, Message

__all__ = ["SeekerSwarm"]


class SeekerSwarm(Swarm):
    """Greets peers and speaks extensions with them; pieces mean nothing to it yet."""

    uses_streams = True

    def next_upload(self, now: int) -> bool:
        """There is nothing to give."""
        return False

    def _send_handshakes(self, peer: Peer) -> None:
        peer.connection.send(Handshake(self.info_hash, self.peer_id).to_bytes())

    def _on_greeted(self, peer: Peer, handshake: Handshake, now: int) -> None:
        super()._on_greeted(peer, handshake, now)
        self._send_extension_handshake(peer)

    def _on_message(self, peer: Peer, message: Message, now: int) -> None:
        """What peers have is asked again once it is known what it means."""

    def _on_gone(self, peer: Peer, now: int) -> None:
        """Nothing was asked of it here."""

    def _sweep_peer(self, peer: Peer, now: int) -> None:
        """Nothing is owed."""
