"""What is asked of whom, and what comes of it: blocks in, pieces out (`Requests`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from livestream.machine import MILLISECOND, SECOND
from livestream.pieces.assembly import BLOCK_BYTES, Assembly
from livestream.pieces.blockstore import BlockStore
from livestream.pieces.piecepicker import PiecePicker
from livestream.pieces.pieceset import PieceSet
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.bookings import Bookings
from livestream.swarm.endgame import IDLE_SHARE, Endgame
from livestream.swarm.openings import Openings
from livestream.swarm.peer import Peer
from livestream.swarm.suspects import Suspects

__all__ = ["Requests"]

# So long it may owe and give nothing before we ask if it is there.
PROBE_US: Final = 500 * MILLISECOND
SNUB_US: Final = 20 * SECOND  # Owing blocks and giving none for so long is snubbing.
VOID_US: Final = 60 * SECOND  # After that its requests are void.
KEPT_AT_JUMP: Final = 4  # Urgent pieces whose requests stay out when a player jumps.


class Requests:
    """The blocks that are under way, and the pieces they make.

    Invariant: a wanted piece is open in the picker, begun (`_begun`), being verified
    (`_verifying`) or held.
    """

    def __init__(
        self,
        store: BlockStore,
        picker: PiecePicker,
        ban: Callable[[Peer, str, int], None],
    ) -> None:
        self.blocks_wasted = 0
        "Came twice, or were not asked for."
        self._store = store
        self._picker = picker
        self._ban = ban
        self._suspects = Suspects()
        self._bookings = Bookings()
        self._openings = Openings(store, picker, self._bookings, self._suspects)
        self._endgame = Endgame(self._bookings, self._suspects)
        self._begun = self._bookings.begun
        self._verifying: dict[int, Assembly[BlockPeer]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is wanted."""
        return not (self._begun or self._verifying or self._picker.has_open)

    @property
    def begun_count(self) -> int:
        """Pieces that have some of their blocks."""
        return len(self._begun)

    @property
    def cancels(self) -> list[tuple[BlockPeer, tuple[int, int, int]]]:
        """Who is to be told to cancel which (piece, begin, length)."""
        return self._bookings.cancels

    def take_cancels(self) -> list[tuple[BlockPeer, tuple[int, int, int]]]:
        """Return who is to be told to cancel what, each once."""
        return self._bookings.take_cancels()

    # Peers

    def add_peer(self, peer: BlockPeer) -> None:
        """A peer is ready; it has said nothing of its pieces yet."""
        self._picker.add_peer(peer.pieces)

    def drop_peer(self, peer: BlockPeer) -> bool:
        """A peer is gone; True if it owed something that others can be asked for now."""
        owed = bool(peer.owed)
        self.void(peer)
        self._picker.remove_peer(peer.pieces)
        return owed

    def replace_pieces(self, peer: BlockPeer, pieces: PieceSet) -> None:
        """A peer said what it has."""
        self._picker.remove_peer(peer.pieces)
        peer.pieces = pieces
        self._picker.add_peer(pieces)

    def on_have(self, peer: BlockPeer, index: int) -> bool:
        """A peer has one more piece; whether that is news that we can use."""
        if not peer.pieces.add(index):
            return False
        self._picker.add_piece(peer.pieces, index)
        return self._picker.is_open(index) or index in self._begun

    def on_lost(self, peer: BlockPeer, index: int) -> bool:
        """A peer has a piece no more: what it owes of it is for others. False if it had none."""
        if index not in peer.pieces:
            return False
        peer.pieces.discard(index)
        self._picker.remove_piece(peer.pieces, index)
        self._bookings.void_piece(peer, index)
        return True

    def wants_of(self, peer: BlockPeer) -> bool:
        """Whether a peer has something that we want."""
        return self._picker.wants_any(peer.pieces) or any(
            index in peer.pieces for index in self._begun
        )

    # Urgency

    def set_urgent(self, indexes: Sequence[int]) -> None:
        """These first, in this order: somebody is about to play them. Anyone may help with them."""
        self._openings.urgent = dict.fromkeys(indexes)
        for index in indexes:
            assembly = self._begun.get(index)
            is_shared = assembly is not None and index not in self._suspects
            if is_shared and assembly is not None and assembly.owner is not None:
                self._bookings.disown(assembly, assembly.owner)

    def preempt(self) -> None:
        """Take back all but the most urgent, so that nothing is before it in any queue."""
        first = list(self._openings.urgent)[:KEPT_AT_JUMP]
        for assembly in self._begun.values():
            if assembly.index in first:
                continue
            for block, asked in enumerate(assembly.asked):
                for peer in list(asked):
                    self._bookings.take_back(peer, assembly, block)

    # Blocks

    def next_blocks(self, peer: BlockPeer, now: int) -> list[tuple[int, int, int]]:
        """Return (piece, begin, length) of what to ask a peer for now, and book it as asked."""
        room = (1 if peer.is_snubbed else peer.depth) - len(peer.owed)
        if room <= 0 or (peer.chokes_us and not peer.fast):
            return []
        found: list[tuple[int, int, int]] = []
        for assembly in self._openings.of(peer):
            free = _free_blocks(peer, assembly, room - len(found))
            found += self._bookings.book(peer, assembly, free, now)
            if len(found) >= room:
                return found
        if peer.chokes_us or peer.is_snubbed:
            return found
        if self._openings.urgent:
            found += self._endgame.rescue(peer, self._openings.urgent, room - len(found), now)
        is_idle = len(peer.owed) < max(peer.depth // IDLE_SHARE, 1)
        if is_idle and not found:
            endgame = self._endgame
            more = endgame.take_over if self._picker.has_open else endgame.duplicate
            found += more(peer, room - len(found), now)
        return found

    def receive(
        self, peer: BlockPeer, index: int, begin: int, data: bytes | memoryview
    ) -> Sequence[BlockPeer] | None:
        """Take a block. Returns who else was asked for it; None if it was of no use."""
        block, odd = divmod(begin, BLOCK_BYTES)
        size = len(data)
        assembly = self._begun.get(index)
        others = None
        was_asked = not odd and peer.owed.pop((index, block), None) is not None
        if peer.cancelled and not odd:  # It was on its way already, and is as good as any.
            was_asked |= peer.cancelled.pop((index, block), True) is None
        if was_asked and assembly is not None:
            if assembly.owner not in (None, peer):
                # First: the beginning of its own version may be in that place.
                assembly.owner.connection.forget(index, begin)
            others = assembly.put(block, data, peer)
            if others is None:
                assembly.release(block, peer)
        if assembly is None or others is None:
            self.blocks_wasted += 1
            peer.blocks_wasted += 1
            return None
        peer.bytes_in += size
        peer.bytes_in_round += size
        for other in others:
            other.owed.pop((index, block), None)
        if not assembly.missing:
            self._finish(assembly)
        return others

    def receive_placed(
        self, peer: BlockPeer, blocks: Sequence[tuple[int, int]]
    ) -> list[tuple[BlockPeer, tuple[int, int, int]]]:
        """Take blocks, (piece, begin), that were read to their `places`.

        Returns:
            Who else was asked for which (piece, begin, length).
        """
        extra = []
        owed = peer.owed
        taken = 0
        assembly: Assembly[BlockPeer] | None = None
        for index, begin in blocks:
            block = begin // BLOCK_BYTES
            if assembly is None or assembly.index != index or not assembly.missing:
                assembly = self._begun.get(index)
            was_asked = owed.pop((index, block), None) is not None
            others = assembly.mark(block, peer) if was_asked and assembly is not None else None
            if assembly is None or others is None:
                self.blocks_wasted += 1
                peer.blocks_wasted += 1
                continue
            length = min(BLOCK_BYTES, len(assembly.buffer) - begin)
            taken += length
            for other in others:
                other.owed.pop((index, block), None)
                extra.append((other, (index, begin, length)))
            if not assembly.missing:
                self._finish(assembly)
        peer.bytes_in += taken
        peer.bytes_in_round += taken
        return extra

    def places(
        self, peer: BlockPeer, blocks: Sequence[tuple[int, int, int]]
    ) -> list[tuple[int, int, memoryview]]:
        """Return (piece, begin, place) of the blocks in pieces that this peer has to itself."""
        return [
            (index, begin, assembly.view[begin : begin + length])
            for index, begin, length in blocks
            if (assembly := self._begun[index]).owner is peer
        ]

    def on_reject(self, peer: BlockPeer, index: int, begin: int) -> None:
        """A peer will not give a block."""
        block = begin // BLOCK_BYTES
        if peer.cancelled.pop((index, block), True) is None:
            return  # The answer to our cancel.
        if peer.owed.pop((index, block), None) is not None:
            peer.fast.pop(index, None)
            assembly = self._begun.get(index)
            if assembly is not None:
                assembly.release(block, peer)
                self._bookings.disown(assembly, peer)

    def on_choked(self, peer: BlockPeer) -> bool:
        """A peer chokes us: its pieces are for others, too. False if it had none."""
        taken = [assembly for assembly in peer.own if assembly.index not in peer.fast]
        for assembly in taken:
            self._bookings.disown(assembly, peer)
        return bool(taken)

    def void(self, peer: BlockPeer) -> None:
        """Nothing that a peer owes will come: all of it is for others again."""
        self._bookings.void(peer)

    def look_after(self, peer: BlockPeer, now: int) -> None:
        """Notice a peer that owes and does not give, or owns pieces and does not go on."""
        silent_us = now - peer.gave_at
        if peer.owed and now - max(peer.gave_at, peer.probed_at) >= PROBE_US:
            peer.probed_at = now
            peer.connection.keep_alive()  # What is blocked without a sign is given up for it.
        if silent_us > VOID_US:
            peer.cancelled.clear()  # It does not answer cancels.
        if silent_us < SNUB_US:
            return
        if not peer.owed:
            self._bookings.disown_all(
                peer
            )  # What it has yet to be asked for may be asked of others.
            return
        if not peer.is_snubbed:
            peer.is_snubbed = True
            peer.depth = 1
            self._bookings.disown_all(peer)
        if silent_us > VOID_US or not self._picker.has_open:
            self.void(peer)

    # Pieces

    def on_kept(self, index: int, now: int) -> None:
        """A piece is genuine: whoever gave another version of a block of it before is banned."""
        assembly = self._verifying.pop(index, None)
        if assembly is None:
            return
        self._openings.reuse(assembly.buffer)
        for liar in self._suspects.on_genuine(assembly):
            self._ban(liar, f"sent a forged block of piece {index}", now)

    def on_forged(self, index: int, now: int) -> None:
        """A piece is not what it should be. One author: banned. Several: found out later."""
        assembly = self._verifying.pop(index, None)
        self._picker.reopen(index)
        author = None if assembly is None else self._suspects.on_forged(assembly)
        if author is not None:
            self._ban(author, f"sent a forged piece {index}", now)

    def on_given_up(self, index: int) -> None:
        """A piece could not be kept: it is wanted still."""
        self._verifying.pop(index, None)
        self._picker.reopen(index)

    def want_again(self, indexes: Sequence[int]) -> None:
        """Pieces that were held are lost."""
        for index in indexes:
            if index not in self._begun and index not in self._verifying:
                self._picker.reopen(index)

    # Helpers

    def _finish(self, assembly: Assembly[BlockPeer]) -> None:
        self._bookings.close(assembly)
        self._verifying[assembly.index] = assembly
        self._store.submit(assembly.index, assembly.buffer)


def _free_blocks(peer: BlockPeer, assembly: Assembly[BlockPeer], limit: int) -> list[int]:
    """Take blocks that nobody was asked for; none whose cancel this peer has yet to answer."""
    free = assembly.free
    taken: list[int] = []
    if not peer.cancelled:
        while free and len(taken) < limit:
            taken.append(free.pop())
        return taken
    for block in reversed(list(free)):
        if len(taken) < limit and (assembly.index, block) not in peer.cancelled:
            free.remove(block)
            taken.append(block)
    return taken
