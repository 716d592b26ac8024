"""Peer exchange (BEP 11): peers tell each other whom they are connected to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from livestream.errors import MessageDecodeError
from livestream.machine import SECOND, Address
from livestream.swarm.extension import Extension
from livestream.swarm.peer import Peer
from livestream.wire import bencode
from livestream.wire.compact import decode_peers, encode_peers

__all__ = ["PeerExchange"]

FIRST_US: Final = SECOND // 2  # A newcomer's first news comes soon; BEP 11 allows it.
INTERVAL_US: Final = 60 * SECOND  # BEP 11: at most once a minute.
INTERVAL_MIN_US: Final = 30 * SECOND  # A peer that talks more often than this is not listened to.
FREE_MESSAGES: Final = 2
ADDED_MAX: Final = 50  # BEP 11: "no more than 50 added".
PEERS_MAX: Final = 100  # In all lists of one message that we read.
MESSAGE_BYTES_MAX: Final = 4 * 1024


@dataclass(slots=True)
class _Told:
    """What one peer knows from us, and when it hears and was heard next."""

    next_at: int
    addresses: dict[Address, None] = field(default_factory=dict)
    messages_in: int = 0
    heard_at: int = 0


class PeerExchange(Extension):
    """Gossips addresses. Nodes listen where they call from, so every peer's address is of use."""

    name = "ut_pex"

    def __init__(self, peers: Callable[[], Sequence[Peer]]) -> None:
        """Take how to ask for the peers of the swarm that are ready."""
        self.learned: list[Address] = []
        "Addresses heard of and not yet taken."
        self._peers = peers
        self._told: dict[Peer, _Told] = {}

    def take_learned(self) -> list[Address]:
        """Return the addresses heard of since the last call."""
        learned, self.learned = self.learned, []
        return learned

    def on_ready(self, peer: Peer, now: int) -> None:
        """Start telling a peer."""
        self._told[peer] = _Told(now + FIRST_US)

    def on_message(self, peer: Peer, payload: bytes, now: int) -> None:
        """Learn addresses. Raises MessageDecodeError."""
        told = self._told[peer]
        told.messages_in += 1
        is_flood = now - told.heard_at < INTERVAL_MIN_US and told.messages_in > FREE_MESSAGES
        if is_flood:
            return
        told.heard_at = now
        if len(payload) > MESSAGE_BYTES_MAX:
            raise MessageDecodeError(f"peer exchange of {len(payload)} bytes")
        fields = bencode.decode(payload)
        if not isinstance(fields, dict):
            raise MessageDecodeError("peer exchange: no dictionary")
        v4, v6 = fields.get(b"added", b""), fields.get(b"added6", b"")
        if not isinstance(v4, bytes) or not isinstance(v6, bytes):
            raise MessageDecodeError("peer exchange: no compact peers")
        self.learned += decode_peers(v4, v6)[:PEERS_MAX]

    def on_gone(self, peer: Peer, now: int) -> None:
        """Forget what a peer was told."""
        self._told.pop(peer, None)

    def on_stored(self, index: int, peer: Peer | None, now: int) -> None:
        """Pieces are no news here."""

    def get_timer(self) -> int | None:
        """Return when somebody is to be told."""
        return min((told.next_at for told in self._told.values()), default=None)

    def handle_timer(self, now: int) -> None:
        """Tell those who are due what has changed."""
        addresses = {peer.address: None for peer in self._peers() if peer.address.port}
        for peer, told in self._told.items():
            if told.next_at > now:
                continue
            told.next_at = now + INTERVAL_US
            others = [address for address in addresses if address != peer.address]
            added = [address for address in others if address not in told.addresses][:ADDED_MAX]
            dropped = [address for address in told.addresses if address not in addresses]
            if not added and not dropped:
                continue
            for address in added:
                told.addresses[address] = None
            for address in dropped[:ADDED_MAX]:
                del told.addresses[address]
            peer.send_extended(self.name, _serialise(added, dropped[:ADDED_MAX]))


def _serialise(added: Sequence[Address], dropped: Sequence[Address]) -> bytes:
    added4, added6 = encode_peers(list(added))
    dropped4, dropped6 = encode_peers(list(dropped))
    return bencode.encode(
        {
            b"added": added4,
            b"added.f": bytes(len(added4) // 6),
            b"added6": added6,
            b"added6.f": bytes(len(added6) // 18),
            b"dropped": dropped4,
            b"dropped6": dropped6,
        }
    )
