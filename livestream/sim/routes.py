"""The way from one host to another, as datagrams meet it: delay, jitter, loss, reordering."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from livestream.machine import MILLISECOND, Train

__all__ = ["Route", "Weather"]

OVERTAKEN_US: Final = 20 * MILLISECOND  # What is overtaken comes later by up to so much.


@dataclass(frozen=True, slots=True)
class Weather:
    """What befalls datagrams between hosts, each direction for itself."""

    jitter_us: int = 0
    "Delays vary by up to so much; what leaves first arrives first all the same."
    loss: float = 0.0
    "The share that is lost in the long run."
    loss_burst: float = 1.0
    "How many in a row, on average, once one is lost (Gilbert and Elliott's model); 1: by chance."
    reordered: float = 0.0
    "The share that others overtake."


class Route:
    """One direction between two hosts.

    Invariant: what is not reordered arrives in the order in which it left. Of Gilbert and
    Elliott's two states, the bad one loses everything, and the good one nothing.
    """

    __slots__ = ("_arrived_at", "_delay_us", "_is_bad", "_turns_bad", "_turns_good", "_weather")

    def __init__(self, delay_us: int, weather: Weather) -> None:
        self._delay_us = delay_us
        self._weather = weather
        self._arrived_at = 0
        self._is_bad = False
        self._turns_good = 1.0 / max(1.0, weather.loss_burst)
        # In the long run bad / (good + bad) of the datagrams are lost: that is to be `loss`.
        loss = min(weather.loss, 0.99)
        self._turns_bad = loss * self._turns_good / (1.0 - loss)

    def carry(self, train: Train, left_at: int, rng: Random) -> list[tuple[int, Train]]:
        """Return what arrives of a train that has left by then, and when."""
        weather = self._weather
        at = left_at + self._delay_us + int(weather.jitter_us * rng.random())
        self._arrived_at = at = max(at, self._arrived_at)
        if not (weather.loss or weather.reordered):
            return [(at, train)]
        datagrams = train.datagrams()
        kept = [each for each in datagrams if not (weather.loss and self._loses(rng))]
        late = [each for each in kept if weather.reordered and rng.random() < weather.reordered]
        size = train.datagram_size
        arrivals = [
            (at + int(OVERTAKEN_US * rng.random()), Train(train.address, each, len(each)))
            for each in late
        ]
        if late:
            is_late = {id(each) for each in late}
            kept = [each for each in kept if id(each) not in is_late]
        if len(kept) == len(datagrams):
            return [(at, train)]
        if kept:
            arrivals.append((at, Train(train.address, b"".join(kept), size)))
        return arrivals

    def _loses(self, rng: Random) -> bool:
        """Take one step of the two states; with bursts of one it is a coin for each datagram."""
        if self._weather.loss_burst <= 1.0:
            return rng.random() < self._weather.loss
        self._is_bad = (
            rng.random() >= self._turns_good if self._is_bad else (rng.random() < self._turns_bad)
        )
        return self._is_bad
