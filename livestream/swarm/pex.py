"""Peer exchange (BEP 11): peers tell each other whom they are connected to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from livestream.discovery.reach import Zone, zone_of
from livestream.errors import MessageDecodeError
from livestream.machine import SECOND, Address, earliest
from livestream.swarm.extension import Extension
from livestream.swarm.peer import Peer
from livestream.wire import bencode
from livestream.wire.compact import V4_SIZE, V6_SIZE, encode_peers, pair_flags

__all__ = ["PeerExchange"]

FIRST_US: Final = SECOND // 2  # A newcomer's first news comes soon; BEP 11 allows it.
INTERVAL_US: Final = 60 * SECOND  # BEP 11: at most once a minute.
IDLE_US: Final = 5 * SECOND  # Who was told nothing for a while may be told soon what is new.
INTERVAL_MIN_US: Final = 30 * SECOND  # A peer that talks more often than this is not listened to.
FREE_MESSAGES: Final = 2
ADDED_MAX: Final = 50  # BEP 11: "no more than 50 added".
PEERS_MAX: Final = 100  # In all lists of one message that we read.
MESSAGE_BYTES_MAX: Final = 4 * 1024
SEED_FLAG: Final = 0x02
REACHABLE_FLAG: Final = 0x10  # We called it there, and it answered.
# How far inside: a peer may speak of places like its own, and of those further out.
_DEPTHS: Final = {Zone.GLOBAL: 0, Zone.PRIVATE: 1, Zone.LOOPBACK: 2}


@dataclass(slots=True)
class _Told:
    """What one peer knows from us, and when it hears and was heard next."""

    next_at: int
    addresses: dict[Address, None] = field(default_factory=dict)
    messages_in: int = 0
    heard_at: int = 0


class PeerExchange(Extension):
    """Gossips addresses: where the peers take calls that we are connected to."""

    name = "ut_pex"

    def __init__(
        self,
        peers: Callable[[], Sequence[Peer]],
        on_seeds: Callable[[list[Address]], None] | None = None,
    ) -> None:
        """Take how to ask for the ready peers of whom it is known where they take calls.

        `on_seeds` is told of those who are said to want nothing; None: they are as all others.
        """
        self.learned: list[Address] = []
        "Addresses heard of and not yet taken."
        self._peers = peers
        self._on_seeds = on_seeds
        self._told: dict[Peer, _Told] = {}
        self._timer: int | None = None
        "Not after the first time that anybody is due."

    def take_learned(self) -> list[Address]:
        """Return the addresses heard of since the last call."""
        learned, self.learned = self.learned, []
        return learned

    def on_ready(self, peer: Peer, now: int) -> None:
        """Start telling a peer."""
        self._told[peer] = _Told(now + FIRST_US)
        self._timer = earliest(self._timer, now + FIRST_US)

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
        depth = _DEPTHS.get(zone_of(peer.address.host), 0)
        flagged = pair_flags(v4, _flags_of(fields, b"added.f"), V4_SIZE)
        flagged += pair_flags(v6, _flags_of(fields, b"added6.f"), V6_SIZE)
        seeds: list[Address] = []
        for address, flags in flagged[:PEERS_MAX]:
            if _DEPTHS.get(zone_of(address.host), 3) <= depth:
                is_seed = bool(flags & SEED_FLAG) and self._on_seeds is not None
                (seeds if is_seed else self.learned).append(address)
        if seeds and self._on_seeds is not None:
            self._on_seeds(seeds)

    def on_gone(self, peer: Peer, now: int) -> None:
        """Forget what a peer was told."""
        self._told.pop(peer, None)

    def on_stored(self, index: int, peer: Peer | None, now: int) -> None:
        """Pieces are no news here."""

    def get_timer(self) -> int | None:
        """Return when somebody is to be told."""
        return self._timer

    def handle_timer(self, now: int) -> None:
        """Tell those who are due what has changed."""
        addresses = {peer.address: _flags(peer) for peer in self._peers() if peer.address.port}
        for peer, told in self._told.items():
            if told.next_at > now:
                continue
            told.next_at = now + IDLE_US
            own, known = peer.address, told.addresses
            added = [each for each in addresses if each not in known and each != own][:ADDED_MAX]
            dropped = [address for address in known if address not in addresses]
            if not added and not dropped:
                continue
            for address in added:
                told.addresses[address] = None
            for address in dropped[:ADDED_MAX]:
                del told.addresses[address]
            told.next_at = now + INTERVAL_US
            news = {address: addresses[address] for address in added}
            peer.send_extended(self.name, _serialise(news, dropped[:ADDED_MAX]))
        self._timer = min((told.next_at for told in self._told.values()), default=None)


def _flags_of(fields: Mapping[bytes, bencode.Value], key: bytes) -> bytes:
    """Return what is said of each added peer; nothing if it is malformed: it is only a hint."""
    flags = fields.get(key)
    return flags if isinstance(flags, bytes) else b""


def _flags(peer: Peer) -> int:
    return SEED_FLAG * peer.is_seed | REACHABLE_FLAG * peer.connection.is_outgoing


def _serialise(added: Mapping[Address, int], dropped: Sequence[Address]) -> bytes:
    added4, added6 = encode_peers(list(added))
    dropped4, dropped6 = encode_peers(list(dropped))
    flags4 = bytes(flags for address, flags in added.items() if ":" not in address.host)
    flags6 = bytes(flags for address, flags in added.items() if ":" in address.host)
    return bencode.encode(
        {
            b"added": added4,
            b"added.f": flags4,
            b"added6": added6,
            b"added6.f": flags6,
            b"dropped": dropped4,
            b"dropped6": dropped6,
        }
    )
