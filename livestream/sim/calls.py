"""How connections of the model come to be: a call, its answer, or nobody there (`dial`)."""

from __future__ import annotations

from typing import Final

from livestream.machine import MILLISECOND, SECOND
from livestream.sim.connection import ModelConnection, repeat_us
from livestream.sim.world import Occurrence
from livestream.transport.connection import ConnectionState

__all__ = ["dial"]

HANDSHAKE_TIMEOUT_US: Final = 5 * SECOND  # As `TransportConfig` has it.
# Two padded datagrams with a certificate there, and one back: 3,000 bytes and 1,800.
HELLO_BYTES: Final = 2_400
FIRST_BYTES: Final = 1_228  # The first of the caller's, which it repeats until it is answered...
REPEAT_US: Final = 300 * MILLISECOND  # ...after so long, then twice that, and so on.


def dial(caller: ModelConnection, now: int) -> None:
    """Call the other side; whoever is not there does not answer."""
    host = caller.host
    host.world.plan(now + HANDSHAKE_TIMEOUT_US, _GiveUp(caller))
    called = host.internet.hosts.get(caller.address)
    if called is None:
        return
    caller.delay_us = host.internet.paths.base_delay_us(host.number, called.number)
    end = ModelConnection(called, host.address, is_outgoing=False)
    end.delay_us = caller.delay_us
    leaves = host.take(HELLO_BYTES, now)
    host.world.plan(
        leaves + caller.delay_us + repeat_us(caller, 1, FIRST_BYTES), _Ring(caller, end)
    )


class _Ring(Occurrence):
    """A call reaches whom it was for."""

    __slots__ = ("_caller", "_end", "_tries")

    def __init__(self, caller: ModelConnection, end: ModelConnection) -> None:
        self._caller = caller
        self._end = end
        self._tries = 0

    def happen(self, now: int) -> None:
        """Answer."""
        caller, end = self._caller, self._end
        called = end.host
        joined = called.internet.paths.are_joined(caller.host.number, called.number)
        if not (called.is_up and joined):
            return
        if not called.answers(HELLO_BYTES, now):
            self._repeat(now)
            return
        end.other, caller.other = caller, end
        called.connections[end] = None
        called.world.plan(now + HANDSHAKE_TIMEOUT_US, _GiveUp(end))  # The caller may vanish now.
        leaves = called.take(HELLO_BYTES, now)
        called.world.plan(leaves + end.delay_us + repeat_us(end, 1, FIRST_BYTES), _Answer(caller))

    def _repeat(self, now: int) -> None:
        """Nobody answered: the caller says the first of it again, until it gives up."""
        caller, wait_us = self._caller, REPEAT_US << self._tries
        if caller.state is not ConnectionState.CONNECTING or not caller.host.is_up:
            return
        self._tries += 1
        caller.host.take(FIRST_BYTES, now)
        caller.host.world.plan(now + wait_us, self)


class _Answer(Occurrence):
    """The answer to a call reaches the caller."""

    __slots__ = ("_caller",)

    def __init__(self, caller: ModelConnection) -> None:
        self._caller = caller

    def happen(self, now: int) -> None:
        """The caller's end is up; the other one is, when it hears from it."""
        caller = self._caller
        if caller.host.is_up and caller.state is ConnectionState.CONNECTING:
            caller.connected()
            caller.host.on_arrival(HELLO_BYTES, now)


class _GiveUp(Occurrence):
    """The other side has been silent for so long."""

    __slots__ = ("_end",)

    def __init__(self, end: ModelConnection) -> None:
        self._end = end

    def happen(self, now: int) -> None:
        """End what never came to be."""
        end = self._end
        if end.host.is_up and end.state is ConnectionState.CONNECTING:
            end.finish("no answer", is_local=False)
            end.host.settle(now)
