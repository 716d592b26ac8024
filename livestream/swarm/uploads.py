"""What we are about to send: pieces queued for peers, most urgent first, dropped when too late."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, NamedTuple

from mypy_extensions import mypyc_attr

from livestream.machine import MILLISECOND

if TYPE_CHECKING:
    from livestream.swarm.peer import Peer

__all__ = ["Upload", "UploadQueue", "Urgency"]

PUSH_WAIT_US_MAX: Final = 350 * MILLISECOND  # A push that waits longer is late further down.
ASKED_MAX: Final = 64  # Requests in all queues, where nothing else is known.
QUEUE_MAX: Final = 256  # Pieces queued for one peer: over two seconds of the fastest channel.
BACKLOG_BYTES_MAX: Final = 8 * 1024  # A connection takes a further piece only below this.


class Urgency(IntEnum):
    """What goes first when not all can."""

    PUSHED = 0
    ASKED = 1


_ASKED: Final = Urgency.ASKED


class Upload(NamedTuple):
    """One piece for one peer, worth nothing after `deadline`; what goes first is smaller."""

    urgency: Urgency
    deadline: int
    order: int
    piece: int
    "Its index."
    queued_at: int


@mypyc_attr(allow_interpreted_subclasses=True)
class UploadQueue:
    """Queues of pieces, one a peer; the connection's own backlog stays short.

    Invariant: at most QUEUE_MAX entries a peer, none of them past its deadline when returned; who
    has nothing queued has no queue, but for a moment.
    """

    def __init__(self) -> None:
        self._queues: dict[Peer, list[Upload]] = {}
        self._wanted: dict[Peer, dict[int, Upload]] = {}
        self._order = 0
        self._asked = 0
        self.asked_max = ASKED_MAX
        "More requests than that are turned down: they would be answered too late."
        self.pieces_expired = 0

    def add(self, peer: Peer, index: int, *, urgency: Urgency, deadline: int, now: int) -> bool:
        """Queue a piece; False when this peer's queue is full or its pushes wait too long.

        Twice the same counts once.
        """
        wanted = self._wanted.setdefault(peer, {})
        if index in wanted:
            return True
        if len(wanted) >= QUEUE_MAX:
            return False
        if urgency is Urgency.PUSHED:
            if self._push_waits(peer, now):
                return False
        elif self._asked >= self.asked_max:
            return False
        else:
            self._asked += 1
        self._order += 1
        upload = Upload(urgency, deadline, self._order, index, now)
        wanted[index] = upload
        heappush(self._queues.setdefault(peer, []), upload)
        return True

    def cancel(self, peer: Peer, index: int) -> None:
        """Forget a queued piece, if it is still queued."""
        self._forget(self._wanted.get(peer, {}), index)

    def withdraw(self, peer: Peer, is_meant: Callable[[int], bool]) -> None:
        """Forget those pushes queued for a peer whose index is meant."""
        wanted = self._wanted.get(peer, {})
        for index, upload in list(wanted.items()):
            if upload.urgency is Urgency.PUSHED and is_meant(index):
                self._forget(wanted, index)

    def drop_peer(self, peer: Peer) -> None:
        """Forget all that is queued for a peer."""
        self._queues.pop(peer, None)
        wanted = self._wanted.pop(peer, {})
        for index in list(wanted):
            self._forget(wanted, index)

    def length(self, peer: Peer) -> int:
        """Return how many pieces are queued for this peer."""
        return len(self._wanted.get(peer, ()))

    @property
    def is_idle(self) -> bool:
        """Whether `next_upload` is not worth asking: there is nothing, whoever could take it."""
        return not self._queues

    def next_upload(self, now: int) -> tuple[Peer, Upload] | None:
        """Return and remove the most urgent piece among the peers that can take one."""
        best: tuple[Peer, Upload] | None = None
        empty: list[Peer] = []
        for peer, queue in self._queues.items():
            if best is not None and queue and queue[0] > best[1]:
                continue  # Be it alive or not.
            if peer.connection.backlog_bytes >= BACKLOG_BYTES_MAX:
                continue
            upload = self._first_alive(peer, queue, now)
            if upload is None:
                empty.append(peer)
            elif best is None or upload < best[1]:
                best = peer, upload
        for peer in empty:
            del self._queues[peer]
        if best is not None:
            peer, upload = best
            heappop(self._queues[peer])
            self._forget(self._wanted[peer], upload.piece)
        return best

    def count_waiting(self, now: int) -> int:
        """Return for how many peers a push has waited long: one is slow, many are our uplink."""
        return sum(self._push_waits(peer, now, PUSH_WAIT_US_MAX // 2) for peer in self._queues)

    def _push_waits(self, peer: Peer, now: int, longest_us: int = PUSH_WAIT_US_MAX) -> bool:
        queue = self._queues.get(peer)
        first = self._first_alive(peer, queue, now) if queue else None
        if first is None or first.urgency is not Urgency.PUSHED:
            return False
        return now - first.queued_at > longest_us

    def _first_alive(self, peer: Peer, queue: list[Upload], now: int) -> Upload | None:
        wanted = self._wanted[peer]
        while queue:
            upload = queue[0]
            is_wanted = wanted.get(upload.piece) is upload
            if is_wanted and upload.deadline > now:
                return upload
            heappop(queue)
            if is_wanted:
                self._forget(wanted, upload.piece)
                peer.stats.pieces_expired += 1
                self.pieces_expired += 1
        return None

    def _forget(self, wanted: dict[int, Upload], index: int) -> None:
        upload = wanted.pop(index, None)
        if upload is not None and upload.urgency is _ASKED:
            self._asked -= 1
