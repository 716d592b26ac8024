"""Who may join a swarm: nobody who is banned, nobody twice, and not we ourselves (`Admission`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from livestream.config import SwarmConfig, Transport
from livestream.discovery.reach import Zone, zone_of
from livestream.errors import ProtocolError
from livestream.machine import SECOND
from livestream.swarm.candidates import HOST_CONNECTIONS_MAX, Candidates
from livestream.swarm.peer import Peer, peer_id_of
from livestream.transport.connection import Connection
from livestream.wire.messages import Handshake

__all__ = ["Admission"]

SETTLED_US: Final = 5 * SECOND  # A connection this old is known to both ends as the older one.


class Admission:
    """Judges connections and handshakes; it drops nobody itself."""

    def __init__(
        self,
        info_hashes: Sequence[bytes],
        peer_id: bytes,
        peers: Mapping[Connection, Peer],
        candidates: Candidates,
        config: SwarmConfig,
        *,
        is_silent: Callable[[Peer, int], bool],
        bounds_callers: bool,
    ) -> None:
        """Share the swarm's names, peers and candidates; take who is silent for too long."""
        self._info_hashes = info_hashes
        self._peer_id = peer_id
        self._peers = peers
        self._candidates = candidates
        self._transport = config.transport
        self._is_silent = is_silent
        self._bounds_callers = bounds_callers

    def refuses(self, connection: Connection, public_key: bytes, now: int) -> bool:
        """Whether this is nobody to talk to: ourselves, somebody banned, or not as we are told."""
        is_choosable = connection.transport is not Transport.HTTP
        if is_choosable and self._transport not in (None, connection.transport):
            return True
        if public_key and peer_id_of(public_key) == self._peer_id:
            self._candidates.forget(connection.address)
            return True
        return self._candidates.bans(connection.address, public_key, now)

    def has_room_for(self, host: str) -> bool:
        """Whether one more connection of a host is no crowd."""
        if not self._bounds_callers or zone_of(host) is Zone.LOOPBACK:
            return True
        of_host = sum(peer.address.host == host for peer in self._peers.values())
        return of_host < HOST_CONNECTIONS_MAX

    def check(self, peer: Peer, handshake: Handshake) -> None:
        """Learn from a handshake who a peer is. Raises ProtocolError if it cannot be one."""
        if handshake.info_hash not in self._info_hashes:
            raise ProtocolError("another swarm's handshake")
        if handshake.peer_id == self._peer_id:
            self._candidates.forget(peer.address)
            raise ProtocolError("a connection to ourselves")
        if not peer.public_key:
            peer.peer_id = handshake.peer_id
        elif handshake.peer_id != peer.peer_id:
            raise ProtocolError("a peer id that is not its key's")

    def superfluous(self, peer: Peer, now: int) -> list[Peer]:
        """Return the sessions to end so that there is one with this node; maybe `peer` itself."""
        losers = []
        for other in self._peers.values():
            if other is not peer and _are_one(peer, other):
                losers.append(self._worse_of(peer, other, now))
                if losers[-1] is peer:
                    break
        return losers

    def _worse_of(self, new: Peer, old: Peer, now: int) -> Peer:
        """Both ends must drop the same one: the later one, where it is clear which that is.

        One that is silent is worse in any case, then one whose name is not proven. Else keep what
        the smaller peer id opened, or the new one of two of one direction.
        """
        if self._is_silent(old, now):
            return old
        if bool(new.public_key) != bool(old.public_key):
            return old if new.public_key else new
        if not new.public_key and new.joined_at - old.joined_at > SETTLED_US:
            return new
        if new.connection.is_outgoing == old.connection.is_outgoing:
            return old
        keeps_outgoing = self._peer_id < new.peer_id
        return old if new.connection.is_outgoing == keeps_outgoing else new


def _are_one(peer: Peer, other: Peer) -> bool:
    """Whether two sessions are with the same node.

    A peer id that no key vouches for can be borrowed, to have its owner hung up on: it counts for
    callers of the same host only.
    """
    is_vouched = bool(peer.public_key)
    return peer.peer_id == other.peer_id and (is_vouched or peer.address.host == other.address.host)
