"""What becomes of viewers when one that feeds them fails; `python -m benchmarks.failures`.

Twelve viewers in a star (`benchmarks.star`: Linux, root), 20 to 80 ms apart, 1 % of loss. 20 s
apart, one that feeds others is stopped for 5 s, another one is killed, the uplink of a third falls
to a tenth: each time whoever has most children then, of those to whom nothing has happened yet. For
its children (who got half a substream or more from it) and for all others, in the 10 s that follow:

late      pieces that were not there when they were due, in all and of the one that had most;
still     the longest that any picture stood still;
lag       the worst of any;
whole     how long after the failure, at worst, a child got as much from others as before from all;
share     of what they received before, what came from whoever failed.

The exit code is 1 if what is claimed does not hold: no child's picture stands still for longer than
one group of pictures that is not whole makes it (1.2 s), and at most 2 % of the pieces are late. It
takes 2 minutes.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.broadcast import (
    GOP_S,
    PUBLISHER,
    STILL_S_MAX,
    Broadcast,
    Watched,
    counted,
    gap_s,
    moved_bps,
)
from benchmarks.router import HostSettings, RouterSettings
from benchmarks.star import Sample
from livestream.cli.options import parse_rate
from livestream.machine import MILLISECOND, SECOND
from livestream.sim.links import Path as LinkPath

__all__ = ["Effect", "Failure", "children_of", "claims", "effect_on", "whole_after_s"]

SUBSTREAMS: Final = 8
PUBLISHER_X: Final = 3.0  # Uplinks, in multiples of the channel's rate.
VIEWERS_X: Final = (4.0, 1.0, 1.0, 4.0, 1.0)  # In turns: trees get some depth.
LINK: Final = LinkPath(20 * MILLISECOND, 80 * MILLISECOND, jitter_us=2 * MILLISECOND, loss=0.01)
JOIN_EACH_S: Final = 1.5  # A process takes most of a core for so long to begin.
SETTLE_S: Final = 20.0
APART_S: Final = 20.0
STOPPED_S: Final = 5.0
NARROWED: Final = 10
LOOK_BACK_S: Final = 2.0  # By what came in so long, children are known.
LOOK_AHEAD_S: Final = 10.0
WHOLE_SHARE: Final = 0.9
WHOLE_WINDOW_S: Final = GOP_S  # Key frames are large: only whole groups of pictures compare.
CLAIM_LATE_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Failure:
    """What happened to whom."""

    kind: str
    at_s: float
    "Since the star began."
    victim: int
    children: tuple[int, ...]
    "Whom it fed then."


@dataclass(frozen=True, slots=True)
class Effect:
    """What it meant for some viewers, in the seconds that followed."""

    viewers: int
    late: int
    late_worst: int
    "Of one viewer."
    late_share: float
    "Of the pieces that were due."
    gap_s: float
    lag_s: float
    whole_s: float
    "Until the last had from others than the victim what it had before; inf: not in these seconds."
    victims_share: float
    "Of what they received just before."


def children_of(
    samples: Sequence[Sample], victim: int, viewers: Sequence[int], rate_bps: int, at_s: float
) -> tuple[int, ...]:
    """Return who got at least half a substream from a viewer in the seconds before."""
    enough_bps = rate_bps / SUBSTREAMS / 2
    return tuple(
        number
        for number in viewers
        if number != victim
        and moved_bps(samples, [victim], [number], at_s - LOOK_BACK_S, at_s) >= enough_bps
    )


def whole_after_s(
    samples: Sequence[Sample], number: int, victim: int, at_s: float, ends_s: float
) -> float:
    """Return how long it took until a viewer had from others what it had before from all; s.

    The victim's last packets do not count, so that it takes a window of a second at least where it
    gave anything.
    """
    sources = list(samples[-1].hosts)
    others = [source for source in sources if source != victim]
    enough = WHOLE_SHARE * moved_bps(samples, sources, [number], at_s - 5 * GOP_S, at_s)
    for sample in samples:
        until_s = sample.at_us / SECOND
        if not at_s <= until_s <= ends_s:
            continue
        # Samples are not sharply apart.
        begins_s = until_s - WHOLE_WINDOW_S - 0.05
        if moved_bps(samples, others, [number], begins_s, until_s) >= enough:
            return until_s - at_s
    return float("inf")


def effect_on(
    numbers: Sequence[int],
    watched: Mapping[int, Watched],
    samples: Sequence[Sample],
    failure: Failure,
) -> Effect:
    """Sum up what a failure meant for these viewers."""
    span = failure.at_s, failure.at_s + LOOK_AHEAD_S
    rows = {number: watched[number].rows for number in numbers}
    late = [int(counted(rows[number], "pieces_late", *span)) for number in numbers]
    came = sum(int(counted(rows[number], "pieces_received", *span)) for number in numbers)
    lags = [
        row["lag_s"] for each in rows.values() for row in each if span[0] < row["at_s"] <= span[1]
    ]
    return Effect(
        viewers=len(numbers),
        late=sum(late),
        late_worst=max(late, default=0),
        late_share=sum(late) / max(1, came),
        gap_s=max((gap_s(watched[each].released_s, *span) for each in numbers), default=0.0),
        lag_s=max(lags, default=0.0),
        whole_s=max(
            (whole_after_s(samples, each, failure.victim, *span) for each in numbers), default=0.0
        ),
        victims_share=_victims_share(numbers, samples, failure),
    )


def _victims_share(numbers: Sequence[int], samples: Sequence[Sample], failure: Failure) -> float:
    span = failure.at_s - LOOK_BACK_S, failure.at_s
    all_bps = moved_bps(samples, list(samples[-1].hosts), numbers, *span)
    return moved_bps(samples, [failure.victim], numbers, *span) / max(1.0, all_bps)


def claims(failure: Failure, children: Effect) -> list[str]:
    """Return what does not hold of what is claimed; nothing, if all is well."""
    broken = []
    if not failure.children:
        broken.append(f"{failure.kind}: it fed nobody, so nothing is shown")
    if children.gap_s > STILL_S_MAX:
        broken.append(f"{failure.kind}: a child's picture stands still for {children.gap_s:.1f} s")
    if children.late_share > CLAIM_LATE_SHARE:
        broken.append(f"{failure.kind}: {100 * children.late_share:.1f} % of pieces are late")
    return broken


class _Trial:
    """One run. Invariant: `failures` are in the order in which they happened."""

    def __init__(self, cast: Broadcast, rate_bps: int, uplinks_bps: Mapping[int, int]) -> None:
        self.failures: list[Failure] = []
        self._cast = cast
        self._rate_bps = rate_bps
        self._uplinks_bps = uplinks_bps

    def run(self) -> None:
        """Let viewers come, and fail."""
        cast = self._cast
        cast.publish()
        for number in self._uplinks_bps:
            cast.join(number)
            time.sleep(JOIN_EACH_S)
        time.sleep(SETTLE_S)
        cast.begin_costs()
        kinds: tuple[tuple[str, Callable[[int], None]], ...] = (
            ("stopped", self._stop),
            ("killed", self._kill),
            ("narrowed", self._narrow),
        )
        begins_s = cast.now_s()
        for order, (kind, fail) in enumerate(kinds):
            cast.wait_until(begins_s + order * APART_S)
            fail(self._choose(kind))
        cast.wait_until(begins_s + len(kinds) * APART_S)

    def _choose(self, kind: str) -> int:
        """Take whoever has most children, and note what happens to it."""
        cast, done = self._cast, [each.victim for each in self.failures]
        numbers = [number for number in cast.viewers if number not in done]
        victim = max(numbers, key=lambda number: cast.latest(number)["children"])
        alive = [number for number, each in cast.viewers.items() if each.poll() is None]
        at_s = cast.now_s()
        children = children_of(cast.star.samples(), victim, alive, self._rate_bps, at_s)
        self.failures.append(Failure(kind, at_s, victim, children))
        return victim

    def _stop(self, number: int) -> None:
        process = self._cast.viewers[number]
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(STOPPED_S)
        finally:
            process.send_signal(signal.SIGCONT)

    def _kill(self, number: int) -> None:
        process = self._cast.viewers[number]
        process.kill()
        process.wait()

    def _narrow(self, number: int) -> None:
        self._cast.star.set_uplink(number, self._uplinks_bps[number] // NARROWED)


@dataclass(frozen=True, slots=True)
class Result:
    """A failure, and what it meant."""

    failure: Failure
    children: Effect
    others: Effect


def measure(
    viewers: int, rate_bps: int, seed: int
) -> tuple[list[Result], dict[str, float], dict[str, object]]:
    """Run it; returns what each failure meant, what it cost, and all that was recorded."""
    uplinks_bps = {
        number: int(VIEWERS_X[(number - 1) % len(VIEWERS_X)] * rate_bps)
        for number in range(1, viewers + 1)
    }
    hosts = [_host(PUBLISHER, int(PUBLISHER_X * rate_bps))]
    hosts += [_host(number, uplink_bps) for number, uplink_bps in uplinks_bps.items()]
    with Broadcast(RouterSettings(tuple(hosts), LINK, seed), rate_bps) as cast:
        trial = _Trial(cast, rate_bps, uplinks_bps)
        trial.run()
        costs = cast.costs()
        samples, watched = cast.star.samples(), cast.watched()
    results: list[Result] = []
    killed: list[int] = []
    for failure in trial.failures:
        killed += [failure.victim] if failure.kind == "killed" else []
        besides = [*failure.children, *killed, failure.victim]
        others = [number for number in watched if number not in besides]
        results.append(
            Result(
                failure,
                effect_on(failure.children, watched, samples, failure),
                effect_on(others, watched, samples, failure),
            )
        )
    recorded: dict[str, object] = {
        "viewers": {number: asdict(each) for number, each in watched.items()},
        "received_from": {
            f"{sample.at_us / SECOND:.2f}": {
                number: host.received_from for number, host in sample.hosts.items()
            }
            for sample in samples
        },
    }
    return results, costs, recorded


def report(result: Result) -> str:
    """Return the figures of a failure as text."""
    failure = result.failure
    lines = [f"{failure.kind}: viewer {failure.victim}, which fed {list(failure.children)}"]
    lines += [
        f"  {name:10}{each.viewers:3} viewers  late {each.late} ({100 * each.late_share:.2f} %), "
        f"at most {each.late_worst}  still {each.gap_s:.2f} s  lag {each.lag_s:.2f} s  "
        f"whole {each.whole_s:.1f} s  share {each.victims_share:.2f}"
        for name, each in (("children", result.children), ("others", result.others))
    ]
    lines += [f"  FAILS: {each}" for each in claims(failure, result.children)]
    return "\n".join(lines)


def _host(number: int, uplink_bps: int) -> HostSettings:
    return HostSettings(number, f"45.0.{number}.1", uplink_bps)  # A network each.


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--viewers", type=int, default=12)
    parser.add_argument("--rate", default="1M", help="of the channel")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures and all rows here too")
    words = parser.parse_args()
    results, costs, recorded = measure(words.viewers, parse_rate(words.rate), words.seed)
    for result in results:
        print(report(result))
    print("  ".join(f"{name} {value:.3g}" for name, value in costs.items()))
    if words.json is not None:
        figures = [asdict(result) for result in results]
        words.json.write_text(json.dumps({"results": figures, "costs": costs, **recorded}))
    sys.exit(any(claims(each.failure, each.children) for each in results))


if __name__ == "__main__":
    main()
