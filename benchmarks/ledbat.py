"""Our LEDBAT beside libtorrent's µTP and the kernel's CUBIC; `python -m benchmarks.ledbat`.

All on the same emulated bottleneck (`benchmarks.lab`: Linux, root), one after the other.
Rates are of IP bytes that left the bottleneck. For each contender:

alone    its share of the link and the mean queue;
CUBIC    one that joins it for 20 s, against the first 20 s of one that is alone;
back     how long after that flow's end the next second with 90 % of the link begins;
Jain     of two flows, the second 30 s later, from 60 s after its start;
loss     its share of the link alone, with 1 % of random loss.

A run takes 4 minutes for each contender, 2 with --quick. --matrix measures only alone and CUBIC, on
2, 20 and 200 Mbit/s and 5, 25 and 100 ms one way: 6 minutes for each contender.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.flow import TRANSPORTS
from benchmarks.lab import Lab, Sample, Side, jain, mean_queue_us, rate_bps
from benchmarks.plot import plot

PORT: Final = 5001
SECOND_PORT: Final = 5002
TCP_PORT: Final = 5003
LOSS: Final = 0.01
SECOND_US: Final = 1_000_000
WINDOW_US: Final = SECOND_US  # Coming back is judged by windows of so long.
SHARE_BACK: Final = 0.9
GOALS: Final = {
    "alone_share": ">= 0.97",
    "alone_queue_ms": "<= target + 10",
    "cubic_share": ">= 0.97",
    "back_s": "<= 5",
    "jain": ">= 0.97",
    "loss_share": ">= 0.90",
}
RATES_MBPS: Final = (2, 20, 200)
DELAYS_MS: Final = (5, 25, 100)


@dataclass(frozen=True, slots=True)
class Contender:
    """Whose congestion control is measured."""

    transport: str
    target_ms: float | None
    "None: whatever it has."

    @property
    def title(self) -> str:
        """Return its name in the table."""
        return self.transport if self.target_ms is None else f"{self.transport} {self.target_ms:g}"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything takes, in seconds."""

    warm: float = 10.0
    alone: float = 30.0
    cubic: float = 20.0
    back: float = 15.0
    apart: float = 30.0
    settle: float = 60.0
    share: float = 20.0


QUICK: Final = Plan(warm=6, alone=12, cubic=20, back=8, apart=12, settle=30, share=12)
SHORT: Final = Plan(warm=6, alone=8, cubic=8, back=0)


class Link:
    """The settings that all measurements share."""

    def __init__(self, rate_bps: int, delay_us: int, queue_us: int) -> None:
        self.rate_bps = rate_bps
        self.delay_us = delay_us
        self.queue_us = queue_us

    def lab(self, loss: float = 0.0) -> Lab:
        """Return a fresh one."""
        return Lab(
            rate_bps=self.rate_bps, delay_us=self.delay_us, queue_us=self.queue_us, loss=loss
        )


@contextmanager
def flow(lab: Lab, who: Contender, port: int) -> Iterator[None]:
    """Run one flow from left to right. Raises RuntimeError when it does not start."""
    command = [sys.executable, "-m", "benchmarks.flow"]
    options = [] if who.target_ms is None else ["--target-ms", str(who.target_ms)]
    taker = lab.spawn(Side.RIGHT, [*command, "receive", who.transport, str(port)])
    _await_ready(taker, who)
    address = [Side.RIGHT.value, str(port)]
    giver = lab.spawn(Side.LEFT, [*command, "send", who.transport, *address, *options])
    _await_ready(giver, who)
    try:
        yield
    finally:
        for process in (giver, taker):
            if process.stdin is not None:
                process.stdin.close()


def cubic_alone(link: Link, plan: Plan) -> float:
    """Return the rate of CUBIC in its first seconds, alone."""
    with link.lab() as lab, flow(lab, Contender("tcp", None), TCP_PORT):
        began = lab.elapsed_us()
        time.sleep(plan.cubic)
        return rate_bps(lab.samples(), began, lab.elapsed_us(), TCP_PORT)


def beside_cubic(
    link: Link, plan: Plan, who: Contender, cubic_bps: float
) -> tuple[dict[str, float], list[Sample]]:
    """Measure one flow alone, with CUBIC and after it."""
    with link.lab() as lab, flow(lab, who, PORT):
        time.sleep(plan.warm)
        alone_us = lab.elapsed_us()
        time.sleep(plan.alone)
        with flow(lab, Contender("tcp", None), TCP_PORT):
            joined_us = lab.elapsed_us()
            time.sleep(plan.cubic)
            left_us = lab.elapsed_us()
        time.sleep(plan.back)
        rows = lab.samples()
    figures = {
        "alone_share": rate_bps(rows, alone_us, joined_us, PORT) / link.rate_bps,
        "alone_queue_ms": mean_queue_us(rows, alone_us, joined_us) / 1000,
        "cubic_share": rate_bps(rows, joined_us, left_us, TCP_PORT) / cubic_bps,
        "late_ms": max(row.late_us for row in rows) / 1000,
    }
    if plan.back:
        figures["back_s"] = _back_s(rows, left_us, SHARE_BACK * link.rate_bps)
    return figures, rows


