"""LEDBAT (RFC 6817) with LEDBAT++'s repairs (draft-irtf-iccrg-ledbat-plus-plus-01).

One controller for every transport: QUIC feeds it round-trip times, µTP one-way delays.

Where it departs from the draft, it was measured (`benchmarks.ledbat`) and simulated:
- It shrinks twice as fast, and withdraws if that does not help: the queue is of others then.
- A queue that stays empty means that the link is idle, and lets it grow like slow start.
- Losses are told apart by the queue that they come with (`transport/losses`).
- Growth fades as the queue nears the target, and large windows shrink there before small ones do.
- Where a queue is not on our own line, what was promised goes through it: its rate times the delay
  of the queue stays in flight. It is the receiver's own line, and the receiver wants it.
- The periodic slowdown leaves a quarter of the link in use, and comes more seldom. Who learns by it
  that others were there before gives them half.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from livestream.machine import SECOND
from livestream.transport.delay import DelayHistory
from livestream.transport.losses import LossJudge
from livestream.transport.precedence import Precedence

__all__ = ["Ledbat"]

GAIN_DIVISOR_MAX: Final = 16  # LEDBAT++ section 4.2
WINDOW_MIN_DATAGRAMS: Final = 2
INITIAL_DATAGRAMS: Final = 10  # RFC 9002
DECREASE: Final = 2  # LEDBAT++ section 4.1 has 1: CUBIC beside that has 2 % less in its first 20 s.
SLOWDOWN_ROUND_TRIPS: Final = 2  # LEDBAT++ section 4.4: so long...
SLOWDOWN_DIVISOR: Final = 4  # ...at this part of what the path holds without a queue...
# ...and not again for so many times what it took to come back. The draft's floor of two datagrams
# and 9 times cost a lone flow 7 % of a 20 Mbit/s link, this 2 %; latecomers still get their share.
SLOWDOWN_SPACING: Final = 24
SLOWDOWN_INTERVAL_MAX_US: Final = 120 * SECOND  # An idle application makes coming back seem long.
EMPTY_DIVISOR: Final = 4  # A queue below this part of the target is as good as empty.
EMPTY_US: Final = SECOND  # Longer than the slowdown of another flow, whose share is not ours...
EMPTY_ROUND_TRIPS: Final = 6  # ...and which takes so many on a long path.
# Where growth turns into shrinking, as shares of the target. Not a point but a band: the base
# delays of two flows differ by a millisecond, and at a point that would decide which of them grows.
LEVEL_FROM: Final = 0.75
SHRINK_FROM: Final = 0.9
LEVEL_DECREASE: Final = 0.02  # Of the window a round trip, at the band's end.
RANDOM_LOSS_FACTOR: Final = 7 / 8
LOSS_SHARE_MAX: Final = 0.06  # More is congestion, however short the queue: a policer has none.
LOSSES_FEW: Final = 6  # Datagrams, of which nothing can be concluded.
FAR_QUEUE_US_MAX: Final = SECOND  # A longer queue, or who says so, gets no more for it.
BURST_FACTOR: Final = 2  # A key frame comes at several times the average rate.
# On a narrow line two datagrams are more queue than LEDBAT bears: at that window a piece of four
# takes two round trips, and blocks the next. This is four pieces of a slow channel: what a key
# frame puts on one connection, and more in flight than what was promised takes on average.
BURST_BYTES: Final = 16 * 1024
HEAVY_US: Final = 10 * SECOND  # So long after many losses, all losses are taken for congestion.


class Ledbat:
    """A congestion window that shrinks before others feel it.

    Now and then it lets the queue run empty on purpose (periodic slowdown), so that a flow which
    came later sees the path's true delay, and so gets its share.

    Invariant: the window is never below its floor, nor below two datagrams.
    """

    def __init__(
        self, datagram_bytes: int, target_us: int, precedence: Precedence | None = None
    ) -> None:
        """Take the target, and what tells whether other flows of the node go before this one."""
        self.target_us = target_us
        self.window_bytes = INITIAL_DATAGRAMS * datagram_bytes
        self.slow_start_threshold: int | None = None
        self._precedence = precedence or Precedence()
        self._datagram_bytes = datagram_bytes
        self._near_floor = self._floor = WINDOW_MIN_DATAGRAMS * datagram_bytes
        self._promised_bps = 0
        self._window = float(self.window_bytes)
        self._delays = DelayHistory()
        self._round_trips = DelayHistory()
        self._rtt_us = 0
        self._losses = LossJudge()
        self._lost_at: int | None = None
        self._lost_bytes = self._acked_bytes = 0  # Since then.
        self._heavy_until = 0
        self._empty_since: int | None = None
        self._empty_at = 0
        self._grown = self._window  # Where shrinking began.
        self._is_withdrawn = False
        self._slowdown_at: int | None = None  # When the next one is due; None: not yet known.
        self._slowed_at: int | None = None  # When the present one began, until it has come back.
        self._resume_at: int | None = None  # Until then the window stays small.
        self._base_before_us = 0

    @property
    def base_delay_us(self) -> int:
        """The least delay of the last ten minutes: the path without queues."""
        return self._delays.base_us

    @property
    def queuing_delay_us(self) -> int:
        """What queues add now.

        One way cannot have more of it than the round trip: what is above that is the other side's
        clock, which runs faster than ours or was set.
        """
        return min(self._delays.queuing_us, self._round_trips.queuing_us)

    def promise(self, rate_bps: int, ack_delay_us: int) -> None:
        """Keep the window above what this rate needs over the path at the delay target.

        Nor does it fall below some pieces: on a narrow line each of them would wait for answers.
        0: nothing is promised any more.
        """
        round_trip_us = self._round_trips.base_us + self.target_us + ack_delay_us
        burst_bps = BURST_FACTOR * rate_bps
        needed = burst_bps // 8 * round_trip_us // SECOND
        self.set_floor_bytes(max(needed, BURST_BYTES) if rate_bps else 0, burst_bps)

    def set_floor_bytes(self, floor: int, rate_bps: int = 0) -> None:
        """Never shrink below this: what the children that were admitted need.

        Over a queue that is not ours, the floor rises by what this rate sends meanwhile.
        """
        self._near_floor = max(floor, WINDOW_MIN_DATAGRAMS * self._datagram_bytes)
        self._promised_bps = rate_bps
        self._set_floor()

    def set_datagram_bytes(self, size: int) -> None:
        """Count in datagrams of this size: the path carries no larger ones, or does now."""
        self._datagram_bytes = size
        self.set_floor_bytes(self._near_floor, self._promised_bps)

    def on_delay(self, delay_us: int, now: int, rtt_us: int | None = None) -> None:
        """Take a delay sample; a constant offset in it cancels.

        Args:
            delay_us: One way or round trip, as long as it is always the same.
            now: Machine time, µs.
            rtt_us: The round trip, if `delay_us` is not.
        """
        self._rtt_us = delay_us if rtt_us is None else rtt_us
        self._delays.add(delay_us, now)
        self._round_trips.add(self._rtt_us, now)
        self._losses.on_queue(self.queuing_delay_us, now)
        self._precedence.on_queue(self.queuing_delay_us, now)
        if self._promised_bps:
            self._set_floor()

    def on_ack(self, acked_bytes: int, *, is_window_used: bool, now: int) -> None:
        """Grow while the queue we cause is short, shrink as it passes the target.

        Args:
            acked_bytes: Newly acknowledged.
            is_window_used: Whether the window, and not the application, held sending back.
            now: Machine time, µs.
        """
        self._acked_bytes += acked_bytes
        self._precedence.on_ack(self.target_us, acked_bytes, now)
        if is_window_used and self._is_slowing_down(now):
            return
        queuing_us = self.queuing_delay_us
        target_us = self._target_us(now)
        is_empty = queuing_us < target_us // EMPTY_DIVISOR
        self._look_for_idleness(now, is_empty=is_empty, is_window_used=is_window_used)
        if self._is_withdrawn:
            self._is_withdrawn = not is_empty
            target_us //= 2
        limit_us = SHRINK_FROM * target_us
        if queuing_us > limit_us:
            self._shrink(acked_bytes, queuing_us / limit_us - 1)
        elif is_window_used:  # RFC 6817 section 2.4.1: do not grow what is not used.
            self._grow(acked_bytes, queuing_us, target_us, now)

    def on_loss(self, now: int, rtt_us: int, lost_bytes: int | None = None) -> None:
        """Shrink, at most once a round trip: by half for a full queue, else by little.

        Args:
            now: Machine time, µs.
            rtt_us: The round trip.
            lost_bytes: What was lost; None: one datagram.
        """
        self._lost_bytes += self._datagram_bytes if lost_bytes is None else lost_bytes
        if self._lost_at is not None and now - self._lost_at < rtt_us:
            return
        few = max(LOSSES_FEW * self._datagram_bytes, LOSS_SHARE_MAX * self._acked_bytes)
        if self._lost_bytes > few:
            self._heavy_until = now + HEAVY_US
        self._lost_at, self._lost_bytes, self._acked_bytes = now, 0, 0
        if self._losses.is_congestion(self.target_us, now) or now < self._heavy_until:
            self._set(self._window / 2)
            self.slow_start_threshold = int(self._window)
            return
        if self.slow_start_threshold is not None:  # Back to where it was, and at once.
            self.slow_start_threshold = max(self.slow_start_threshold, int(self._window))
        self._set(self._window * RANDOM_LOSS_FACTOR)

    def on_timeout(self) -> None:
        """Start again from the floor."""
        self.slow_start_threshold = int(self._window / 2)
        self._set(0)

    def _target_us(self, now: int) -> int:
        """The own target, or less where others of the node go first or the buffer is short."""
        return self._losses.target_us(self._precedence.target_us(self.target_us, now), now)

    def _is_slowing_down(self, now: int) -> bool:
        """Whether the window is held small, to let the queue run empty."""
        threshold = self.slow_start_threshold
        if threshold is None:
            return False  # The first slow start has not ended yet.
        if self._resume_at is not None:
            if now < self._resume_at:
                return True
            self._end_slowdown(threshold)
        elif self._slowed_at is not None:
            if self._window >= threshold:
                wait_us = SLOWDOWN_SPACING * (now - self._slowed_at)
                self._slowdown_at = now + min(wait_us, SLOWDOWN_INTERVAL_MAX_US)
                self._slowed_at = None
        elif self._slowdown_at is None:
            self._slowdown_at = now + SLOWDOWN_ROUND_TRIPS * self._rtt_us
        elif now >= self._slowdown_at and self._window >= threshold:  # Else it is small as it is.
            self._begin_slowdown(now)
            return True
        return False

    def _begin_slowdown(self, now: int) -> None:
        self._slowed_at = now
        self._resume_at = now + SLOWDOWN_ROUND_TRIPS * self._rtt_us
        self._base_before_us = base_us = self._round_trips.base_us
        held = self._window * base_us / max(1, base_us + self.queuing_delay_us)
        self.slow_start_threshold = int(self._window)
        self._set(held / SLOWDOWN_DIVISOR)

    def _end_slowdown(self, threshold: int) -> None:
        self._resume_at = None
        if self.queuing_delay_us > self.target_us // 2:
            self._set(threshold)  # The queue is not ours: to be small any longer helps nobody.
        elif self._base_before_us - self._round_trips.base_us > self.target_us // 4:
            # What seemed to be the path was the queue of others, who were here before: half is
            # theirs. They have seen the queue empty, too, and grow now.
            self.slow_start_threshold = threshold // 2
        # What was measured before tells of our own queue.
        self._delays.forget_current()
        self._round_trips.forget_current()

    def _grow(self, acked_bytes: int, queuing_us: int, target_us: int, now: int) -> None:
        base_us = max(1, self._round_trips.base_us)
        gain = 1 / min(GAIN_DIVISOR_MAX, ceil(2 * target_us / base_us) or 1)
        threshold = self.slow_start_threshold
        if threshold is None or self._window < threshold:
            if queuing_us > target_us * 3 // 4:  # LEDBAT++ section 4.3
                self.slow_start_threshold = threshold = int(self._window)
            else:
                self._set(self._window + gain * acked_bytes)
        elif queuing_us < target_us // EMPTY_DIVISOR and self._is_idle(now):
            # What is added within a round trip shows only after it: half a target of queue at most.
            gain = min(gain / 2, target_us / (2 * base_us))
            self._set(self._window + gain * acked_bytes)
        else:
            band_us = (SHRINK_FROM - LEVEL_FROM) * target_us
            level = max(0.0, (queuing_us - LEVEL_FROM * target_us) / band_us)
            step = (1 - level) * self._datagram_bytes - level * LEVEL_DECREASE * self._window
            self._set(self._window + step * acked_bytes / self._window)
        self._grown = self._window

    def _look_for_idleness(self, now: int, *, is_empty: bool, is_window_used: bool) -> None:
        """Note since when the queue is empty, be it for a part of each round trip.

        A window that comes back in bursts, as after a pause of either machine, makes a queue and
        leaves the link idle in turns.
        """
        if not is_window_used:
            self._empty_since = None
        elif is_empty:
            self._empty_at = now
            if self._empty_since is None:
                self._empty_since = now
        elif now - self._empty_at > self._rtt_us:
            self._empty_since = None

    def _is_idle(self, now: int) -> bool:
        """Whether the link is, as the queue has been empty for long and little was lost."""
        if self._empty_since is None:
            return False
        wait_us = max(EMPTY_US, EMPTY_ROUND_TRIPS * self._rtt_us)
        return now - max(self._empty_since, self._heavy_until) > wait_us

    def _shrink(self, acked_bytes: int, excess: float) -> None:
        """LEDBAT++ section 4.1: in proportion to the excess, at most by half a round trip.

        Whose queue it is shows when half the window is gone and the queue is not. The flow
        withdraws then until it has seen the queue empty, and does not keep it at its target.
        """
        if self._window < self._grown / 2:
            self._is_withdrawn = True
        base_us = self._round_trips.base_us
        queue_us = min(self.target_us, self.queuing_delay_us)
        held = self._grown * base_us / max(1, base_us + queue_us)  # By the path without a queue.
        self.slow_start_threshold = int(max(self._window, held))
        self._set(self._window - min(0.5, DECREASE * excess) * acked_bytes)

    def _set_floor(self) -> None:
        """What delays other flows of the node, too, may be the queue of our own uplink."""
        far_us = self.queuing_delay_us - self._precedence.shared_queue_us
        far_us = min(max(far_us, 0), FAR_QUEUE_US_MAX)
        self._floor = self._near_floor + self._promised_bps * far_us // (8 * SECOND)
        self._set(self._window)

    def _set(self, window: float) -> None:
        self._window = max(window, float(self._floor))
        self.window_bytes = int(self._window)
