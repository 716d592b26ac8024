"""Who of all neighbours is to be asked for a piece: one look at them serves many pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from livestream.swarm.peer import SERVICE_US, Peer

__all__ = ["Choice", "Choices"]


class Choice:
    """Somebody who may be asked, and how long that would take."""

    __slots__ = ("held", "holder", "is_source", "requests_out", "wait_us")

    def __init__(self, holder: Peer, held: int, *, is_source: bool) -> None:
        self.holder = holder
        self.held = held
        "Bit i: it has the i-th piece of those looked at."
        self.is_source = is_source
        self.requests_out = -1
        "Requests that it owes us; below 0: not looked up yet, nor is `wait_us`."
        self.wait_us = 0

    def look_up(self) -> None:
        """Ask the neighbour's session how long it would take."""
        self.requests_out = self.holder.requests_out
        self.wait_us = self.holder.expected_wait_us

    def note_asked(self) -> None:
        """One more request goes there."""
        self.requests_out += 1
        self.wait_us += SERVICE_US


class Choices:
    """The neighbours as they are now, for pieces from `first` on.

    Invariant: what is looked up of each is looked up once, and only if some piece needs it.
    """

    __slots__ = ("_choices", "_first", "_held", "_holders", "_is_source")

    def __init__(
        self, holders: Sequence[Peer], first: int, is_source: Callable[[Peer], bool]
    ) -> None:
        self._holders = holders
        self._first = first
        self._is_source = is_source
        self._held: int | None = None
        "What any of them has; None: not looked up yet."
        self._choices: list[Choice] = []
        "Those who have any of the pieces."

    def is_held(self, index: int) -> bool:
        """Whether anybody has the piece."""
        held = self._look() if self._held is None else self._held
        return bool(held >> (index - self._first) & 1)

    def are_all_source(self) -> bool:
        """Whether there is nobody but the publisher."""
        return all(self._is_source(holder) for holder in self._holders)

    def quickest(self, index: int, tried: Sequence[Peer], requests_max: int) -> Choice | None:
        """Whoever was not tried, then not the publisher, then the shortest wait."""
        if self._held is None:
            self._look()
        offset = index - self._first
        best: Choice | None = None
        best_rank = (0, False, 0)
        for choice in self._choices:
            if not choice.held >> offset & 1:
                continue
            if choice.requests_out < 0:
                choice.look_up()
            if choice.requests_out >= requests_max:
                continue
            times = tried.count(choice.holder) if tried else 0
            rank = times, choice.is_source, choice.wait_us
            if best is None or rank < best_rank:
                best, best_rank = choice, rank
        return best

    def _look(self) -> int:
        first, held_by_any = self._first, 0
        for holder in self._holders:
            is_source = self._is_source(holder)
            # The publisher has what it says that there is; the others tell.
            held = -1 if is_source else holder.held.bits_from(first)
            if held:
                held_by_any |= held
                self._choices.append(Choice(holder, held, is_source=is_source))
        self._held = held_by_any
        return held_by_any
