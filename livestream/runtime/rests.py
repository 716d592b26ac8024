"""How long a driver lets its socket be after a turn, so that the next has more to do (`Rests`)."""

from __future__ import annotations

from typing import Final

__all__ = ["BUSY_BYTES", "Rests"]

# Whoever moved so much since the last turn gets no rest, or more where that is longer ago than the
# least rest: a congestion window that is let out in parts (pacing) would be held up, and there are
# enough datagrams to each turn anyway.
BUSY_BYTES: Final = 8 * 1024
# A rest takes so many times what the last turn took: on a slow machine little work takes a
# twentieth of it, and where many share one, turns take longer and each leaves more to the others.
# It is as long as the driver was told at least, and eight times that at most: with four times, 30
# viewers on two cores came out of the crowd of their beginning in one run of three.
REST_FACTOR: Final = 20
REST_LONG: Final = 8


class Rests:
    """Decides; whoever drives a socket obeys.

    Invariant: no rest is longer than eight times what was asked for, nor shorter than that.
    """

    def __init__(self, rest_us: int) -> None:
        """Take the length of a rest; 0: never rest."""
        self.until = 0
        "Machine time at which the current rest is over, µs."
        self._rest_us = rest_us
        self._began = 0
        self._turn_us = 0
        "What the last turn took."
        self._moved_bytes = 0

    def begin_turn(self, now: int, moved_bytes: int) -> bool:
        """Return whether a rest follows on this turn.

        Args:
            now: Machine time, µs.
            moved_bytes: All that was received and sent, ever.
        """
        before, self._moved_bytes = self._moved_bytes, moved_bytes
        since_us, self._began = now - self._began, now
        if not self._rest_us:
            return False
        if moved_bytes - before >= BUSY_BYTES * max(1.0, since_us / self._rest_us):
            return False
        wanted_us = max(self._rest_us, REST_FACTOR * self._turn_us)
        self.until = now + min(wanted_us, REST_LONG * self._rest_us)
        return True

    def end_turn(self, now: int) -> None:
        """All that there was to do is done."""
        self._turn_us = now - self._began
