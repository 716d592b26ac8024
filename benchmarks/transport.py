"""Our transports beside libtorrent's on loopback; `python -m benchmarks.transport`.

Whole torrents from a seed to a leecher, and bytes from memory to memory, in one run, each round
with everything once, so that whatever the machine does hits all alike. What the columns mean:
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import libtorrent as lt

from benchmarks.clients import TUNED, fetch
from benchmarks.memory import flow
from benchmarks.torrent import make
from benchmarks.transfers import Transfer

BUFFER_BYTES: Final = 4 << 20  # What ours and the tuned libtorrent ask for.
FLOW_SHARE: Final = 0.5  # Of the limit of a torrent.

STOCK: Final = "libtorrent µTP, stock"
TUNED_UTP: Final = "libtorrent µTP, tuned"
LT_TCP: Final = "libtorrent TCP"
OUR_UTP: Final = "ours µTP"
OUR_TCP: Final = "ours TCP"
TORRENTS: Final = {
    STOCK: ("libtorrent-utp-stock", "libtorrent-utp-stock"),
    TUNED_UTP: ("libtorrent-utp", "libtorrent-utp"),
    LT_TCP: ("libtorrent-tcp", "libtorrent-tcp"),
    OUR_UTP: ("ours-utp", "ours-utp"),
    OUR_TCP: ("ours-tcp", "ours-tcp"),
    "libtorrent to ours, µTP": ("libtorrent-utp", "ours-utp"),
    "ours to libtorrent, µTP": ("ours-utp", "libtorrent-utp"),
}
PLAIN: Final = "memory: plain sockets"
FLOWS: Final = {
    PLAIN: "plain",
    "memory: ours TCP": "tcp",
    "memory: ours µTP": "utp",
    "memory: ours QUIC": "quic",
}
RATIOS: Final = (
    (OUR_UTP, STOCK),
    (OUR_UTP, TUNED_UTP),
    (OUR_UTP, LT_TCP),
    (OUR_UTP, OUR_TCP),
    (OUR_TCP, LT_TCP),
    *((title, TUNED_UTP) for title in FLOWS if title != PLAIN),
    *((title, PLAIN) for title in FLOWS if title != PLAIN),
)
HEADINGS: Final = (
    f"{'':26}{'MB/s':>14}{'CPU s/GB':>17}{'RSS MB':>15}{'lost':>9}{'others':>8}\n"
    f"{'':26}{'median':>7}{'best':>7}{'sender':>9}{'recv.':>8}{'sender':>8}{'recv.':>7}"
    f"{'dgrams':>9}{'cores':>8}\n"
)


@dataclass
class Row:
    """One kind of transfer and what its rounds gave."""

    title: str
    measure: Callable[[], Transfer]
    size: int
    "Bytes of the whole."
    took: list[Transfer] = field(default_factory=list)
    failure: str = ""
    "Why there is nothing, or not as much as there should be."

    def run(self) -> None:
        """Measure once more."""
        try:
            self.took.append(self.measure())
        except RuntimeError as error:
            self.failure = f"failed: {error}"

    @property
    def is_cut(self) -> bool:
        """Whether the limit of time ended a round."""
        return any(took.size < self.size for took in self.took)

    def middle(self, name: str) -> float:
        """Return the median of a figure."""
        return median(took.figures()[name] for took in self.took)

    def best(self) -> float:
        """Return the best MB/s."""
        return max(took.figures()["mb_per_s"] for took in self.took)

    def __str__(self) -> str:
        """Return the line of the table."""
        if not self.took:
            return f"{self.title:26}  {self.failure}"
        return (
            f"{self.title:26}{self.middle('mb_per_s'):7.0f}{self.best():7.0f}"
            f"{self.middle('sender_cpu_s_per_gb'):9.2f}{self.middle('receiver_cpu_s_per_gb'):8.2f}"
            f"{self.middle('sender_rss_mb'):8.0f}{self.middle('receiver_rss_mb'):7.0f}"
            f"{self.middle('overflows'):9.0f}{self.middle('others_cores'):8.2f}"
            f"{'  cut' if self.is_cut else ''}{self.failure and '  '}{self.failure}"
        )


def rows_of(base: Path, size: int, limit_s: float) -> dict[str, Row]:
    """Return everything that is measured, by title."""

    def torrent(seed: str, leecher: str) -> Callable[[], Transfer]:
        return lambda: fetch(seed, leecher, base, limit_s)

    def memory(transport: str) -> Callable[[], Transfer]:
        return lambda: flow(transport, size, limit_s * FLOW_SHARE)

    rows = [Row(title, torrent(*pair), size) for title, pair in TORRENTS.items()]
    rows += [Row(title, memory(transport), size) for title, transport in FLOWS.items()]
    return {row.title: row for row in rows}


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        stock = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        granted = {}
        for name, option in (("receive", socket.SO_RCVBUF), ("send", socket.SO_SNDBUF)):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            granted[name] = sock.getsockopt(socket.SOL_SOCKET, option) // 2  # Linux doubles it.
    return {
        "machine": f"{os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, libtorrent {lt.__version__}",
        "UDP receive buffer, stock": f"{stock // 1024} KiB",
        "UDP buffers, asked for 4 MiB": ", ".join(
            f"{name} {size // 1024} KiB" for name, size in granted.items()
        ),
        "libtorrent, tuned": ", ".join(f"{name} {value}" for name, value in TUNED.items()),
    }


def ratios(rows: dict[str, Row]) -> dict[str, dict[str, float]]:
    """Return medians divided by medians: speed, and CPU per GB of both sides together."""
    found = {}
    for ours, theirs in RATIOS:
        mine, other = rows[ours], rows[theirs]
        if mine.took and other.took:
            found[f"{ours} / {theirs}"] = {
                "speed": mine.middle("mb_per_s") / other.middle("mb_per_s"),
                "cpu": _cpu_s_per_gb(mine) / _cpu_s_per_gb(other),
            }
    return found


def _cpu_s_per_gb(row: Row) -> float:
    return row.middle("sender_cpu_s_per_gb") + row.middle("receiver_cpu_s_per_gb")


def report(rows: dict[str, Row], limit_s: float) -> str:
    """Return the table and what it comes to."""
    lines = [HEADINGS, *(f"{row}\n" for row in rows.values())]
    if any(row.is_cut for row in rows.values()):
        lines.append(
            f"cut: ended after {limit_s:.0f} s (memory: {limit_s * FLOW_SHARE:.0f} s), "
            "and the figures are of what had come by then.\n"
        )
    found = ratios(rows)
    lines.append(f"\n{'ratios of medians':52}{'speed':>8}{'CPU/GB':>8}\n")
    for ours, theirs in RATIOS:
        title = f"{ours} / {theirs}"
        ratio = found.get(title)
        end = "       -" if ratio is None else f"{ratio['speed']:8.2f}{ratio['cpu']:8.2f}"
        lines.append(f"{title:52}{end}\n")
    return "".join(lines)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the torrent")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=20.0, help="seconds that a torrent may take")
    parser.add_argument("--folder", type=Path, help="storage to measure on; none: a temporary one")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    words = parser.parse_args()
    facts = machine()
    for name, value in facts.items():
        print(f"{name}: {value}")
    with tempfile.TemporaryDirectory(dir=words.folder, prefix="livestream-bench-") as name:
        make(Path(name), words.mib << 20)
        rows = rows_of(Path(name), words.mib << 20, words.limit)
        for number in range(1, words.rounds + 1):
            for row in rows.values():
                row.run()
                print(f"round {number}: {row}", file=sys.stderr)
    print(f"{words.mib} MiB, {words.rounds} rounds\n\n{report(rows, words.limit)}", end="")
    if words.json is not None:
        measured = {row.title: [took.figures() for took in row.took] for row in rows.values()}
        figures = {"machine": facts, "transfers": measured, "ratios": ratios(rows)}
        words.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
