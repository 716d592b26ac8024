"""LEDBAT (RFC 6817) with LEDBAT++'s repairs (draft-irtf-iccrg-ledbat-plus-plus).

One controller for every transport: QUIC feeds it round-trip times, µTP one-way delays.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Final

from livestream.machine import SECOND

__all__ = ["Ledbat"]

BASE_HISTORY: Final = 10  # RFC 6817 section 4.2: minutes of base delays remembered.
BASE_BUCKET_US: Final = 60 * SECOND
CURRENT_FILTER: Final = 4  # RFC 6817: the current delay is the least of the last few samples.
GAIN_DIVISOR_MAX: Final = 16  # LEDBAT++ section 4.2
WINDOW_MIN_DATAGRAMS: Final = 2
INITIAL_DATAGRAMS: Final = 10  # RFC 9002
SLOWDOWN_ROUND_TRIPS: Final = 2  # LEDBAT++ section 4.4: so long at the floor...
# ...and not again for so many times what it took to come back. The draft's 9 costs a lone flow
# 7 % of a 20 Mbit/s link, this 3 %, and a latecomer still has its share within a minute.
SLOWDOWN_SPACING: Final = 24
SLOWDOWN_INTERVAL_MAX_US: Final = 120 * SECOND  # An idle application makes coming back seem long.


class Ledbat:
    """A congestion window that shrinks before others feel it.

    Now and then it lets the queue run empty on purpose (periodic slowdown), so that a flow which
    came later sees the path's true delay, and so gets its share.

    Invariant: the window is never below its floor, nor below two datagrams.
    """

    def __init__(self, datagram_bytes: int, target_us: int) -> None:
        self.target_us = target_us
        self.window_bytes = INITIAL_DATAGRAMS * datagram_bytes
        self.slow_start_threshold: int | None = None
        self._datagram_bytes = datagram_bytes
        self._floor = WINDOW_MIN_DATAGRAMS * datagram_bytes
        self._window = float(self.window_bytes)
        self._base: deque[int] = deque(maxlen=BASE_HISTORY)
        self._bucket_end = 0
        self._current: deque[int] = deque(maxlen=CURRENT_FILTER)
        self._lost_at: int | None = None
        self._rtt_us = 0
        self._rtt_us_min: int | None = None
        "The path's own; one-way delays have the difference of two clocks in them."
        self._slowdown_at: int | None = None  # When the next one is due; None: not yet known.
        self._slowed_at: int | None = None  # When the present one began, until it has come back.
        self._resume_at: int | None = None  # Until then the window stays at its floor.

    @property
    def base_delay_us(self) -> int:
        """The least delay of the last ten minutes: the path without queues."""
        return min(self._base, default=0)

    @property
    def queuing_delay_us(self) -> int:
        """What queues add now."""
        return max(0, min(self._current, default=0) - self.base_delay_us)

    def set_floor_bytes(self, floor: int) -> None:
        """Never shrink below this: what the children that were admitted need."""
        self._floor = max(floor, WINDOW_MIN_DATAGRAMS * self._datagram_bytes)
        self._set(self._window)

    def on_delay(self, delay_us: int, now: int, rtt_us: int | None = None) -> None:
        """Take a delay sample; a constant offset in it cancels.

        Args:
            delay_us: One way or round trip, as long as it is always the same.
            now: Machine time, µs.
            rtt_us: The round trip, if `delay_us` is not.
        """
        rtt = self._rtt_us = delay_us if rtt_us is None else rtt_us
        self._rtt_us_min = rtt if self._rtt_us_min is None else min(self._rtt_us_min, rtt)
        if now >= self._bucket_end:
            self._base.append(delay_us)
            self._bucket_end = now + BASE_BUCKET_US
        else:
            self._base[-1] = min(self._base[-1], delay_us)
        self._current.append(delay_us)

    def on_ack(self, acked_bytes: int, *, is_window_used: bool, now: int) -> None:
        """Grow while the queue we cause is short, shrink as it passes the target.

        Args:
            acked_bytes: Newly acknowledged.
            is_window_used: Whether the window, and not the application, held sending back.
            now: Machine time, µs.
        """
        if is_window_used and self._is_slowing_down(now):
            return
        queuing_us = self.queuing_delay_us
        if queuing_us > self.target_us:
            self._shrink(acked_bytes, queuing_us)
            return
        if not is_window_used:
            return  # RFC 6817 section 2.4.1: do not grow what is not used.
        in_slow_start = (
            self.slow_start_threshold is None or self._window < self.slow_start_threshold
        )
        path_us = max(self._rtt_us_min or 0, 1)
        gain = 1 / min(GAIN_DIVISOR_MAX, ceil(2 * self.target_us / path_us) or 1)
        if in_slow_start:
            if queuing_us > self.target_us * 3 // 4:  # LEDBAT++ section 4.3
                self.slow_start_threshold = int(self._window)
            else:
                self._set(self._window + gain * acked_bytes)
                return
        self._set(self._window + gain * self._datagram_bytes * acked_bytes / self._window)

    def on_loss(self, now: int, rtt_us: int) -> None:
        """Halve, at most once a round trip."""
        if self._lost_at is not None and now - self._lost_at < rtt_us:
            return
        self._lost_at = now
        self._set(self._window / 2)
        self.slow_start_threshold = int(self._window)

    def on_timeout(self) -> None:
        """Start again from the floor."""
        self.slow_start_threshold = int(self._window / 2)
        self._set(0)

    def _is_slowing_down(self, now: int) -> bool:
        """Whether the window is held at its floor, to let the queue run empty."""
        threshold = self.slow_start_threshold
        if self._resume_at is not None:
            if now < self._resume_at:
                return True
            self._resume_at = None
            self._current.clear()  # What was measured before tells of our own queue.
        elif threshold is None:
            return False  # The first slow start has not ended yet.
        elif self._slowed_at is not None:
            if self._window >= threshold:
                wait_us = SLOWDOWN_SPACING * (now - self._slowed_at)
                self._slowdown_at = now + min(wait_us, SLOWDOWN_INTERVAL_MAX_US)
                self._slowed_at = None
        elif self._slowdown_at is None:
            self._slowdown_at = now + SLOWDOWN_ROUND_TRIPS * self._rtt_us
        elif now >= self._slowdown_at:
            self._slowed_at = now
            self._resume_at = now + SLOWDOWN_ROUND_TRIPS * self._rtt_us
            self.slow_start_threshold = int(self._window)
            self._set(0)
            return True
        return False

    def _shrink(self, acked_bytes: int, queuing_us: int) -> None:
        """LEDBAT++ section 4.1: in proportion to the excess, at most by half a round trip."""
        self.slow_start_threshold = int(self._window)
        share = min(0.5, queuing_us / self.target_us - 1)
        self._set(self._window - share * acked_bytes)

    def _set(self, window: float) -> None:
        self._window = max(window, float(self._floor))
        self.window_bytes = int(self._window)
