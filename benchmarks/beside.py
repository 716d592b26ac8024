"""Real processes beside simulated ones; `python -m benchmarks.beside [--viewers 20]`.

The same small channel twice: once as a publisher and viewers in processes of their own on loopback,
each with its upload capped by `--max-up`, once in the simulator, on lines of the same rates. The
lag is release to the decoder minus capture: of each viewer the median over its stay.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import publisher, stats_of, viewer, wait_for
from livestream.sim.designs import DESIGNS
from livestream.sim.internets import Links
from livestream.sim.result import share_at
from livestream.sim.run import simulate
from livestream.sim.scenario import Scenario

BITRATE: Final = "300k"
SIZE: Final = "320x180"
GOP_S: Final = 1.0
FRAMES_PER_SECOND: Final = 30
PUBLISHER_BPS: Final = 1_600_000
VIEWER_BPS: Final = 1_200_000
WARM_UP_S: Final = 10.0
START_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What is compared."""

    lag_p50_s: float
    lag_p99_s: float
    late_share: float
    publisher_bps: float
    rate_bps: float
    "Of the payload."


def real(viewers: int, seconds: float, folder: Path) -> Figures:
    """Run processes, and reckon up their `--stats`."""
    up = folder / "publisher.json"
    files = [folder / f"viewer-{number}.json" for number in range(viewers)]
    source = ["test", "--encode", "--bitrate", BITRATE, "--size", SIZE, "--gop", f"{GOP_S:g}s"]
    with ExitStack() as stack:
        caps = ["--max-up", str(PUBLISHER_BPS), "--stats", str(up)]
        _, link = stack.enter_context(publisher(folder, *source, *caps))
        for file in files:
            words = ["-o", "/dev/null", "--max-up", str(VIEWER_BPS), "--stats", str(file)]
            stack.enter_context(viewer(folder, link, *words))
        for file in files:
            wait_for(file, 2, START_TIMEOUT_S)
        time.sleep(WARM_UP_S)
        first = {file: len(stats_of(file)) for file in (up, *files)}
        time.sleep(seconds)
        rows = {file: stats_of(file)[first[file] :] for file in (up, *files)}
    return _reckon(rows.pop(up), list(rows.values()))


def _reckon(sent: Sequence[dict[str, float]], watched: Sequence[list[dict[str, float]]]) -> Figures:
    lags = [statistics.median(row["lag_s"] for row in rows) for rows in watched]
    late = sum(rows[-1]["pieces_late"] - rows[0]["pieces_late"] for rows in watched)
    came = sum(rows[-1]["pieces_received"] - rows[0]["pieces_received"] for rows in watched)
    rates = [
        8
        * (rows[-1]["payload_bytes"] - rows[0]["payload_bytes"])
        / (rows[-1]["time"] - rows[0]["time"])
        for rows in watched
    ]
    return Figures(
        lag_p50_s=share_at(lags, 0.5) or 0.0,
        lag_p99_s=share_at(lags, 0.99) or 0.0,
        late_share=late / max(1.0, late + came),
        publisher_bps=statistics.mean(row["up_bps"] for row in sent),
        rate_bps=statistics.median(rates),
    )


def simulated(viewers: int, seconds: float, rate_bps: int, links: Links) -> Figures:
    """Run the same channel, at the rate that was measured, in virtual time."""
    scenario = Scenario(
        "loopback",
        "one machine, uploads capped",
        viewers=viewers,
        seconds=WARM_UP_S + seconds,
        rate_bps=rate_bps,
        frames_per_second=FRAMES_PER_SECOND,
        gop_s=GOP_S,
        uplinks=((1.0, VIEWER_BPS / rate_bps),),
        downlink_x=None,
        publisher_uplink_x=PUBLISHER_BPS / rate_bps,
        delay_ms_min=0.1,
        delay_ms_max=0.2,
        jitter_ms=0.0,
        loss=0.0,
        join_s=WARM_UP_S / 2,
        churn_per_minute=0.0,
        warm_up_s=WARM_UP_S,
    )
    result = simulate(scenario, DESIGNS["trees"], 1, links=links)
    return Figures(
        lag_p50_s=result.lag_p50_s or 0.0,
        lag_p99_s=result.lag_p99_s or 0.0,
        late_share=1.0 - result.continuity,
        publisher_bps=result.publisher_upload_x * rate_bps,
        rate_bps=rate_bps,
    )


def measure(viewers: int, seconds: float, links: Links) -> tuple[Figures, Figures]:
    """Run both; returns the processes' figures and the simulation's."""
    with tempfile.TemporaryDirectory(prefix="livestream-beside-") as folder:
        processes = real(viewers, seconds, Path(folder))
    return processes, simulated(viewers, seconds, round(processes.rate_bps), links)


def main() -> None:
    """Run both and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="measured, after 10 s")
    parser.add_argument("--links", choices=[each.value for each in Links], default="messages")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    words = parser.parse_args()
    processes, simulation = measure(words.viewers, words.seconds, Links(words.links))
    rows = {
        name: (getattr(processes, name), getattr(simulation, name)) for name in Figures.__slots__
    }
    sys.stdout.write(f"{'':16}{'processes':>12}{'simulated':>12}\n")
    for name, (left, right) in rows.items():
        sys.stdout.write(f"{name:16}{left:12.6g}{right:12.6g}\n")
    if words.json is not None:
        words.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
