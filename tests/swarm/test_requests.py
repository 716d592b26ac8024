"""Requests: who is asked for what, what becomes of it, and who is to blame."""

from __future__ import annotations

from random import Random

from livestream.machine import SECOND, Address
from livestream.pieces.assembly import BLOCK_BYTES
from livestream.swarm.blockpeer import BlockPeer
from livestream.swarm.peer import Peer
from livestream.swarm.requests import Requests
from livestream.torrent.picker import RarestFirst
from livestream.transport.connection import BlocksReceived
from livestream.transport.stream import Stream
from livestream.wire.messages import Handshake, Piece
from tests.swarm.memory import BLOCKS, PIECE_BYTES, MemoryStore, QuietConnection, make_peer

GOOD = bytes(BLOCK_BYTES)
BAD = b"x" * BLOCK_BYTES


class Desk:
    """Requests over pieces in memory, and whom they banned."""

    def __init__(self, count: int) -> None:
        self.store = MemoryStore(count)
        self.picker = RarestFirst(count, Random(1))
        self.banned: list[Peer] = []
        self.requests = Requests(self.store, self.picker, self._ban)

    def join(self, number: int) -> BlockPeer:
        peer = make_peer(number, len(self.store.held))
        self.requests.add_peer(peer)
        return peer

    def ask(self, peer: BlockPeer, now: int = 0) -> list[tuple[int, int, int]]:
        return self.requests.next_blocks(peer, now)

    def give(self, peer: BlockPeer, block: tuple[int, int, int], data: bytes = GOOD) -> object:
        return self.requests.receive(peer, block[0], block[1], data)

    def _ban(self, peer: Peer, reason: str, now: int) -> None:
        self.banned.append(peer)


def test_a_piece_is_submitted_once_all_its_blocks_are_here() -> None:
    desk = Desk(1)
    peer = desk.join(1)
    blocks = desk.ask(peer)
    assert [block[1] for block in blocks] == [n * BLOCK_BYTES for n in range(BLOCKS)]
    for block in reversed(blocks[1:]):
        desk.give(peer, block)
    assert desk.store.submitted == []
    desk.give(peer, blocks[0])
    assert desk.store.submitted == [(0, bytes(PIECE_BYTES))]
    desk.requests.on_kept(0, 0)
    assert desk.requests.is_complete
    assert not peer.owed


def test_a_quick_peer_has_a_piece_to_itself_and_slow_ones_share() -> None:
    desk = Desk(2)
    quick, other = desk.join(1), desk.join(2)
    quick.rate_in = 1e9
    quick.depth = 2
    first = desk.ask(quick)
    other.depth = 100
    assert {block[0] for block in desk.ask(other)}.isdisjoint({first[0][0]})

    desk = Desk(1)
    slow, helper = desk.join(1), desk.join(2)
    slow.depth = 1
    desk.ask(slow)
    assert len(desk.ask(helper)) == BLOCKS - 1


def test_what_was_not_asked_for_or_does_not_fit_is_wasted() -> None:
    desk = Desk(1)
    peer = desk.join(1)
    assert desk.give(peer, (0, 0, BLOCK_BYTES)) is None
    block = desk.ask(peer)[0]
    assert desk.give(peer, block, b"short") is None
    assert desk.give(peer, block) is None, "it was answered, wrongly"
    assert desk.requests.blocks_wasted == 3


def test_in_the_end_game_two_are_asked_and_no_third() -> None:
    desk = Desk(1)
    first, second, third = (desk.join(number) for number in (1, 2, 3))
    first.bytes_in = second.bytes_in = 1
    blocks = desk.ask(first)
    assert desk.ask(second) == blocks
    assert desk.ask(third) == []
    others = desk.give(second, blocks[0])
    assert others == [first], "who is told to cancel"
    assert (blocks[0][0], 0) not in first.owed


def test_a_peer_that_leaves_leaves_its_blocks_to_others() -> None:
    desk = Desk(1)
    leaver, heir = desk.join(1), desk.join(2)
    blocks = desk.ask(leaver)
    assert desk.requests.drop_peer(leaver)
    assert sorted(desk.ask(heir)) == blocks


