"""What befalls a swarm, carried out: see `Kind`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livestream.machine import SECOND
from livestream.sim.scenario import Happening, Kind
from livestream.sim.world import Occurrence

if TYPE_CHECKING:
    from livestream.sim.simulation import Simulation
    from livestream.sim.viewer import Viewer

__all__ = ["Joining", "Leaving", "plan_happenings"]


def plan_happenings(simulation: Simulation) -> int:
    """Plan all that befalls the swarm; returns how many viewers come only later."""
    later = 0
    for happening in simulation.scenario.happenings:
        at = simulation.began_at + int(happening.at_s * SECOND)
        simulation.world.plan(at, _Befalling(simulation, happening))
        if happening.kind is Kind.FLASH_CROWD:
            later += int(happening.share * simulation.scenario.viewers)
    return min(later, simulation.scenario.viewers)


class Joining(Occurrence):
    """Somebody comes."""

    __slots__ = ("_simulation",)

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def happen(self, now: int) -> None:
        """Let them in."""
        self._simulation.join()


class Leaving(Occurrence):
    """Somebody goes, if they have not gone yet."""

    __slots__ = ("_says_goodbye", "_simulation", "_viewer")

    def __init__(self, simulation: Simulation, viewer: Viewer, *, says_goodbye: bool) -> None:
        self._simulation = simulation
        self._viewer = viewer
        self._says_goodbye = says_goodbye

    def happen(self, now: int) -> None:
        """Let them go."""
        if self._viewer.left_at is None:
            self._simulation.leave(self._viewer, says_goodbye=self._says_goodbye)


class _Befalling(Occurrence):
    """One happening begins."""

    __slots__ = ("_happening", "_simulation")

    def __init__(self, simulation: Simulation, happening: Happening) -> None:
        self._simulation = simulation
        self._happening = happening

    def happen(self, now: int) -> None:
        simulation, happening = self._simulation, self._happening
        kind = happening.kind
        if kind is Kind.FLASH_CROWD:
            self._flash_crowd(now)
        elif kind is Kind.MASS_LEAVE:
            self._mass_leave(now)
        elif kind is Kind.HEADS_DIE:
            for viewer in simulation.heads():
                simulation.leave(viewer, says_goodbye=False)
        elif kind is Kind.RESTART:
            simulation.stop_publisher()
            simulation.world.plan(self._ends_at(now), _Restarting(simulation))
        elif kind is Kind.OTHER_TRAFFIC:
            uplink = simulation.publisher.uplink
            whole = uplink.rate_bps
            uplink.rate_bps = max(1, int(whole * (1 - happening.share)))
            simulation.world.plan(self._ends_at(now), _Freeing(simulation, whole))
        else:
            cut = simulation.some_of(happening.share)
            simulation.internet.paths.split({viewer.host.number: 1 for viewer in cut})
            simulation.world.plan(self._ends_at(now), _Healing(simulation))

    def _ends_at(self, now: int) -> int:
        return now + int(self._happening.for_s * SECOND)

    def _flash_crowd(self, now: int) -> None:
        simulation, happening = self._simulation, self._happening
        count = int(happening.share * simulation.scenario.viewers)
        for number in range(count):
            at = now + int(happening.for_s * SECOND * number / count)
            simulation.world.plan(at, Joining(simulation))

    def _mass_leave(self, now: int) -> None:
        simulation = self._simulation
        for viewer in simulation.some_of(self._happening.share):
            at = now + int(self._happening.for_s * SECOND * simulation.rng.random())
            says_goodbye = simulation.rng.random() >= simulation.scenario.crash_share
            simulation.world.plan(at, Leaving(simulation, viewer, says_goodbye=says_goodbye))


class _Restarting(Occurrence):
    __slots__ = ("_simulation",)

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def happen(self, now: int) -> None:
        self._simulation.start_publisher()


class _Freeing(Occurrence):
    __slots__ = ("_rate_bps", "_simulation")

    def __init__(self, simulation: Simulation, rate_bps: int) -> None:
        self._simulation = simulation
        self._rate_bps = rate_bps

    def happen(self, now: int) -> None:
        self._simulation.publisher.uplink.rate_bps = self._rate_bps


class _Healing(Occurrence):
    __slots__ = ("_simulation",)

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def happen(self, now: int) -> None:
        self._simulation.internet.paths.heal()
