"""A viewer at home beside somebody's download, then upload; `python -m benchmarks.household`.

Both share one line in the star (`benchmarks.star`: Linux, root): 20 Mbit/s down, 4 Mbit/s up, a
queue of 300 ms, 25 ms each way to everybody. The other one is the kernel's TCP with CUBIC: for 20 s
alone, before the channel begins, then while the viewer watches and feeds others. In each direction:

alone     what TCP gets in its 20 s, alone;
beside    what it gets beside the viewer;
share     beside / alone;
of rest   beside / (alone - what the viewer has of the line in this direction): of a download the
          picture, of an upload what it feeds others, answers and requests.

The viewer's figures follow, before, during and after: pieces late, lag (the median and the worst),
the longest time that the picture stood still, what it received, what it fed others in how many
substreams, and how many pieces were late for these others, all of them together. Rates are of IP
bytes that came through. The exit code is 1 if what is claimed does not hold: `of rest` is at least
0.95, at most 1 % of the pieces are late, and the picture never stands still for
longer than one group of pictures that is not whole makes it (1.2 s). It takes 4 minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.broadcast import (
    PUBLISHER,
    STILL_S_MAX,
    Broadcast,
    Watched,
    counted,
    gap_s,
    moved_bps,
)
from benchmarks.processes import close
from benchmarks.router import HostSettings, RouterSettings
from benchmarks.star import Sample
from livestream.cli.options import parse_rate
from livestream.machine import MILLISECOND
from livestream.sim.links import Path as LinkPath

__all__ = ["Home", "Phase", "Run", "claims", "hosts_of", "reckon"]

HOME: Final = 1
PORT: Final = 5003
DIRECTIONS: Final = ("download", "upload")
PUBLISHER_X: Final = 2.5  # Uplinks, in multiples of the channel's rate: the publisher's...
VIEWER_X: Final = 1.2  # ...and the other viewers', who together can do without the home.
SERVER_BPS: Final = 1_000_000_000
CLAIM_SHARE: Final = 0.95
CLAIM_LATE_SHARE: Final = 0.01  # A full queue drops packets of ours, too.
JOIN_EACH_S: Final = 1.5  # A process takes most of a core for so long to begin.
SETTLE_S: Final = 20.0
REST_S: Final = 3.0  # Until the queue of what was before is gone.


@dataclass(frozen=True, slots=True)
class Home:
    """The line that is shared, and the channel that is watched over it."""

    down_bps: int = 20_000_000
    up_bps: int = 4_000_000
    queue_us: int = 300 * MILLISECOND
    delay_us: int = 25 * MILLISECOND
    "One way, to everybody."
    rate_bps: int = 1_000_000
    viewers: int = 5
    "The one at home included."


@dataclass(frozen=True, slots=True)
class Phase:
    """The viewer at home for a while."""

    late: int
    "Pieces that were not there when they were due."
    pieces: int
    "All that came."
    lag_s: float
    "The median."
    lag_max_s: float
    gap_s: float
    "The longest that its picture stood still."
    received_bps: float
    fed_bps: float
    "What others got from it, answers included."
    children: float
    "The median, over all substreams."
    others_late: int
    "Pieces that were late for all other viewers together."


@dataclass(frozen=True, slots=True)
class Run:
    """A direction."""

    alone_bps: float
    beside_bps: float
    before: Phase
    during: Phase
    after: Phase
    is_down: bool = field(kw_only=True)

    @property
    def share(self) -> float:
        """Of what TCP gets alone."""
        return self.beside_bps / max(1.0, self.alone_bps)

    @property
    def share_of_rest(self) -> float:
        """Of what the viewer leaves."""
        taken_bps = self.during.received_bps if self.is_down else self.during.fed_bps
        return self.beside_bps / max(1.0, self.alone_bps - taken_bps)


def hosts_of(home: Home) -> tuple[HostSettings, ...]:
    """Return the publisher, the home, the other viewers, and the server at the other end of TCP."""
    others = range(HOME + 1, HOME + home.viewers)
    return (
        _host(PUBLISHER, int(PUBLISHER_X * home.rate_bps)),
        HostSettings(HOME, _address(HOME), home.up_bps, home.down_bps, home.queue_us),
        *(_host(number, int(VIEWER_X * home.rate_bps)) for number in others),
        _host(_server(home), SERVER_BPS),
    )


def measure(
    home: Home, direction: str, seconds: float, seed: int
) -> tuple[Run, dict[str, float], Watched]:
    """Run one direction; returns its figures, what it cost, and all that the viewer went through.

    In the rows of the latter, `at_s` counts from when TCP began beside the viewer.
    """
    path = LinkPath(home.delay_us, home.delay_us, jitter_us=0)
    server = _server(home)
    source, target = (server, HOME) if direction == "download" else (HOME, server)
    with Broadcast(RouterSettings(hosts_of(home), path, seed), home.rate_bps) as cast:
        with _download(cast, source, target) as giver:
            alone = _let_flow(cast, giver, seconds)
        cast.publish()
        for number in range(HOME, HOME + home.viewers):
            cast.join(number)
            time.sleep(JOIN_EACH_S)
        with _download(cast, source, target) as giver:
            time.sleep(SETTLE_S)
            cast.begin_costs()
            time.sleep(seconds)
            beside = _let_flow(cast, giver, seconds)
        time.sleep(REST_S + seconds)
        costs = cast.costs()
        samples, watched = cast.star.samples(), cast.watched()
    spans = {
        "alone": alone,
        "before": (beside[0] - seconds, beside[0]),
        "during": beside,
        "after": (beside[1] + REST_S, beside[1] + REST_S + seconds),
    }
    run = reckon(home, samples, watched, spans, is_down=direction == "download")
    return run, costs, watched[HOME].since(beside[0])


def reckon(
    home: Home,
    samples: Sequence[Sample],
    watched: Mapping[int, Watched],
    spans: Mapping[str, tuple[float, float]],
    *,
    is_down: bool,
) -> Run:
    """Sum up a direction. `spans` says when it was what, in seconds since the star began."""
    server = _server(home)
    source, target = (server, HOME) if is_down else (HOME, server)
    viewers = range(HOME + 1, HOME + home.viewers)
    phases = {name: _phase(samples, watched, viewers, *span) for name, span in spans.items()}
    return Run(
        moved_bps(samples, [source], [target], *spans["alone"]),
        moved_bps(samples, [source], [target], *spans["during"]),
        phases["before"],
        phases["during"],
        phases["after"],
        is_down=is_down,
    )


def claims(run: Run) -> list[str]:
    """Return what does not hold of what is claimed; nothing, if all is well.

    TCP gets nearly all of what the viewer leaves, and the viewer goes on watching.
    """
    broken = []
    if run.share_of_rest < CLAIM_SHARE:
        broken.append(f"TCP has {run.share_of_rest:.3f} of what the viewer leaves")
    if run.during.late > CLAIM_LATE_SHARE * run.during.pieces:
        broken.append(f"{run.during.late} of {run.during.pieces} pieces are late")
    if run.during.gap_s > STILL_S_MAX:
        broken.append(f"the picture stands still for {run.during.gap_s:.1f} s")
    return broken


# Helpers


def _phase(
    samples: Sequence[Sample],
    watched: Mapping[int, Watched],
    viewers: Sequence[int],
    begins_s: float,
    ends_s: float,
) -> Phase:
    home = watched[HOME]
    rows = [row for row in home.rows if begins_s < row["at_s"] <= ends_s]
    lags = [row["lag_s"] for row in rows] or [0.0]
    return Phase(
        late=int(counted(home.rows, "pieces_late", begins_s, ends_s)),
        lag_s=median(lags),
        lag_max_s=max(lags),
        pieces=int(counted(home.rows, "pieces_received", begins_s, ends_s)),
        gap_s=gap_s(home.released_s, begins_s, ends_s),
        received_bps=moved_bps(samples, [PUBLISHER, *viewers], [HOME], begins_s, ends_s),
        fed_bps=moved_bps(samples, [HOME], [PUBLISHER, *viewers], begins_s, ends_s),
        children=median([row["children"] for row in rows] or [0.0]),
        others_late=sum(
            int(counted(watched[number].rows, "pieces_late", begins_s, ends_s))
            for number in viewers
        ),
    )


@contextmanager
def _download(cast: Broadcast, source: int, target: int) -> Iterator[subprocess.Popen[bytes]]:
    """Prepare TCP from one host to another; it begins with a line (`benchmarks.flow`)."""
    command = [sys.executable, "-m", "benchmarks.flow"]
    taker = _spawn([*cast.inside(target), *command, "receive", "tcp", str(PORT)])
    giver = _spawn([*cast.inside(source), *command, "send", "tcp", _address(target), str(PORT)])
    try:
        yield giver
    finally:
        close(giver)
        close(taker)


def _spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if process.stdout is None or not process.stdout.readline():
        close(process)
        raise RuntimeError("TCP did not start")
    return process


def _let_flow(
    cast: Broadcast, giver: subprocess.Popen[bytes], seconds: float
) -> tuple[float, float]:
    """Let TCP send for so long; returns when that was."""
    if giver.stdin is None:
        raise RuntimeError("no pipe")
    began_s = cast.now_s()
    giver.stdin.write(b"begin\n")
    giver.stdin.flush()
    time.sleep(seconds)
    giver.stdin.close()
    return began_s, began_s + seconds


def _server(home: Home) -> int:
    return HOME + home.viewers


def _host(number: int, uplink_bps: int) -> HostSettings:
    return HostSettings(number, _address(number), uplink_bps)


def _address(number: int) -> str:
    return f"45.0.{number}.1"  # A network each, as strangers' homes have.


def report(direction: str, run: Run) -> str:
    """Return the figures of a direction as text."""
    lines = [
        f"{direction}: alone {run.alone_bps / 1e6:.2f}  beside {run.beside_bps / 1e6:.2f} Mbit/s  "
        f"share {run.share:.3f}  of rest {run.share_of_rest:.3f}",
        f"{'':8}{'late':>6}{'lag':>7}{'worst':>7}{'still':>7}{'down':>7}{'fed':>7}{'children':>9}"
        f"{'others late':>13}",
    ]
    for name, phase in (("before", run.before), ("during", run.during), ("after", run.after)):
        lines.append(
            f"{name:8}{phase.late:6}{phase.lag_s:7.2f}{phase.lag_max_s:7.2f}{phase.gap_s:7.2f}"
            f"{phase.received_bps / 1e6:7.2f}{phase.fed_bps / 1e6:7.2f}{phase.children:9.0f}"
            f"{phase.others_late:13}"
        )
    lines += [f"FAILS: {each}" for each in claims(run)]
    return "\n".join(lines)


def main() -> None:
    """Measure both directions and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--viewers", type=int, default=5, help="the one at home included")
    parser.add_argument("--rate", default="1M", help="of the channel")
    parser.add_argument("--down", default="20M", help="of the home's line")
    parser.add_argument("--up", default="4M")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each phase")
    parser.add_argument("--only", choices=DIRECTIONS, help="this direction only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    words = parser.parse_args()
    home = Home(
        parse_rate(words.down),
        parse_rate(words.up),
        rate_bps=parse_rate(words.rate),
        viewers=words.viewers,
    )
    rows: dict[str, object] = {"home": asdict(home)}
    is_broken = False
    for direction in [words.only] if words.only else DIRECTIONS:
        run, costs, watched = measure(home, direction, words.seconds, words.seed)
        print(report(direction, run))
        print("  ".join(f"{name} {value:.3g}" for name, value in costs.items()), flush=True)
        shares = {"share": run.share, "share_of_rest": run.share_of_rest}
        told = {"claims_broken": claims(run), "costs": costs, "rows": watched.rows}
        rows[direction] = {**asdict(run), **shares, **told}
        is_broken = is_broken or bool(claims(run))
    if words.json is not None:
        words.json.write_text(json.dumps(rows, indent=1))
    sys.exit(int(is_broken))


if __name__ == "__main__":
    main()
