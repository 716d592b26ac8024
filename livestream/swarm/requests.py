"""What is asked of whom: blocks under way, and the pieces they make (`Requests`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from livestream.machine import SECOND
from livestream.pieces.assembly import BLOCK_BYTES, Assembly
from livestream.pieces.blockstore import BlockStore
from livestream.pieces.piecepicker import PiecePicker
from livestream.pieces.pieceset import PieceSet
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.peer import Peer

__all__ = ["Requests"]

SNUB_US: Final = 20 * SECOND  # Owing blocks and giving none for so long is snubbing.
VOID_US: Final = 60 * SECOND  # After that its requests are void.
WHOLE_PIECE_US: Final = 20 * SECOND  # A peer that gives a piece within this takes it whole.
ENDGAME_COPIES: Final = 2
ENDGAME_COPIES_MAX: Final = 8  # Of blocks that nobody who was asked is likely to give.
KEPT_AT_JUMP: Final = 4  # Urgent pieces whose requests stay out when a player jumps.
IDLE_SHARE: Final = 4  # A peer that owes less than this part of its depth may take over.
SOON_US: Final = SECOND // 2  # What comes sooner is left to whoever was asked.
OVERDUE_US: Final = SECOND  # What comes later than this was put behind by whoever was asked.
RESCUE_US: Final = SECOND  # An urgent block that is owed for longer is asked of a second peer.
SPARE_BYTES_MAX: Final = 16 << 20  # Buffers kept for the next pieces: fresh memory costs faults.
SUSPECTS_MAX: Final = 64  # Forged pieces whose blocks are remembered until the good copy comes.


class Requests:
    """The blocks that are under way.

    Invariant: a wanted piece is open in the picker, begun (`_begun`), being verified
    (`_verifying`) or held; a block in a peer's `owed` is in its assembly's `asked`.
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
        self._begun: dict[int, Assembly[BlockPeer]] = {}
        self._verifying: dict[int, Assembly[BlockPeer]] = {}
        self._suspects: dict[int, dict[int, tuple[BlockPeer, bytes]]] = {}
        "(author, digest) of every block of forged pieces, until the good copy comes."
        self._spare: list[bytearray] = []
        self._urgent: dict[int, None] = {}
        self.cancels: list[tuple[BlockPeer, tuple[int, int, int]]] = []
        "Who is to be told to cancel which (piece, begin, length)."

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is wanted."""
        return not (self._begun or self._verifying or self._picker.has_open)

    @property
    def begun_count(self) -> int:
        """Pieces that have some of their blocks."""
        return len(self._begun)

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
        assembly = self._begun.get(index)
        for owed in [owed for owed in peer.owed if owed[0] == index]:
            del peer.owed[owed]
            if assembly is not None:
                assembly.release(owed[1], peer)
        if assembly is not None:
            self._disown(assembly, peer)
        return True

    def wants_of(self, peer: BlockPeer) -> bool:
        """Whether a peer has something that we want."""
        return self._picker.wants_any(peer.pieces) or any(
            index in peer.pieces for index in self._begun
        )

    # Urgency

    def set_urgent(self, indexes: Sequence[int]) -> None:
        """These first, in this order: somebody is about to play them. Anyone may help with them."""
        self._urgent = dict.fromkeys(indexes)
        for index in indexes:
            assembly = self._begun.get(index)
            is_shared = assembly is not None and index not in self._suspects
            if is_shared and assembly is not None and assembly.owner is not None:
                self._disown(assembly, assembly.owner)

    def preempt(self) -> None:
        """Take back all but the most urgent, so that nothing is before it in any queue."""
        first = list(self._urgent)[:KEPT_AT_JUMP]
        for assembly in self._begun.values():
            if assembly.index in first:
                continue
            for block, asked in enumerate(assembly.asked):
                for peer in list(asked):
                    self._take_back(peer, assembly, block)

    # Blocks

    def next_blocks(self, peer: BlockPeer, now: int) -> list[tuple[int, int, int]]:
        """Return (piece, begin, length) of what to ask a peer for now, and book it as asked."""
        room = (1 if peer.is_snubbed else peer.depth) - len(peer.owed)
        if room <= 0 or (peer.chokes_us and not peer.fast):
            return []
        found: list[tuple[int, int, int]] = []
        for assembly in self._sources(peer):
            free = self._free_blocks(peer, assembly, room - len(found))
            found += [self._book(peer, assembly, block, now) for block in free]
            if len(found) >= room:
                return found
        if self._urgent and not peer.chokes_us and not peer.is_snubbed:
            found += self._rescue(peer, room - len(found), now)
        is_idle = len(peer.owed) < max(peer.depth // IDLE_SHARE, 1)
        if is_idle and not found and not peer.chokes_us and not peer.is_snubbed:
            more = self._take_over if self._picker.has_open else self._endgame
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
        for index, begin in blocks:
            block = begin // BLOCK_BYTES
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
                self._disown(assembly, peer)

    def on_choked(self, peer: BlockPeer) -> bool:
        """A peer chokes us: its pieces are for others, too. False if it had none."""
        taken = [assembly for assembly in peer.own if assembly.index not in peer.fast]
        for assembly in taken:
            self._disown(assembly, peer)
        return bool(taken)

    def void(self, peer: BlockPeer) -> None:
        """Nothing that a peer owes will come: all of it is for others again."""
        for index, block in peer.owed:
            assembly = self._begun.get(index)
            if assembly is not None:
                assembly.release(block, peer)
        peer.owed.clear()
        self._disown_all(peer)

    def look_after(self, peer: BlockPeer, now: int) -> None:
        """Notice a peer that owes and does not give, or owns pieces and does not go on."""
        silent_us = now - peer.gave_at
        if silent_us > VOID_US:
            peer.cancelled.clear()  # It does not answer cancels.
        if silent_us < SNUB_US:
            return
        if not peer.owed:
            self._disown_all(peer)  # What it has yet to be asked for may be asked of others.
            return
        if not peer.is_snubbed:
            peer.is_snubbed = True
            peer.depth = 1
            self._disown_all(peer)
        if silent_us > VOID_US or not self._picker.has_open:
            self.void(peer)

    # Pieces

    def on_kept(self, index: int, now: int) -> None:
        """A piece is genuine: whoever gave another version of a block of it before is banned."""
        assembly = self._verifying.pop(index, None)
        suspects = self._suspects.pop(index, None)
        if assembly is None:
            return
        if (len(self._spare) + 1) * len(assembly.buffer) <= SPARE_BYTES_MAX:
            self._spare.append(assembly.buffer)
        if suspects is None:
            return
        genuine = assembly.digests()
        liars = [author for block, (author, forged) in suspects.items() if forged != genuine[block]]
        for author in dict.fromkeys(liars):
            self._ban(author, f"sent a forged block of piece {index}", now)

    def on_forged(self, index: int, now: int) -> None:
        """A piece is not what it should be. One author: banned. Several: found out later."""
        assembly = self._verifying.pop(index, None)
        self._picker.reopen(index)
        if assembly is None:
            return
        authors = list(dict.fromkeys(author for author in assembly.authors if author is not None))
        if len(authors) == 1:
            self._ban(authors[0], f"sent a forged piece {index}", now)
        elif len(self._suspects) < SUSPECTS_MAX:
            pairs = enumerate(zip(assembly.authors, assembly.digests(), strict=True))
            self._suspects[index] = {
                block: (author, digest) for block, (author, digest) in pairs if author is not None
            }

    def on_given_up(self, index: int) -> None:
        """A piece could not be kept: it is wanted still."""
        self._verifying.pop(index, None)
        self._picker.reopen(index)

    # Helpers

    def _sources(self, peer: BlockPeer) -> Iterator[Assembly[BlockPeer]]:
        """Yield begun pieces that a peer may continue, then new ones for it to begin."""
        if self._urgent and not peer.chokes_us:
            yield from self._urgent_sources(peer)
        for assembly in list(peer.own):
            if assembly.free:
                yield assembly
        for assembly in list(self._begun.values()) if not peer.chokes_us or peer.fast else ():
            if assembly.owner is None and assembly.free and assembly.index in peer.pieces:
                if peer.chokes_us and assembly.index not in peer.fast:
                    continue
                self._own(assembly, peer)
                yield assembly
        while self._store.has_room:
            index = self._choose(peer)
            if index is None:
                return
            assembly = self._assembly(index)
            self._begun[index] = assembly
            self._own(assembly, peer)
            yield assembly

    def _free_blocks(self, peer: BlockPeer, assembly: Assembly[BlockPeer], limit: int) -> list[int]:
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

    def _urgent_sources(self, peer: BlockPeer) -> Iterator[Assembly[BlockPeer]]:
        for index in self._urgent:
            if index not in peer.pieces:
                continue
            assembly = self._begun.get(index)
            if index in self._suspects:
                continue  # It goes to one author, as others do.
            if assembly is None and self._picker.is_open(index):
                assembly = self._begun[index] = self._assembly(self._picker.begin(index))
            if assembly is not None and assembly.free:
                yield assembly

    def _assembly(self, index: int) -> Assembly[BlockPeer]:
        size = self._store.piece_size(index)
        is_spare = bool(self._spare) and len(self._spare[-1]) == size
        buffer = self._spare.pop() if is_spare else bytearray(size)
        return Assembly(index, buffer, self._store.padding_size(index))

    def _choose(self, peer: BlockPeer) -> int | None:
        if not peer.chokes_us:
            return self._picker.choose(peer.pieces)
        allowed = PieceSet(len(peer.pieces))
        for index in peer.fast:
            if index in peer.pieces:
                allowed.add(index)
        return self._picker.choose(allowed) if allowed.held else None

    def _own(self, assembly: Assembly[BlockPeer], peer: BlockPeer) -> None:
        """Let a quick peer have a piece to itself; slow ones share.

        A piece that was forged once is not shared again: its next copy is to have one author.
        """
        size = len(assembly.buffer)
        is_new = (
            not peer.rate_in
        )  # Rates are known after a second; who gave a piece by then is quick.
        is_quick = peer.rate_in * WHOLE_PIECE_US / SECOND >= size or (
            is_new and peer.bytes_in >= size
        )
        if is_quick or assembly.index in self._suspects:
            assembly.owner = peer
            peer.own.append(assembly)

    def _disown(self, assembly: Assembly[BlockPeer], peer: BlockPeer) -> None:
        if assembly.owner is peer:
            assembly.owner = None
            peer.own.remove(assembly)
            peer.connection.forget(assembly.index)

    def _disown_all(self, peer: BlockPeer) -> None:
        for assembly in list(peer.own):
            self._disown(assembly, peer)

    def _book(
        self, peer: BlockPeer, assembly: Assembly[BlockPeer], block: int, now: int
    ) -> tuple[int, int, int]:
        assembly.asked[block].append(peer)
        peer.owed[assembly.index, block] = now
        return assembly.index, block * BLOCK_BYTES, assembly.block_length(block)

    def _rescue(self, peer: BlockPeer, room: int, now: int) -> list[tuple[int, int, int]]:
        """Ask this peer too for urgent blocks that another owes for too long."""
        found: list[tuple[int, int, int]] = []
        for index in self._urgent:
            assembly = self._begun.get(index)
            if assembly is None or index not in peer.pieces or index in self._suspects:
                continue
            for block, asked in enumerate(assembly.asked):
                if len(found) >= room:
                    return found
                is_late = len(asked) == 1 and now - asked[0].owed[index, block] > RESCUE_US
                if is_late and asked[0] is not peer:
                    found.append(self._book(peer, assembly, block, now))
        return found

    def _take_over(self, peer: BlockPeer, room: int, now: int) -> list[tuple[int, int, int]]:
        """This peer would be idle: move to it what others will take long to give, or skip."""
        found: list[tuple[int, int, int]] = []
        room = min(room, max(peer.depth // IDLE_SHARE, 1))
        for assembly in self._begun.values():
            if assembly.index not in peer.pieces or self._is_suspect(peer, assembly.index):
                continue
            for block, asked in enumerate(assembly.asked):
                if len(found) >= room:
                    return found
                if len(asked) != 1 or asked[0] is peer:
                    continue
                other = asked[0]
                remaining_us = self._remaining_us(other, assembly.index, block, now)
                if -OVERDUE_US < remaining_us < 2 * peer.wait_us + SOON_US:
                    continue
                self._take_back(other, assembly, block)
                assembly.free.remove(block)
                found.append(self._book(peer, assembly, block, now))
        return found

    def _take_back(self, peer: BlockPeer, assembly: Assembly[BlockPeer], block: int) -> None:
        del peer.owed[assembly.index, block]
        assembly.release(block, peer)
        peer.connection.forget(assembly.index, block * BLOCK_BYTES)
        peer.on_cancelled(assembly.index, block)
        peer.blocks_wasted -= 1  # It may come all the same, and is our fault then.
        place = assembly.index, block * BLOCK_BYTES, assembly.block_length(block)
        self.cancels.append((peer, place))

    def _endgame(self, peer: BlockPeer, room: int, now: int) -> list[tuple[int, int, int]]:
        """Every missing block was asked for: ask a second peer too, so that none holds all up.

        More only where all of those are overdue, or never gave anything.
        """
        found: list[tuple[int, int, int]] = []
        for assembly in self._begun.values():
            if assembly.index not in peer.pieces or self._is_suspect(peer, assembly.index):
                continue
            for block, asked in enumerate(assembly.asked):
                if not asked or peer in asked:
                    continue
                is_hopeless = len(asked) < ENDGAME_COPIES_MAX and all(
                    not other.bytes_in
                    or self._remaining_us(other, assembly.index, block, now) < -OVERDUE_US
                    for other in asked
                )
                if len(asked) < ENDGAME_COPIES or is_hopeless:
                    found.append(self._book(peer, assembly, block, now))
                    if len(found) >= room:
                        return found
        return found

    def _remaining_us(self, peer: BlockPeer, index: int, block: int, now: int) -> int:
        """How long a peer will take yet for a block that it owes; negative: it is overdue."""
        return peer.owed[index, block] + peer.wait_us - now

    def _is_suspect(self, peer: BlockPeer, index: int) -> bool:
        """Whether a peer gave a block of a forged copy of this piece."""
        return any(author is peer for author, _ in self._suspects.get(index, {}).values())

    def _finish(self, assembly: Assembly[BlockPeer]) -> None:
        if assembly.owner is not None:
            assembly.owner.own.remove(assembly)  # All came: there is nothing to forget.
            assembly.owner = None
        del self._begun[assembly.index]
        self._verifying[assembly.index] = assembly
        self._store.submit(assembly.index, assembly.buffer)
