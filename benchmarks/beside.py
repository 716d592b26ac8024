"""Processes beside the simulation of the same; `python -m benchmarks.beside [--viewers 20]`.

One channel, twice: as processes, each in a network namespace behind a line of its own
(`benchmarks.star`: Linux, root), and in virtual time. Both have the same lines, delays and losses,
frames of the same sizes (`benchmarks.clip`), viewers that come at the same times, and the same
reckoning (`benchmarks.recording`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.audience import Audience, Costs
from benchmarks.clip import write_clip
from benchmarks.recording import Figures, Recording, Row, reckon
from livestream.cli.options import parse_rate
from livestream.config import Transport
from livestream.machine import SECOND
from livestream.sim.designs import DESIGNS
from livestream.sim.internets import Links
from livestream.sim.scenario import Scenario
from livestream.sim.simulation import Simulation
from livestream.sim.totals import totals_of
from livestream.sim.viewer import Viewer

__all__ = ["measure", "scenario_of"]

GOP_S: Final = 1.0
FRAMES_PER_SECOND: Final = 30
JOIN_EACH_S: Final = 1.0  # A process takes most of a core for so long to begin.
SETTLE_S: Final = 20.0  # After the last has come: targets come down by 0.05 s a second.


def scenario_of(
    viewers: int, seconds: float, rate_bps: int, *, churn: float = 0.0, loss: float = 0.01
) -> Scenario:
    """Return what both are to do; figures are of the last `seconds`.

    `churn` is the share of the viewers that go, and others come, in a minute.
    """
    warm_up_s = JOIN_EACH_S * viewers + SETTLE_S
    return Scenario(
        "beside",
        "processes on one machine, each behind a line of its own",
        viewers=viewers,
        seconds=warm_up_s + seconds,
        rate_bps=rate_bps,
        frames_per_second=FRAMES_PER_SECOND,
        gop_s=GOP_S,
        uplinks=((0.3, 1.2), (0.4, 2.0), (0.3, 4.0)),
        publisher_uplink_x=4.0,
        delay_ms_min=20.0,
        delay_ms_max=80.0,
        jitter_ms=2.0,
        loss=loss,
        join_s=JOIN_EACH_S * viewers,
        churn_per_minute=churn,
        warm_up_s=warm_up_s,
    )


def real(scenario: Scenario, seed: int, transport: Transport) -> tuple[Recording, Costs]:
    """Run processes."""
    with tempfile.TemporaryDirectory(prefix="livestream-beside-") as name:
        clip = Path(name) / "clip.mp4"
        write_clip(
            clip,
            rate_bps=scenario.rate_bps,
            gop_s=scenario.gop_s,
            frames_per_second=scenario.frames_per_second,
        )
        source = [str(clip), "--copy", "--loop"]
        return Audience(scenario, seed, source, Path(name), transport).run()


def simulated(scenario: Scenario, seed: int, links: Links) -> Recording:
    """Run the simulation, and look at each viewer every second, as `--stats` does."""
    simulation = Simulation(scenario, DESIGNS["trees"], seed, links)
    recording = Recording(begins_s=scenario.warm_up_s)
    seen: dict[int, int] = {}
    next_at = simulation.began_at + SECOND
    before = totals_of(simulation)

    def look(now: int) -> None:
        nonlocal next_at, before
        if now < simulation.began_at + scenario.warm_up_s * SECOND:
            before = totals_of(simulation)
        if now < next_at:
            return
        next_at += SECOND
        at_s = (now - simulation.began_at) / SECOND
        for number, viewer in simulation.present.items():
            row = _row(viewer, at_s, seen.get(number, 0))
            recording.rows.setdefault(number, []).append(row)
            seen[number] = len(viewer.delivery_lags_us)

    simulation.run(look)
    after = totals_of(simulation)
    seconds = scenario.seconds - scenario.warm_up_s
    publisher = after.publisher - before.publisher
    recording.publisher_bps = 8 * publisher / seconds
    recording.viewer_bps = 8 * (after.wire - before.wire - publisher) / seconds / scenario.viewers
    return recording


def _row(viewer: Viewer, at_s: float, seen: int) -> Row:
    # The figures began anew if there are fewer than were seen.
    arrived = viewer.delivery_lags_us
    arrived = arrived[seen if seen < len(arrived) else 0 :]
    started_at, stats = viewer.started_at, viewer.channel.swarm.stats
    return Row(
        at_s=at_s,
        lag_s=viewer.lags_us[-1] / SECOND if viewer.lags_us else 0.0,
        delivery_lag_s=median(arrived) / SECOND if arrived else 0.0,
        start_s=0.0 if started_at is None else (started_at - viewer.joined_at) / SECOND,
        pieces_received=stats.pieces_received,
        pieces_duplicate=stats.pieces_duplicate,
        pieces_late=viewer.playout.pieces_late if viewer.playout is not None else 0,
        payload_bytes=stats.payload_bytes,
    )


def measure(
    scenario: Scenario, seed: int, links: Links, transport: Transport
) -> tuple[Figures, Figures, Costs]:
    """Run both; returns the processes' figures, the simulation's, and what processes cost."""
    recording, costs = real(scenario, seed, transport)
    return reckon(recording), reckon(simulated(scenario, seed, links)), costs


def main() -> None:
    """Run both and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="measured, once all are there")
    parser.add_argument("--rate", default="300k", help="of the channel")
    parser.add_argument("--churn", type=float, default=0.0, help="per cent of the viewers a minute")
    parser.add_argument("--loss", type=float, default=1.0, help="per cent of the datagrams")
    parser.add_argument("--links", choices=[each.value for each in Links], default="messages")
    parser.add_argument("--transport", choices=["quic", "utp", "tcp"], default="quic")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    words = parser.parse_args()
    scenario = scenario_of(
        words.viewers,
        words.seconds,
        parse_rate(words.rate),
        churn=words.churn / 100,
        loss=words.loss / 100,
    )
    processes, simulation, costs = measure(
        scenario, words.seed, Links(words.links), Transport(words.transport)
    )
    sys.stdout.write(f"{'':16}{'processes':>12}{'simulated':>12}\n")
    for name in Figures.__slots__:
        left, right = getattr(processes, name), getattr(simulation, name)
        sys.stdout.write(f"{name:16}{left:12.6g}{right:12.6g}\n")
    for name, value in asdict(costs).items():
        sys.stdout.write(f"{name:16}{value:12.3g}\n")
    if words.json is not None:
        rows = {
            "scenario": asdict(scenario),
            "transport": words.transport,
            "processes": asdict(processes),
            "simulated": asdict(simulation),
            "costs": asdict(costs),
        }
        words.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
