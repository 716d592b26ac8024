"""Twenty viewers as processes, and the same in the simulator."""

from __future__ import annotations

import pytest

from benchmarks.beside import measure
from livestream.sim.internets import Links


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.timeout(400)
def test_processes_lag_as_the_simulation_says() -> None:
    processes, simulation = measure(20, 20.0, Links.MESSAGES)
    assert processes.lag_p50_s > 0
    assert simulation.lag_p50_s == pytest.approx(processes.lag_p50_s, rel=0.25)