def two_flows(link: Link, plan: Plan, who: Contender) -> dict[str, float]:
    """Measure how two flows share the link once they have settled."""
    with link.lab() as lab, flow(lab, who, PORT):
        time.sleep(plan.apart)
        with flow(lab, who, SECOND_PORT):
            time.sleep(plan.settle)
            began = lab.elapsed_us()
            time.sleep(plan.share)
            rows = lab.samples()
            ended = lab.elapsed_us()
    rates = [rate_bps(rows, began, ended, port) for port in (PORT, SECOND_PORT)]
    return {
        "jain": jain(rates),
        "two_share": sum(rates) / link.rate_bps,
        "two_queue_ms": mean_queue_us(rows, began, ended) / 1000,
    }


def with_loss(link: Link, plan: Plan, who: Contender) -> dict[str, float]:
    """Measure one flow alone on a link that loses packets at random."""
    with link.lab(LOSS) as lab, flow(lab, who, PORT):
        time.sleep(plan.warm)
        began = lab.elapsed_us()
        time.sleep(plan.share)
        return {"loss_share": rate_bps(lab.samples(), began, lab.elapsed_us()) / link.rate_bps}


def compare(
    link: Link, plan: Plan, contenders: Sequence[Contender]
) -> tuple[dict[str, dict[str, float]], dict[str, list[Sample]]]:
    """Measure everything, contender by contender within each measurement."""
    cubic_bps = cubic_alone(link, plan)
    print(f"CUBIC alone, its first {plan.cubic:g} s: {cubic_bps / 1e6:.2f} Mbit/s", flush=True)
    results: dict[str, dict[str, float]] = {who.title: {} for who in contenders}
    traces: dict[str, list[Sample]] = {}
    for who in contenders:
        figures, traces[who.title] = beside_cubic(link, plan, who, cubic_bps)
        _add(results, who, figures)
    for measure in (with_loss, two_flows):
        for who in contenders:
            _add(results, who, measure(link, plan, who))
    return results, traces


def matrix(queue_us: int, contenders: Sequence[Contender]) -> dict[str, dict[str, float]]:
    """Measure alone and beside CUBIC over rates and delays."""
    results: dict[str, dict[str, float]] = {}
    for rate in RATES_MBPS:
        for delay in DELAYS_MS:
            link = Link(rate * 1_000_000, delay * 1000, queue_us)
            cubic_bps = cubic_alone(link, SHORT)
            for who in contenders:
                title = f"{who.title}, {rate} Mbit/s, {delay} ms"
                results[title], _ = beside_cubic(link, SHORT, who, cubic_bps)
                _say(title, results[title])
    return results


def table(results: dict[str, dict[str, float]]) -> str:
    """Return the figures beside the goals."""
    width = max(len(title) for title in results) + 2
    lines = [f"{'':<18}{'goal':<16}" + "".join(f"{title:>{width}}" for title in results)]
    for key, goal in GOALS.items():
        values = "".join(f"{row.get(key, float('nan')):>{width}.3f}" for row in results.values())
        lines.append(f"{key:<18}{goal:<16}{values}")
    return "\n".join(lines)


def _back_s(rows: Sequence[Sample], left_us: int, enough_bps: float) -> float:
    for row in rows:
        if row.at_us >= left_us and row.at_us + WINDOW_US <= rows[-1].at_us:
            window_end = row.at_us + WINDOW_US + 50_000  # Samples are not sharply 100 ms apart.
            if rate_bps(rows, row.at_us, window_end, PORT) >= enough_bps:
                return (row.at_us - left_us) / SECOND_US
    return float("inf")


def _await_ready(process: subprocess.Popen[bytes], who: Contender) -> None:
    if process.stdout is None or not process.stdout.readline():
        raise RuntimeError(f"{who.title} did not start")


def _add(results: dict[str, dict[str, float]], who: Contender, figures: dict[str, float]) -> None:
    results[who.title] |= figures
    _say(who.title, figures)


def _say(title: str, figures: dict[str, float]) -> None:
    print(
        f"{title}: " + "  ".join(f"{key} {value:.3f}" for key, value in figures.items()), flush=True
    )


def main() -> None:
    """Measure, print the table, and write what is wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ours = [name for name in TRANSPORTS if name not in ("tcp", "libtorrent")]
    parser.add_argument("--transport", choices=ours, default="quic", help="which of ours")
    parser.add_argument("--targets", type=float, nargs="*", default=[60, 25], help="of ours, ms")
    parser.add_argument("--rate", type=float, default=20, help="Mbit/s")
    parser.add_argument("--delay", type=float, default=25, help="one way, ms")
    parser.add_argument("--queue", type=float, default=300, help="ms")
    parser.add_argument("--quick", action="store_true", help="half as long")
    parser.add_argument("--matrix", action="store_true", help="over rates and delays, short")
    parser.add_argument("--ours-only", action="store_true", help="leave libtorrent out")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--plot", type=Path, help="draw throughput and queue over time (PNG)")
    words = parser.parse_args()
    contenders = [Contender(words.transport, target) for target in words.targets]
    if not words.ours_only:
        contenders.append(Contender("libtorrent", None))
    queue_us = int(words.queue * 1000)
    traces: dict[str, list[Sample]] = {}
    if words.matrix:
        results = matrix(queue_us, contenders)
    else:
        link = Link(int(words.rate * 1e6), int(words.delay * 1000), queue_us)
        plan = QUICK if words.quick else Plan()
        results, traces = compare(link, plan, contenders)
        print(table(results))
    if words.json is not None:
        rows = {title: [asdict(row) for row in trace] for title, trace in traces.items()}
        words.json.write_text(json.dumps({"results": results, "traces": rows}, indent=1))
    if words.plot is not None and traces:
        plot(traces, words.plot, {"flow": PORT, "CUBIC": TCP_PORT})


if __name__ == "__main__":
    main()
