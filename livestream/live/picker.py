"""The deadline-aware picker: what is overdue is asked from whoever can deliver it first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mypy_extensions import mypyc_attr

from livestream.config import LiveConfig
from livestream.live.choices import Choice, Choices
from livestream.live.clock import ChannelClock
from livestream.live.estimate import Estimate
from livestream.live.window import LiveWindow
from livestream.machine import MILLISECOND, SECOND
from livestream.pieces.picker import Pick, Picker
from livestream.swarm.peer import Peer
from livestream.swarm.rates import TokenBucket

__all__ = ["URGENT_US", "DeadlinePicker", "Missing"]

GRACE_MIN_US: Final = 80 * MILLISECOND  # A push that is less late than this is not overdue.
GRACE_MAX_US: Final = 600 * MILLISECOND
EDGES_MAX: Final = 10  # Questions within the longest grace, and some more.
URGENT_US: Final = 150 * MILLISECOND  # Less time than this before the deadline: ask now.
# Beside five quarters of a round trip and what a piece takes to leave: nobody is asked sooner than
# that for what somebody else still owes us unasked.
ANSWER_US: Final = 15 * MILLISECOND
# In slow channels a piece takes long to leave a narrow uplink, and may find another before it.
URGENT_PIECE_BITS: Final = 3 * 4_096 * 8 // 2
RETRY_MIN_US: Final = 60 * MILLISECOND
TUNE_IN_TIMEOUT_US: Final = 500 * MILLISECOND  # Pieces of a group of pictures queue behind others.
TUNE_IN_LATE_US: Final = 5 * SECOND
# A viewer may wait for what is not there when it is due. It does not begin to before something that
# comes later is due, and that may be missing, too; it says when it waits no more (`skip`).
LINGER_US: Final = 300 * MILLISECOND
NO_HOLDER_US: Final = 50 * MILLISECOND  # How soon to look again when nobody has the piece.
SOURCE_DELAY_US: Final = 100 * MILLISECOND  # The publisher is asked so much later than viewers.
REPAIR_PER_PEER_MAX: Final = 8
# Whatever the rate: a feeder that fails takes up to some pieces of several substreams with it.
REPAIR_BURST_BYTES: Final = 32 * 1024
TUNE_IN_PER_PEER_MAX: Final = 24
MISSING_MAX: Final = 4_096
RECKONED_MAX: Final = 16  # Pieces ahead of the newest for which its capture time is a measure.
NEWS_COALESCE_US: Final = 10 * MILLISECOND  # A dozen neighbours tell theirs, five times a second.
BUSY_US: Final = 400 * MILLISECOND
NEVER: Final = 1 << 62
COALESCE_US: Final = 2 * MILLISECOND  # News that come together are looked at together.


@dataclass(slots=True)
class Missing:
    """A piece that exists and is not here."""

    known_at: int
    open_at: int = 0
    "A request is under way until then."
    due_at: int = 0
    "A push excuses us from asking until then, as long as there is somebody who pushes."
    blocked_until: int = 0
    "Nobody can be asked until then, unless somebody holds more than before."
    tried: tuple[Peer, ...] = ()


@mypyc_attr(allow_interpreted_subclasses=True)
class DeadlinePicker(Picker[Peer]):
    """Requests overdue pieces, earliest deadline first, from the holder that can be quickest.

    Invariant: `_missing` has exactly the pieces from the first wanted to the newest known one
    that are not held, not too late and not skipped, in the order of their indices, in which they
    were heard of; at most MISSING_MAX of them.
    """

    def __init__(
        self,
        window: LiveWindow,
        clock: ChannelClock,
        config: LiveConfig,
        fed_from: Callable[[int], int | None],
        is_source: Callable[[Peer], bool],
    ) -> None:
        """Take what to look at; `fed_from(substream)` and `is_source(peer)` are asked, not stored.

        `fed_from` is the first piece of a substream that is pushed to us; None: it is not fed.
        """
        self.pieces_asked = 0
        self._window = window
        self._clock = clock
        self._latency_us = config.latency_us
        self._config = config
        self._fed_from = fed_from
        self._is_source = is_source
        self._missing: dict[int, Missing] = {}
        self._lateness: list[Estimate] = []
        "Of each substream: how long after we hear of a piece its push arrives."
        self._given_up: list[int] = []
        self._edge = -1
        self._edges: deque[tuple[int, int]] = deque(maxlen=EDGES_MAX)
        "When `due` was asked, and the newest piece known of then."
        self._tune_in_end = 0
        self._urgent_us = URGENT_US
        self._answer_us = ANSWER_US
        self._wake_at: int | None = None
        self._is_blocked = False
        "Something is due that nobody could be asked for..."
        self._has_news = False
        "...and since then, somebody has told what it holds."
        self._busy: dict[Peer, int] = {}
        "Who turned down a request, and until when it is not asked again."
        self._repair = TokenBucket(1, 1)
        self._unfed = TokenBucket(1, 1)

    # Commands

    def start(self, first: int, newest: int, substreams: int, rate_bps: int, now: int) -> None:
        """Begin an epoch: all from `first` to `newest` is wanted at once (tune-in)."""
        self._missing.clear()
        self._lateness = [Estimate() for _ in range(substreams)]
        self._edge = first - 1
        self._edges.clear()
        slow_us = URGENT_PIECE_BITS * SECOND // rate_bps
        self._urgent_us = max(URGENT_US, URGENT_US * 3 // 4 + slow_us)
        self._answer_us = ANSWER_US + slow_us
        self._tune_in_end = newest + 1
        rate = rate_bps / 8 * self._config.repair_share
        self._repair = TokenBucket(rate, max(rate, REPAIR_BURST_BYTES))
        self._unfed = TokenBucket(rate_bps / 8, rate_bps / 8)
        self.note_edge(newest, now)

    def set_latency(self, latency_us: int) -> None:
        """Follow the viewer's target."""
        self._latency_us = latency_us

    def skip(self, index: int) -> None:
        """The viewer has gone on without a piece."""
        missing = self._missing.pop(index, None)
        if missing is not None and missing.tried:
            self._given_up.append(index)

    def note_edge(self, newest: int, now: int) -> None:
        """Learn that pieces up to `newest` exist."""
        if newest <= self._edge:
            return
        start = max(self._edge + 1, newest - MISSING_MAX // 2, self._window.first)
        known = len(self._missing)
        is_fed = True
        for index in range(start, newest + 1):
            if not self._window.holds(index):
                self._missing[index] = Missing(now)
                is_fed = is_fed and self._is_fed(index)
        self._edge = newest
        if len(self._missing) > known:
            # What is pushed to us is not due before: no need to look until then.
            is_due = not is_fed or newest < self._tune_in_end
            self._wake_by(now + (COALESCE_US if is_due else GRACE_MIN_US))

    def note_holders(self, now: int) -> None:
        """Somebody holds more than before."""
        if self._is_blocked:
            self._has_news = True
            self._wake_by(now + NEWS_COALESCE_US)

    def wake(self, now: int) -> None:
        """Look again soon: somebody left."""
        if self._missing:
            at = now + COALESCE_US
            self._wake_at = at if self._wake_at is None else min(self._wake_at, at)

    def overdue(self, now: int) -> dict[int, int]:
        """Return how many pieces of each fed substream are overdue, and nobody brought them."""
        counts: dict[int, int] = {}
        for index, missing in self._missing.items():
            if now - missing.known_at < GRACE_MIN_US:
                break  # All behind it were heard of later.
            substream = index % len(self._lateness)
            if index >= self._tune_in_end and now >= missing.known_at + self._grace(substream):
                counts[substream] = counts.get(substream, 0) + 1
        return counts

    def due(self, now: int) -> list[int]:
        """Return, by substream, the newest piece that a push should have brought by now; -1: none.

        Asked each 100 ms or so: due is what was known of when this was asked long enough ago.
        """
        self._edges.append((now, self._edge))
        due = []
        for lateness in self._lateness:
            known_by = now - _grace_us(lateness)
            due.append(next((edge for at, edge in reversed(self._edges) if at <= known_by), -1))
        return due

    # Picker

    def get_timer(self) -> int | None:
        """Return when `picks` wants to be asked again."""
        return self._wake_at

    def picks(self, holders: Sequence[Peer], now: int) -> list[Pick[Peer]]:
        """Return the requests to send now, most urgent first."""
        self._wake_at = None
        self._is_blocked = False
        has_news, self._has_news = self._has_news, False
        picks: list[Pick[Peer]] = []
        first = self._window.first
        choices = Choices(self._able(holders, now), min(self._missing, default=0), self._is_source)
        fed = [self._fed_from(number) for number in range(len(self._lateness))]
        wake_at = NEVER
        for index, missing in list(self._missing.items()):  # In the order of their indices.
            if missing.open_at > now and index >= first:
                at = missing.open_at
            elif missing.due_at > now and _is_pushed(index, fed[index % len(fed)]):
                at = missing.due_at
            elif missing.blocked_until > now and not (has_news and self._may_repair(index, now)):
                # News are of no use as long as repair has used up its share.
                self._is_blocked = self._is_blocked or self._may_repair(index, now)
                at = missing.blocked_until
            else:
                at = self._look_at(index, missing, choices, picks, now)
            wake_at = min(wake_at, at)
        if wake_at < NEVER:
            self._wake_by(wake_at)
        self.pieces_asked += len(picks)
        return picks

    def _look_at(
        self, index: int, missing: Missing, choices: Choices, picks: list[Pick[Peer]], now: int
    ) -> int:
        """Ask for a piece if it is due, forget it if it is too late; returns when to look again."""
        if missing.blocked_until > now:
            self._is_blocked = True
            if not choices.is_held(index):
                return missing.blocked_until
        deadline = self._deadline(index, missing)
        if self._is_too_late(index, deadline, now):
            self.skip(index)
            return NEVER
        missing.due_at = self._due_at(index, missing, deadline)
        if missing.due_at > now:
            return missing.due_at
        choice = self._choose(choices, index, missing, deadline, now)
        if choice is None:
            # All of them are looked at again together.
            missing.blocked_until = now - now % NO_HOLDER_US + NO_HOLDER_US
            self._is_blocked = self._is_blocked or self._may_repair(index, now)
            return missing.blocked_until
        if deadline is not None and not missing.tried and self._is_pushed_yet(index):
            missing.due_at = deadline - choice.wait_us * 5 // 4 - self._answer_us
            if missing.due_at > now:
                return missing.due_at
        picks.append(self._ask(choice, index, missing, now))
        return missing.open_at

    def take_given_up(self) -> list[int]:
        """Return the pieces that were asked for and did not come in time."""
        given_up, self._given_up = self._given_up, []
        return given_up

    def on_stored(self, index: int, now: int) -> None:
        """A piece is here: learn how late pushes of its substream are."""
        missing = self._missing.pop(index, None)
        if self._lateness:
            waited_us = now - missing.known_at if missing is not None else 0
            self._lateness[index % len(self._lateness)].add(waited_us)
        self.note_edge(index, now)

    def on_failed(self, index: int, holder: Peer, now: int) -> None:
        """The holder refused or left: the piece is open again, for others first."""
        missing = self._missing.get(index)
        if missing is not None:
            missing.open_at = now
            self._busy[holder] = now + BUSY_US
            self.wake(now)

    # Helpers

    def _able(self, holders: Sequence[Peer], now: int) -> Sequence[Peer]:
        """Return those that did not turn down a request just now: they have too many."""
        if not self._busy:
            return holders
        self._busy = {holder: until for holder, until in self._busy.items() if until > now}
        return [holder for holder in holders if holder not in self._busy]

    def _grace(self, substream: int) -> int:
        return _grace_us(self._lateness[substream])

    def _deadline(self, index: int, missing: Missing) -> int | None:
        captured_ms = self._window.captured_ms(index)
        if captured_ms is None:
            return None
        captured_at = self._clock.machine_time(captured_ms)
        if index > self._window.newest + RECKONED_MAX:
            # Who got nothing for a while reckons wrong: what is news now was captured lately.
            captured_at = max(captured_at, missing.known_at - self._latency_us // 2)
        return captured_at + self._latency_us

    def _is_too_late(self, index: int, deadline: int | None, now: int) -> bool:
        if index < self._window.first:
            return True
        # The first group of pictures may start before the playout point: decoding needs it still.
        allowance = TUNE_IN_LATE_US if index < self._tune_in_end else LINGER_US
        return deadline is not None and deadline + allowance < now

    def _due_at(self, index: int, missing: Missing, deadline: int | None) -> int:
        """When a push no longer excuses us from asking."""
        substream = index % len(self._lateness)
        if index < self._tune_in_end or not self._is_fed(index):
            return missing.known_at
        if deadline is None:
            return missing.known_at + self._grace(substream)
        # What was lost on the way is sent again by whoever pushes it: asking elsewhere, too, while
        # there is time, mostly brings it twice.
        return max(missing.known_at + GRACE_MIN_US, deadline - self._urgent_us)

    def _choose(
        self, choices: Choices, index: int, missing: Missing, deadline: int | None, now: int
    ) -> Choice | None:
        """Return whom to ask for a piece that is due, if anybody and if there is room for it."""
        if not (self._may_repair(index, now) and choices.is_held(index)):
            return None
        limit = TUNE_IN_PER_PEER_MAX if index < self._tune_in_end else REPAIR_PER_PEER_MAX
        choice = choices.quickest(index, missing.tried, limit)
        if choice is None:
            return None
        if choice.is_source and not self._may_ask_source(choices, missing, deadline, now):
            return None
        return choice

    def _ask(self, choice: Choice, index: int, missing: Missing, now: int) -> Pick[Peer]:
        self._pay(index, now)
        timeout_us = self._timeout(choice.holder, index)
        missing.open_at = now + timeout_us
        missing.tried += (choice.holder,)
        choice.note_asked()
        return Pick(choice.holder, index, timeout_us)

    def _may_ask_source(
        self, choices: Choices, missing: Missing, deadline: int | None, now: int
    ) -> bool:
        """Keep viewers off the publisher: it is asked last, and late unless time is short."""
        if choices.are_all_source():
            return True
        if deadline is None or deadline - now < self._urgent_us:
            return True
        return now - missing.known_at > SOURCE_DELAY_US + self._grace(0)

    def _may_repair(self, index: int, now: int) -> bool:
        return index < self._tune_in_end or self._bucket(index).has_tokens(now)

    def _bucket(self, index: int) -> TokenBucket:
        """What nobody feeds us has to be asked for: no repair, and with a cap of its own."""
        return self._repair if self._is_fed(index) else self._unfed

    def _is_fed(self, index: int) -> bool:
        return _is_pushed(index, self._fed_from(index % len(self._lateness)))

    def _is_pushed_yet(self, index: int) -> bool:
        """Whether somebody owes us the piece unasked, and it is not for the first picture."""
        return index >= self._tune_in_end and self._is_fed(index)

    def _pay(self, index: int, now: int) -> None:
        if index >= self._tune_in_end:
            newest = self._window.last
            self._bucket(index).take(len(newest.payload.data) if newest is not None else 4_096, now)

    def _timeout(self, holder: Peer, index: int) -> int:
        if index < self._tune_in_end:
            return TUNE_IN_TIMEOUT_US
        return min(max(holder.expected_wait_us * 3 // 2, RETRY_MIN_US), SECOND)

    def _wake_by(self, at: int) -> None:
        self._wake_at = at if self._wake_at is None else min(self._wake_at, at)


def _grace_us(lateness: Estimate) -> int:
    return min(max(int(lateness.longest_us), GRACE_MIN_US), GRACE_MAX_US)


def _is_pushed(index: int, fed_from: int | None) -> bool:
    return fed_from is not None and index >= fed_from
