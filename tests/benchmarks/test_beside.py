"""Viewers as processes behind lines of their own, and the same in the simulator (root, TUN)."""

from __future__ import annotations

import pytest

from benchmarks.beside import measure, scenario_of
from livestream.config import Transport
from livestream.sim.internets import Links


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.timeout(400)
def test_processes_lag_as_the_simulation_says() -> None:
    processes, simulation, _ = measure(
        scenario_of(10, 20.0, 300_000), 1, Links.MESSAGES, Transport.QUIC
    )
    assert processes.lag_p50_s > 0
    assert simulation.lag_p50_s == pytest.approx(processes.lag_p50_s, rel=0.25)
    assert simulation.delivery_p50_s == pytest.approx(processes.delivery_p50_s, rel=0.25)
    assert simulation.publisher_x == pytest.approx(processes.publisher_x, rel=0.25)