def test_a_peer_that_owes_and_is_silent_is_snubbed_then_void() -> None:
    desk = Desk(8)
    peer, heir = desk.join(1), desk.join(2)
    blocks = desk.ask(peer, 0)
    desk.requests.look_after(peer, 19 * SECOND)
    was_snubbed_early = peer.is_snubbed
    desk.requests.look_after(peer, 21 * SECOND)
    assert (was_snubbed_early, peer.is_snubbed) == (False, True)
    assert len(peer.owed) == len(blocks)
    desk.requests.look_after(peer, 61 * SECOND)
    assert not peer.owed
    heir.depth = 500
    assert set(blocks) <= set(desk.ask(heir))


def test_who_owes_and_gives_nothing_is_asked_for_a_sign_of_life_each_half_second() -> None:
    """What a firewall drops is noticed only by who has something under way."""
    desk = Desk(8)
    idle, owing = desk.join(1), desk.join(2)
    desk.ask(owing, 0)
    owing.on_blocks(1, SECOND)
    for tenth in range(70):
        for peer in (idle, owing):
            desk.requests.look_after(peer, tenth * SECOND // 10)
    connections = [peer.connection for peer in (idle, owing)]
    assert [
        connection.sent for connection in connections if isinstance(connection, QuietConnection)
    ] == [[], [b""] * 11]


def test_a_disk_that_is_behind_stops_new_pieces_and_not_those_begun() -> None:
    desk = Desk(4)
    peer = desk.join(1)
    peer.depth = 2
    desk.ask(peer)
    desk.store.room = False
    peer.depth = 100
    assert len(desk.ask(peer)) == BLOCKS - 2


def test_the_one_author_of_a_forged_piece_is_banned() -> None:
    desk = Desk(1)
    liar = desk.join(1)
    for block in desk.ask(liar):
        desk.give(liar, block, BAD)
    desk.requests.on_forged(0, 0)
    assert desk.banned == [liar]
    assert desk.picker.has_open


def test_of_several_authors_the_liar_is_found_by_the_good_copy() -> None:
    desk = Desk(1)
    liar, honest = desk.join(1), desk.join(2)
    liar.depth = 1
    desk.give(liar, desk.ask(liar)[0], BAD)
    for block in desk.ask(honest):
        desk.give(honest, block)
    desk.requests.on_forged(0, 0)
    assert desk.banned == []
    for block in desk.ask(honest):
        desk.give(honest, block)
    desk.requests.on_kept(0, 0)
    assert desk.banned == [liar]


def test_a_rejected_block_is_for_others() -> None:
    desk = Desk(1)
    peer, other = desk.join(1), desk.join(2)
    index, begin, length = desk.ask(peer)[0]
    desk.requests.on_reject(peer, index, begin)
    assert (index, begin, length) in desk.ask(other)


def test_padding_is_not_asked_for_and_is_zeros() -> None:
    desk = Desk(2)
    desk.store.padding = {0: 2 * BLOCK_BYTES + 10, 1: PIECE_BYTES - 1}
    peer = desk.join(1)
    peer.depth = 100
    blocks = desk.ask(peer)
    assert sorted(blocks) == [
        (0, 0, BLOCK_BYTES),
        (0, BLOCK_BYTES, BLOCK_BYTES),
        (1, 0, BLOCK_BYTES),
    ]
    for block in blocks:
        desk.give(peer, block, BAD)
    found = dict(desk.store.submitted)
    assert found[0] == BAD * 2 + bytes(2 * BLOCK_BYTES)
    assert found[1] == BAD + bytes(3 * BLOCK_BYTES)


def test_urgent_pieces_come_first_in_their_order_and_anyone_helps() -> None:
    desk = Desk(6)
    quick, helper = desk.join(1), desk.join(2)
    quick.rate_in = 1e9
    quick.depth = 2
    begun = desk.ask(quick)[0][0]
    urgent = [begun, *(index for index in (5, 4, 3) if index != begun)][:3]
    desk.requests.set_urgent(urgent)
    helper.depth = 2 * BLOCKS
    asked = [block[0] for block in desk.ask(helper)]
    assert asked == [begun] * 2 + [urgent[1]] * BLOCKS + [urgent[2]] * 2


def test_a_jump_takes_back_all_but_the_most_urgent() -> None:
    desk = Desk(8)
    peer = desk.join(1)
    peer.has_fast_extension = True
    peer.depth = 2 * BLOCKS
    before = desk.ask(peer)
    wanted = next(index for index in range(8) if index not in {block[0] for block in before})
    desk.requests.set_urgent([wanted])
    desk.requests.preempt()
    assert [block for _, block in desk.requests.cancels] == before
    assert not peer.owed
    assert [block[0] for block in desk.ask(peer)][:BLOCKS] == [wanted] * BLOCKS


def test_a_cancelled_block_is_asked_again_only_once_the_cancel_is_answered() -> None:
    desk = Desk(1)
    peer = desk.join(1)
    peer.has_fast_extension = True
    first, second, *_ = desk.ask(peer)
    desk.requests.preempt()
    assert desk.ask(peer) == []
    desk.requests.on_reject(peer, first[0], first[1])
    assert desk.ask(peer) == [first]
    assert desk.give(peer, second) is not None, "it was on its way, and is of use"
    for block in range(2, BLOCKS):
        desk.requests.on_reject(peer, 0, block * BLOCK_BYTES)
    assert sorted(desk.ask(peer)) == [(0, n * BLOCK_BYTES, BLOCK_BYTES) for n in range(2, BLOCKS)]
    assert not peer.cancelled


def test_an_urgent_block_that_is_owed_for_long_is_asked_of_a_second_peer_only() -> None:
    desk = Desk(2)
    slow, second, third = desk.join(1), desk.join(2), desk.join(3)
    slow.bytes_in = second.bytes_in = 1
    desk.requests.set_urgent([1])
    late = desk.ask(slow)
    assert {block[0] for block in late} == {1}
    assert {block[0] for block in desk.ask(second, now=SECOND)} == {0}
    second.depth = third.depth = 2 * BLOCKS
    assert desk.ask(second, now=2 * SECOND) == late
    assert 1 not in {block[0] for block in desk.ask(third, now=2 * SECOND)}


def test_an_idle_peer_takes_over_what_a_busy_one_will_take_long_to_give() -> None:
    desk = Desk(2)
    busy, idle = desk.join(1), desk.join(2)
    busy.rate_in = 64 * 1024  # Four blocks: a second.
    idle.rate_in = 1e9
    before = desk.ask(busy)
    other = next(index for index in range(2) if index != before[0][0])
    idle.pieces.discard(other)
    assert desk.ask(idle, now=-SECOND // 2) == before[:1], "as much as it is soon done with"
    assert desk.requests.cancels == [(busy, before[0])]
    assert len(busy.owed) == BLOCKS - 1


def test_what_comes_soon_is_left_to_whoever_was_asked() -> None:
    desk = Desk(2)
    busy, idle = desk.join(1), desk.join(2)
    busy.rate_in = idle.rate_in = 1e9
    desk.ask(busy)
    desk.ask(idle)
    idle.owed.clear()
    idle.pieces.discard(next(iter(busy.owed))[0])
    desk.ask(idle)
    assert desk.requests.cancels == []


def test_what_a_peer_put_behind_is_asked_of_another() -> None:
    desk = Desk(2)
    seed, idle = desk.join(1), desk.join(2)
    seed.rate_in = idle.rate_in = 1e9
    before = desk.ask(seed)
    other = next(index for index in range(2) if index != before[0][0])
    idle.pieces.discard(other)
    assert desk.ask(idle, now=SECOND // 2) == []
    assert desk.ask(idle, now=2 * SECOND) == before[:1]
    assert [peer for peer, _ in desk.requests.cancels] == [seed]


def test_blocks_that_do_not_fit_leave_theirs_for_others() -> None:
    desk = Desk(1)
    for number in range(1, 4):
        liar = desk.join(number)
        for block in desk.ask(liar):
            assert desk.give(liar, block, b"short") is None
    honest = desk.join(9)
    for block in desk.ask(honest):
        desk.give(honest, block)
    assert len(desk.store.submitted) == 1


def test_a_block_at_an_odd_place_was_not_asked_for_and_the_right_one_still_counts() -> None:
    desk = Desk(1)
    peer = desk.join(1)
    blocks = desk.ask(peer)
    for index, begin, length in blocks:
        assert desk.give(peer, (index, begin + 1, length)) is None
    assert peer.blocks_wasted == len(blocks)
    for block in blocks:
        desk.give(peer, block)
    assert len(desk.store.submitted) == 1


def test_the_forger_of_a_padded_piece_is_found() -> None:
    """Blocks of nothing but padding have no author."""
    desk = Desk(1)
    desk.store.padding = {0: BLOCK_BYTES}
    liar, honest = desk.join(1), desk.join(2)
    liar.depth = 1
    desk.give(liar, desk.ask(liar)[0], BAD)
    for block in desk.ask(honest):
        desk.give(honest, block)
    desk.requests.on_forged(0, 0)
    assert desk.banned == []
    for block in desk.ask(honest):
        desk.give(honest, block)
    desk.requests.on_kept(0, 0)
    assert desk.banned == [liar]


def test_after_a_forgery_by_several_the_piece_has_one_author() -> None:
    """Else a liar that gives one block of each copy could spoil them all, for ever."""
    desk = Desk(1)
    liar, honest = desk.join(1), desk.join(2)
    liar.depth = 1
    desk.give(liar, desk.ask(liar)[0], BAD)
    for block in desk.ask(honest):
        desk.give(honest, block)
    desk.requests.on_forged(0, 0)
    assert len(desk.ask(honest)) == BLOCKS
    assert desk.ask(liar) == []


def test_whoever_never_gave_anything_does_not_keep_others_from_being_asked() -> None:
    desk = Desk(1)
    silent = [desk.join(number) for number in (1, 2, 3)]
    honest = desk.join(4)
    blocks = desk.ask(silent[0])
    assert all(desk.ask(peer) == blocks for peer in (*silent[1:], honest))
    for block in blocks:
        desk.give(honest, block)
    assert len(desk.store.submitted) == 1


def test_a_choking_owners_piece_is_for_others() -> None:
    """It was told cancels for all that it owed, so no reject of its tells us that it is over."""
    desk = Desk(1)
    owner, heir = desk.join(1), desk.join(2)
    owner.has_fast_extension, owner.rate_in = True, 1e9
    blocks = desk.ask(owner)
    desk.requests.preempt()
    assert desk.ask(heir) == [], "it is the owner's to go on with"
    owner.chokes_us = True
    assert desk.requests.on_choked(owner)
    assert sorted(desk.ask(heir)) == blocks


def test_whoever_answers_no_cancels_is_asked_again_in_the_end() -> None:
    desk = Desk(1)
    peer = desk.join(1)
    peer.has_fast_extension = True
    blocks = desk.ask(peer)
    desk.requests.preempt()
    desk.requests.look_after(peer, 50 * SECOND)
    assert desk.ask(peer) == []
    desk.requests.look_after(peer, 61 * SECOND)
    assert sorted(desk.ask(peer)) == blocks


def test_what_an_owner_began_to_send_is_not_mixed_with_what_another_gave() -> None:
    """Else its own bytes and another's would come as one block, with it as the author."""
    desk = Desk(1)
    owner, other = desk.join(1), desk.join(2)
    stream = Stream(Address("192.0.2.9", 1), lambda changed: None, 0, is_outgoing=True)
    stream.connected(0)
    stream.receive_data(Handshake(bytes(20), bytes(20)).to_bytes(), 0)
    stream.rewind()
    owner.connection, owner.rate_in, owner.bytes_in = stream, 1e9, 1
    blocks = desk.ask(owner)
    stream.expect(desk.requests.places(owner, blocks))
    message = Piece(*blocks[0][:2], GOOD).to_bytes()
    framed = len(message).to_bytes(4, "big") + message
    stream.receive_data(framed[:9_000], 0)
    stream.rewind()
    assert desk.ask(other) == blocks, "the end game"
    assert desk.give(other, blocks[0], BAD) == [owner]
    stream.receive_data(framed[9_000:], 0)
    events = list(iter(stream.next_event, None))
    found = [event for event in events if isinstance(event, BlocksReceived)]
    assert [bytes(data) for event in found for _, _, data in event.blocks] == [GOOD]
