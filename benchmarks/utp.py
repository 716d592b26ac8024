"""Torrents over µTP alone, both ways with libtorrent; `python -m benchmarks.utp`.

On loopback, then a smaller one through a link that loses 2 % of the packets, has a round trip of
40 ms and brings some packets too late (`benchmarks.lab`: root only). What comes is compared byte by
byte; beside the rate, the longest time is told in which nothing came.
"""

from __future__ import annotations

import argparse
import filecmp
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.lab import Lab, Side
from benchmarks.torrent import make

PAIRS: Final = (
    ("libtorrent-utp-stock", "ours-utp"),
    ("ours-utp", "libtorrent-utp-stock"),
    ("ours-utp", "ours-utp"),
    ("libtorrent-utp-stock", "libtorrent-utp-stock"),
)
LIMIT_S: Final = 600

Start = Callable[[Side, Sequence[str]], "subprocess.Popen[bytes]"]


def run(seed: str, leecher: str, base: Path, start: Start, hosts: dict[Side, str]) -> str:
    """Transfer the torrent of a folder between two clients, and return what is to be told."""
    common = [sys.executable, "-m", "benchmarks.clients", "--torrent", str(base / "t.torrent")]
    giving = [*common, "--host", hosts[Side.LEFT], "--client", seed, "--seed"]
    giver = start(Side.LEFT, [*giving, "--data", str(base / "seed")])
    with tempfile.TemporaryDirectory(dir=base) as out:
        taking = [*common, "--host", hosts[Side.RIGHT], "--client", leecher, "--data", out]
        taker = start(Side.RIGHT, [*taking, "--limit", str(LIMIT_S)])
        port = _hear(giver)
        _hear(taker)
        _tell(taker, f"{hosts[Side.LEFT]}:{port}")
        size, seconds, stall_s = map(float, _hear(taker).split())
        for process in (taker, giver):
            process.communicate()  # The end of stdin is its sign.
        source = base / "seed" / "data.bin"
        is_same = filecmp.cmp(source, Path(out) / "data.bin", shallow=False)
    rate = size / 1e6 / max(seconds, 0.001)
    return f"{rate:.1f} MB/s, {'identical' if is_same else 'DIFFERENT'}, stall {stall_s:.1f} s"


def _start(side: Side, command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _hear(process: subprocess.Popen[bytes]) -> str:
    if process.stdout is None or not (line := process.stdout.readline()):
        raise RuntimeError(f"{process.args!r} ended before it was done")
    return line.decode().strip()


def _tell(process: subprocess.Popen[bytes], line: str) -> None:
    if process.stdin is None:
        raise RuntimeError("no pipe")
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


def on_loopback(mib: int, folder: Path | None) -> None:
    """Measure each pair on this machine."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="livestream-bench-") as name:
        make(Path(name), mib << 20)
        for seed, leecher in PAIRS:
            told = run(seed, leecher, Path(name), _start, dict.fromkeys(Side, "127.0.0.1"))
            print(f"{mib} MiB on loopback, {seed} to {leecher}: {told}", flush=True)


def on_bad_link(mib: int, folder: Path | None, rate_bps: int, loss: float) -> None:
    """Measure each pair through the link."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="livestream-bench-") as name:
        make(Path(name), mib << 20, 256 * 1024)
        for seed, leecher in PAIRS:
            with Lab(
                rate_bps=rate_bps,
                delay_us=20_000,
                queue_us=100_000,
                loss=loss,
                jitter_us=2_000,
                reordering=0.01,
            ) as lab:
                told = run(
                    seed, leecher, Path(name), lab.spawn, {side: side.value for side in Side}
                )
            print(f"{mib} MiB through {loss:.0%} loss, {seed} to {leecher}: {told}", flush=True)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="on loopback; 0: not at all")
    parser.add_argument("--bad-mib", type=int, default=64, help="through the link; 0: not at all")
    parser.add_argument("--rate", type=int, default=50_000_000, help="of the link, bit/s")
    parser.add_argument("--loss", type=float, default=0.02, help="of the link, a share")
    parser.add_argument("--folder", type=Path, help="storage to measure on; none: a temporary one")
    words = parser.parse_args()
    if words.mib:
        on_loopback(words.mib, words.folder)
    if words.bad_mib:
        on_bad_link(words.bad_mib, words.folder, words.rate, words.loss)


if __name__ == "__main__":
    main()
