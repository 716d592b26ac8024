"""Calls under way: by the best transport, and by the next beside it when that is slow (`Calls`).

The idea is RFC 8305's (Happy Eyeballs): a transport that a firewall drops without a sign costs a
short head start, and not the time until it is given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from livestream.config import Transport
from livestream.machine import SECOND, Address
from livestream.swarm.swarm import Swarm
from livestream.transport.connection import Connection
from livestream.transport.dialler import Dialler

__all__ = ["HEAD_START_US", "Calls", "Greeting"]

HEAD_START_US: Final = SECOND  # Of a transport before the next: more than most round trips.


@dataclass(frozen=True, slots=True)
class Greeting:
    """Somebody whom we called is there: say hello."""

    swarm: Swarm
    connection: Connection
    public_key: bytes


@dataclass(eq=False, slots=True)
class _Call:
    """One address that is called for one swarm."""

    swarm: Swarm
    address: Address
    untried: list[Transport] = field(default_factory=list)
    ringing: dict[Connection, None] = field(default_factory=dict)
    held: dict[Connection, bytes] = field(default_factory=dict)
    "Connected while another greets, and the keys that they proved."
    greeting: dict[Connection, None] = field(default_factory=dict)
    next_at: int = 0
    "When patience with what is under way ends."

    @property
    def has_more(self) -> bool:
        """Whether there is something else to try."""
        return bool(self.untried or self.held)

    @property
    def connections(self) -> list[Connection]:
        """Return all that is under way."""
        return [*self.ringing, *self.held, *self.greeting]


class Calls:
    """Whoever answers our hello first is the one; its siblings are hung up.

    Only one connection of a call is greeted at a time, unless it keeps us waiting: the other side
    would take a second hello for a second session, and end either.

    Invariant: `_of` has every connection of every call; a call without any is over.
    """

    def __init__(self, diallers: Mapping[Transport, Dialler]) -> None:
        self._diallers = diallers
        self._of: dict[Connection, _Call] = {}
        self._waiting: dict[_Call, None] = {}
        "Calls that have more to try."
        self._greetings: deque[Greeting] = deque()

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._of

    # Commands

    def call(
        self, swarm: Swarm, address: Address, transports: Sequence[Transport], now: int
    ) -> None:
        """Call an address, by the first of these transports that does it."""
        able = [transport for transport in transports if transport in self._diallers]
        call = _Call(swarm, address, untried=able)
        self._advance(call, now)

    def add(self, swarm: Swarm, connection: Connection) -> None:
        """Take a connection that was opened already, and has no alternative."""
        call = _Call(swarm, connection.address)
        call.ringing[connection] = None
        self._of[connection] = call

    def drop(self, swarm: Swarm | None, reason: str, now: int) -> None:
        """Hang up on all that is called for a swarm, or for any."""
        for connection, call in list(self._of.items()):
            if swarm is None or call.swarm is swarm:
                self._forget(connection)
                connection.close(reason, now)

    # What becomes of connections

    def on_connected(self, connection: Connection, public_key: bytes, now: int) -> None:
        """A connection is up: greet it, unless a sibling is greeted already."""
        call = self._of[connection]
        del call.ringing[connection]
        call.held[connection] = public_key
        if not call.greeting:
            self._greet(call, now)
        self._note_waiting(call)

    def on_greeted(self, connection: Connection, now: int) -> None:
        """The other side said hello: the call is over."""
        call = self._of[connection]
        self._forget(connection)
        for sibling in call.connections:
            self._forget(sibling)
            sibling.close("another transport was quicker", now)
        call.swarm.on_answered(call.address, connection.transport, now)

    def on_disconnected(self, connection: Connection, now: int, *, is_local: bool) -> None:
        """A connection is over: try what is left, unless we ended it after the hello."""
        call = self._of[connection]
        was_refused = is_local and connection in call.greeting
        self._forget(connection)
        if was_refused:
            self.give_up(call.connections, now)
            call.untried.clear()
            call.held.clear()
        self._advance(call, now)

    def give_up(self, connections: Sequence[Connection], now: int) -> None:
        """Hang up on these."""
        for connection in connections:
            self._forget(connection)
            connection.close("not wanted", now)

    # Driving

    def next_greeting(self) -> Greeting | None:
        """Return whom to say hello to, or None."""
        while self._greetings:
            greeting = self._greetings.popleft()
            if greeting.connection in self._of:
                return greeting
        return None

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        if not self._waiting:
            return None  # Asked after each event, and nearly always in vain.
        return min(call.next_at for call in self._waiting)

    def handle_timer(self, now: int) -> None:
        """Try the next transport beside those that are slow."""
        for call in list(self._waiting):
            if call.next_at <= now:
                self._try_next(call, now)

    # Helpers

    def _advance(self, call: _Call, now: int) -> None:
        """One way has failed, or none was tried yet."""
        if not call.greeting:
            self._try_next(call, now)
        if not call.connections:
            self._waiting.pop(call, None)
            call.swarm.on_lost(call.address, now)

    def _try_next(self, call: _Call, now: int) -> None:
        if call.held:
            self._greet(call, now)
        elif call.untried:
            transport = call.untried.pop(0)
            connection = self._diallers[transport].connect(call.address, now)
            call.ringing[connection] = None
            call.next_at = now + HEAD_START_US
            self._of[connection] = call
        self._note_waiting(call)

    def _greet(self, call: _Call, now: int) -> None:
        connection, public_key = next(iter(call.held.items()))
        del call.held[connection]
        call.greeting[connection] = None
        call.next_at = now + HEAD_START_US
        self._greetings.append(Greeting(call.swarm, connection, public_key))

    def _note_waiting(self, call: _Call) -> None:
        if call.has_more:
            self._waiting[call] = None
        else:
            self._waiting.pop(call, None)

    def _forget(self, connection: Connection) -> None:
        call = self._of.pop(connection)
        call.ringing.pop(connection, None)
        call.held.pop(connection, None)
        call.greeting.pop(connection, None)
        if not call.connections:
            self._waiting.pop(call, None)
