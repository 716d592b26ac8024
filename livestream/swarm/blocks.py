"""A swarm whose pieces travel in blocks of 16 KiB: BitTorrent's own exchange (BEP 3, 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, cast

from livestream.config import SwarmConfig, Transport
from livestream.errors import ProtocolError
from livestream.machine import SECOND, Address, earliest
from livestream.pieces.blockstore import BlockStore
from livestream.pieces.piecepicker import PiecePicker
from livestream.swarm.blockdownloads import BlockDownloads
from livestream.swarm.blockevents import PieceVerified, StoreFailed, SwarmCompleted
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.blockuploads import BlockUploads
from livestream.swarm.choker import BlockChoker
from livestream.swarm.donthave import DontHave
from livestream.swarm.hashes import HashServe
from livestream.swarm.peer import Peer
from livestream.swarm.pex import PeerExchange
from livestream.swarm.priority import OwnHost
from livestream.swarm.requests import Requests
from livestream.swarm.serving import ServingOrder
from livestream.swarm.slots import REQUESTS_TAKEN, Slots
from livestream.swarm.swarm import Swarm
from livestream.swarm.turnover import Turnover
from livestream.swarm.uploadonly import UploadOnly
from livestream.transport.connection import (
    BlocksPlaced,
    BlocksReceived,
    Connection,
    RequestsReceived,
)
from livestream.wire.bencode import Value
from livestream.wire.hashes import HashRequest
from livestream.wire.messages import (
    AllowedFast,
    Bitfield,
    Cancel,
    Choke,
    Extended,
    Handshake,
    Have,
    HaveAll,
    HaveNone,
    Interested,
    Message,
    NotInterested,
    Reject,
    Request,
    Unchoke,
)

__all__ = ["BlockSeams", "BlockSwarm", "PieceVerified", "StoreFailed", "SwarmCompleted"]

DOUBT_US: Final = SECOND  # A connection that hears nothing for so long is called beside.
TAKEN_BACK_MAX: Final = 100  # Pieces, one by one: peers do not listen to more than a thousand.


@dataclass(frozen=True, slots=True)
class BlockSeams:
    """What makes a block swarm a torrent. Its verifier is the store's: it hashes in threads."""

    store: BlockStore
    picker: PiecePicker
    choker: BlockChoker


