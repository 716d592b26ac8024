"""One peer of a swarm whose pieces go in blocks: who chokes whom, what it owes, how fast it is."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from livestream.machine import SECOND
from livestream.pieces.assembly import BLOCK_BYTES, Assembly
from livestream.pieces.pieceset import PieceSet
from livestream.swarm.peer import Peer
from livestream.transport.connection import Connection

__all__ = ["BlockPeer"]

DEPTH_MIN: Final = 4
DEPTH_MAX: Final = 500
DEPTH_SECONDS: Final = 3  # Of the peer's rate; libtorrent's request_queue_time.
REQUESTS_TAKEN_DEFAULT: Final = 250  # What a peer takes that does not say (BEP 10's reqq).
CANCELLED_MAX: Final = 4 * DEPTH_MAX  # A peer that answers no cancel costs no more than this.
RATE_ASSUMED: Final = 32 * 1024  # Bytes a second of a peer that gave nothing yet.
CREDIT_BYTES: Final = 1 << 20  # What anybody gets before giving anything...
CREDIT_RATIO: Final = 4  # ...and how many times what it gave, before it counts as a free rider.
JUDGED_AFTER_US: Final = 10 * SECOND
RATE_GAIN: Final = 0.3  # Of the newest second in the averages.


class BlockPeer(Peer):
    """Invariant: `owed` has exactly the blocks that were asked of it and have not come."""

    def __init__(self, connection: Connection, public_key: bytes, now: int, count: int) -> None:
        super().__init__(connection, public_key, now)
        self.pieces = PieceSet(count)
        self.chokes_us = True
        self.says_interested = False
        self.is_upload_only = False  # BEP 21: then its interest counts for nothing.
        self.wants_us = False
        self.is_choked = True
        self.is_wanted = False
        "We told it that we are interested."
        self.choked_at = now
        self.fast: dict[int, None] = {}
        "Pieces that it serves even while it chokes us (BEP 6)."
        self.has_fast_extension = False
        self.owed: dict[tuple[int, int], int] = {}
        "(piece, block) to when it was asked for, µs."
        self.cancelled: dict[tuple[int, int], None] = {}
        "(piece, block) whose cancel it has not answered (BEP 6)."
        self.own: list[Assembly[BlockPeer]] = []
        "Pieces that it is getting for us alone."
        self.asked_of_us: OrderedDict[tuple[int, int, int], None] = OrderedDict()
        "(piece, begin, length) that it waits for, in order; a cancel costs the same anywhere."
        self.wanted_us = 0
        "How long it had something that we wanted, all in all."
        self.serving: int | None = None
        "The piece that it got a block of last."
        self.hoard = 0
        "Pieces that it has from us and nobody else is known to have."
        self.depth = DEPTH_MIN
        self.is_snubbed = False
        self.gave_at = self.probed_at = now  # The latter: when it was asked for a sign of life.
        self.bytes_in = self.bytes_in_round = 0
        self.bytes_out = self.bytes_out_round = self.bytes_out_turn = 0
        self.rate_in = self.rate_out = 0.0
        "Bytes a second, averaged."
        self._seen = (0, 0)
        self._is_ramping = True
        self.blocks_wasted = 0
        "Blocks of it that were of no use."
        self.has_told_pieces = False
        "It said what it has, be it all, nothing or a bitfield."

    @property
    def is_seed(self) -> bool:
        """Whether it wants nothing more, from anybody."""
        return self.is_upload_only or self.pieces.is_full

    @property
    def is_web_seed(self) -> bool:
        """Whether it is a web server: it costs no connection, and nobody can be called there."""
        return not self.connection.address.port

    @property
    def depth_max(self) -> int:
        """How many requests it takes."""
        fields = self.greeting.fields if self.greeting is not None else {}
        limit = fields.get(b"reqq")
        taken = limit if isinstance(limit, int) and limit > 0 else REQUESTS_TAKEN_DEFAULT
        return max(1, min(DEPTH_MAX, taken))

    def on_blocks(self, count: int, now: int) -> None:
        """Blocks came; while the rate still grows, so does the depth, as in slow start."""
        self.gave_at = now
        self.is_snubbed = False
        if self._is_ramping and self.depth < DEPTH_MAX:
            self.depth = min(self.depth + count, self.depth_max)

    @property
    def is_free_rider(self) -> bool:
        """Whether it takes, has what we want, and hardly gives.

        Who has nothing for us yet is none: newcomers must get something to give.
        """
        is_known = self.wanted_us > JUDGED_AFTER_US
        return is_known and self.bytes_out > CREDIT_BYTES + CREDIT_RATIO * self.bytes_in

    @property
    def wait_us(self) -> int:
        """How long it takes to give all that it owes, by its rate."""
        return int(len(self.owed) * BLOCK_BYTES * SECOND / max(self.rate_in, RATE_ASSUMED))

    def on_cancelled(self, index: int, block: int) -> None:
        """A cancel goes out; with the fast extension a reject, or the block, will answer it."""
        if self.has_fast_extension and len(self.cancelled) < CANCELLED_MAX:
            self.cancelled[index, block] = None

    def count_out(self, size: int) -> None:
        """Count a block out."""
        self.bytes_out += size
        self.bytes_out_round += size
        self.bytes_out_turn += size

    def measure(self, elapsed_us: int) -> None:
        """Take the rates of the time since the last call, and fit the depth to them."""
        seen_in, seen_out = self._seen
        self._seen = self.bytes_in, self.bytes_out
        before = self.rate_in
        if self.is_wanted:
            self.wanted_us += elapsed_us
        seconds = max(elapsed_us, 1) / SECOND
        self.rate_in += RATE_GAIN * ((self.bytes_in - seen_in) / seconds - self.rate_in)
        self.rate_out += RATE_GAIN * ((self.bytes_out - seen_out) / seconds - self.rate_out)
        self._is_ramping = self.rate_in > before * 1.1
        wanted = int(self.rate_in * DEPTH_SECONDS / BLOCK_BYTES)
        if not self._is_ramping:
            self.depth = min(max(wanted, DEPTH_MIN), self.depth_max)