class BlockSwarm(Swarm):
    """Trades blocks: asks for what the picker chooses, serves whom the choker lets.

    Invariant: every piece announced or served is in `store.held`, so it was verified.
    """

    preferred = (Transport.UTP, Transport.TCP)
    bounds_callers = True

    def __init__(
        self,
        info_hash: bytes,
        public_key: bytes,
        seams: BlockSeams,
        config: SwarmConfig,
        rng: Random,
    ) -> None:
        super().__init__(info_hash, public_key, config, rng)
        self.store = seams.store
        self.upload_bps: int | None = config.upload_bps
        self.metadata_size = 0
        "Bytes of the info dictionary, where it is offered to peers."
        self.hashes = HashServe({}, 0)
        "The piece layers of a v2 torrent, for peers that came by its magnet."
        self._slots = Slots(info_hash, seams.store, seams.choker)
        self._requests = Requests(seams.store, seams.picker, self.ban)
        self._downloads = BlockDownloads(self._requests, self.ready, self.stats)
        self._order = ServingOrder(seams.picker)
        self._uploads = BlockUploads(seams.store, self._slots.turn, self._order)
        self._swept_at: int | None = None
        self._turnover = Turnover()
        self._own_host = OwnHost()
        self._dont_have = DontHave(self._on_lost)
        self._upload_only = UploadOnly(self._on_upload_only)
        self._pex: PeerExchange | None = None
        self.speak(self._dont_have)
        self.speak(self._upload_only)

    def exchange_peers(self) -> None:
        """Gossip with peers about peers (BEP 11): for torrents that are not private (BEP 27)."""
        if self._pex is None:
            self._pex = PeerExchange(self._reachable, self.candidates.add_seeds)
            self.speak(self._pex)

    @property
    def block_peers(self) -> list[BlockPeer]:
        """The peers that can be talked to."""
        return [cast(BlockPeer, peer) for peer in self.ready]

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is wanted."""
        return self._requests.is_complete

    @property
    def is_paused(self) -> bool:
        """Whether no requests go out: the store could not keep a piece."""
        return self._downloads.is_paused

    @property
    def requests(self) -> Requests:
        """What is under way."""
        return self._requests

    # Results of the store, from whoever drives it

    def on_verified(self, index: int, *, is_genuine: bool, now: int) -> None:
        """The store has hashed a piece, and kept it if it is genuine."""
        if not is_genuine:
            self.stats.pieces_rejected += 1
            self._requests.on_forged(index, now)
            self._downloads.fill_all(now)
            return
        self.stats.pieces_received += 1
        self.stats.kept_bytes += self.store.piece_size(index)
        self._requests.on_kept(index, now)
        have = Have(index)
        for peer in self.block_peers:
            peer.send(have)  # Those who have it, too: a seed sees by it who passes pieces on.
        self.emit(PieceVerified(index))
        if self._requests.is_complete:
            self.emit(SwarmCompleted())
            for peer in self.block_peers:
                self._downloads.tell_interest(peer)
        else:
            self._downloads.fill_all(now)

    def on_store_failed(self, index: int, reason: str, now: int) -> None:
        """The store could not keep a piece: stop asking until `resume`."""
        self._requests.on_given_up(index)
        self._downloads.is_paused = True
        self.emit(StoreFailed(reason))

    def on_loaded(self, index: int, now: int) -> None:
        """A piece that peers wait for is in memory, or was lost after all."""
        self._uploads.on_loaded(index)
        if index not in self.store.held:
            self.on_pieces_lost([index], now)

    def on_pieces_lost(self, indexes: Sequence[int], now: int) -> None:
        """Pieces that were held can be read no more: nobody is to ask us for them."""
        for peer in self.block_peers:
            if len(indexes) > TAKEN_BACK_MAX:
                self.drop(peer, "so much is lost that we greet anew", now)
                continue
            for index in indexes:
                self._dont_have.tell(peer, index)
                self._slots.cancel_piece(peer, index)

    def want_again(self, indexes: Sequence[int], now: int) -> None:
        """Pieces that were held are lost: get them from others."""
        self._requests.want_again(indexes)
        for peer in self.block_peers:
            self._downloads.tell_interest(peer)
        self._downloads.fill_all(now)

    def set_urgent(self, indexes: Sequence[int], now: int, *, is_jump: bool = False) -> None:
        """Ask for these pieces first, in this order; after a jump, for nothing else before them."""
        self._downloads.set_urgent(indexes, now, is_jump=is_jump)

    def resume(self, now: int) -> None:
        """Ask again."""
        self._downloads.is_paused = False
        self._downloads.fill_all(now)

    # Driving, for the node

    def receive_run(
        self, peer: Peer, run: BlocksPlaced | BlocksReceived | RequestsReceived, now: int
    ) -> None:
        """Take blocks or requests. A peer that breaks the protocol is dropped."""
        peer.heard_at = now
        if not isinstance(peer, BlockPeer) or peer not in self.ready:
            return
        if isinstance(run, RequestsReceived):
            try:
                self._slots.on_requests(peer, run.requests)
            except ProtocolError as error:
                self.stats.message_errors += 1
                self.drop(peer, str(error), now)
            return
        if not self._downloads.receive(peer, run, now):
            self.drop(peer, "sends what nobody asked for", now)

    def next_upload(self, now: int) -> bool:
        """Hand a batch of blocks to the next peer in turn; False when nobody can take any."""
        sent = self._uploads.next(is_seed=self.is_complete, upload_bps=self.upload_bps)
        self.stats.stream_bytes_out += sent
        return sent > 0

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return earliest(super().get_timer(), self._slots.get_timer())

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        super().handle_timer(now)
        timer = self._slots.get_timer()
        if timer is not None and timer <= now:
            self._slots.hold_round(
                self.block_peers,
                now,
                is_seed=self.is_complete,
                bytes_sent=self.stats.stream_bytes_out,
                upload_bps=self.upload_bps,
            )

    def _sweep(self, now: int) -> None:
        elapsed_us = now - self._swept_at if self._swept_at is not None else SECOND
        self._swept_at = now
        self._downloads.look_around(elapsed_us, now)
        self.candidates.wants_seeds = not self.is_complete
        if self._pex is not None:
            self.candidates.add(self._pex.take_learned())
        super()._sweep(now)
        if self._is_full and self.candidates.has_untried:
            for peer in self._turnover.poorest(self.block_peers, now):
                self.drop(peer, "others may be of more use", now)

    def _sweep_peer(self, peer: Peer, now: int) -> None:
        if isinstance(peer, BlockPeer) and peer in self.ready:
            if self.is_complete and peer.is_seed and not (peer.wants_us or peer.is_web_seed):
                self.candidates.note_seed(peer.address)
                self.drop(peer, "both of us only upload", now)
                return
            if not self.is_complete:
                self._slots.look_after(peer, now)
            if not self._upload_only.tell(peer, is_upload_only=self.is_complete):
                self._send_extension_handshake(peer)
            self.hashes.serve(peer, now)
            self._downloads.tell_interest(peer)
            self._downloads.fill(peer, now)

    # Peers

    def _make_peer(self, connection: Connection, public_key: bytes, now: int) -> Peer:
        return BlockPeer(connection, public_key, now, len(self.store.held))

    def _send_handshakes(self, peer: Peer) -> None:
        self._send_handshake(peer)

    def _greeting_fields(self) -> dict[bytes, Value]:
        fields: dict[bytes, Value] = {**super()._greeting_fields(), b"reqq": REQUESTS_TAKEN}
        if self.metadata_size:
            fields[b"metadata_size"] = self.metadata_size
        fields[b"upload_only"] = int(self.is_complete)
        return fields

    def _send_extension_handshake(self, peer: Peer) -> None:
        super()._send_extension_handshake(peer)
        self._upload_only.on_greeted(peer, is_upload_only=self.is_complete)

    def _on_greeted(self, peer: Peer, handshake: Handshake, now: int) -> None:
        if not isinstance(peer, BlockPeer):
            return
        peer.has_fast_extension = handshake.has_fast
        held = self.store.held
        if peer.has_fast_extension and held.is_full:
            peer.send(HaveAll())
        elif peer.has_fast_extension and not held.held:
            peer.send(HaveNone())
        elif held.held:
            peer.send(Bitfield(held.to_bytes()))
        if handshake.has_extended:
            self._send_extension_handshake(peer)
        self._requests.add_peer(peer)
        self._join(peer)

    def _on_gone(self, peer: Peer, now: int) -> None:
        if isinstance(peer, BlockPeer):
            self._slots.on_gone(peer)
            self._order.on_left(peer)
            self._dont_have.forget(peer)
            self._upload_only.forget(peer)
            self.hashes.on_gone(peer)
            if self._requests.drop_peer(peer):
                self._downloads.fill_all(now)

    # Messages

    def _on_message(self, peer: Peer, message: Message, now: int) -> None:
        if not isinstance(peer, BlockPeer):
            return
        if isinstance(message, Have):
            self._on_have(peer, message.index, now)
        elif isinstance(message, Request):
            self._slots.on_requests(peer, [(message.index, message.begin, message.length)])
        elif isinstance(message, (Choke, Unchoke, AllowedFast, Reject)):
            self._downloads.on_permission(peer, message, now)
        elif isinstance(message, (Interested, NotInterested)):
            peer.says_interested = isinstance(message, Interested)
            self._slots.on_interest(peer, now)
        elif isinstance(message, (Bitfield, HaveAll, HaveNone)):
            self._downloads.on_pieces(peer, message, now)
        elif isinstance(message, Cancel):
            self._slots.cancel(peer, (message.index, message.begin, message.length))
        elif isinstance(message, HashRequest):
            self.hashes.on_request(peer, message, now)

    def _on_have(self, peer: BlockPeer, index: int, now: int) -> None:
        if index >= len(peer.pieces):
            raise ProtocolError(f"have of piece {index}")
        self._order.on_have(peer, index)
        self._downloads.on_have(peer, index, now)

    def _on_extended(self, peer: Peer, message: Extended, now: int) -> None:
        super()._on_extended(peer, message, now)
        greeting = peer.greeting
        if message.extension or greeting is None or peer not in self.ready:
            return
        self._upload_only.on_greeting(peer, greeting, now)
        host = greeting.your_host
        if host is not None and self._own_host.hear(peer.address.host, host):
            self.candidates.own = Address(self._own_host.host or host, self.listen_port)

    def _on_upload_only(self, peer: Peer, is_upload_only: bool, now: int) -> None:
        if isinstance(peer, BlockPeer) and peer.is_upload_only != is_upload_only:
            peer.is_upload_only = is_upload_only
            self._slots.on_interest(peer, now)

    def _on_lost(self, peer: Peer, index: int, now: int) -> None:
        if isinstance(peer, BlockPeer):
            self._downloads.on_lost(peer, index, now)

    # Membership

    def _is_doubtful(self, peer: Peer, now: int) -> bool:
        """Whether the connection of a peer that owes us something may be dead.

        What the peer says does not count: others are silent for two minutes.
        """
        owes = isinstance(peer, BlockPeer) and bool(peer.owed)
        return owes and peer.is_unresponsive(now, DOUBT_US)

    def _is_silent(self, peer: Peer, now: int) -> bool:
        return super()._is_silent(peer, now) or self._is_doubtful(peer, now)

    def _transports_beside(self, peer: Peer) -> list[Transport]:
        """The same: libtorrent ends connections without a word. Others may be less polite."""
        return [peer.connection.transport]

    @property
    def _is_full(self) -> bool:
        """Whether somebody must go before another can be called, or can call."""
        called = sum(peer.connection.is_outgoing for peer in self.ready)
        return len(self.peers) >= self.config.peers_max or called >= self.config.neighbours_wanted

    def _make_way(self, caller: Address, now: int) -> bool:
        useless = self._turnover.useless(self.block_peers, self.candidates.own, caller, now)
        if useless is not None:
            self.drop(useless, "makes way", now)
        return useless is not None

    def _reachable(self) -> list[Peer]:
        """Return the peers of whom it is known where they take calls."""
        return [peer for peer in self.ready if peer.is_reachable]
