"""One torrent from one seed to one leecher over loopback TCP; `python -m benchmarks.torrent`.

Ours beside libtorrent and aria2, on the same storage, in the same run: MB/s, CPU seconds a GiB of
each side during the transfer (user and system, all threads; of aria2 all that it used), and the
largest memory of each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import libtorrent as lt

from benchmarks.clients import HERE, LIBTORRENT, fetch
from livestream.runtime.hashing import find_files, hash_pieces
from livestream.torrent.create import Version, lay_out, to_torrent

GIB: Final = 1 << 30
CLOCKS: Final = {  # libtorrent waits up to a second before it calls anybody; people wait with it.
    "mb_per_s": "from the first block",
    "mb_per_s_from_call": "from being told of the seed",
}
PIECE_LENGTH: Final = 1 << 20


def pair(seed: str, leecher: str, base: Path, size: int) -> dict[str, float]:
    """Run one seed and one leecher, and return the figures."""
    took = fetch(seed, leecher, base)
    if took.size < size:
        raise RuntimeError(f"{leecher} did not finish")
    return {
        "mb_per_s": size / 1e6 / took.seconds,
        "mb_per_s_from_call": size / 1e6 / took.whole_s,
        "leecher_cpu_s_per_gib": took.receiver_cpu_s / size * GIB,
        "seed_cpu_s_per_gib": took.sender_cpu_s / size * GIB,
        "leecher_rss_mb": took.receiver_rss_mb,
        "seed_rss_mb": took.sender_rss_mb,
    }


def aria2(base: Path, size: int) -> dict[str, float]:
    """Let aria2 download from libtorrent, which it is told of by a tracker of ours."""
    out = base / "out"
    shutil.rmtree(out, ignore_errors=True)
    tracker = subprocess.Popen(
        [sys.executable, "-m", "livestream", "tracker", "--listen", f"{HERE}:0"],
        stdout=subprocess.PIPE,
    )
    url = _line(tracker)
    seed = lt.session(LIBTORRENT["libtorrent-tcp"])
    parameters = lt.load_torrent_file(str(base / "t.torrent"))
    parameters.save_path = str(base / "seed")
    parameters.flags |= lt.torrent_flags.seed_mode
    parameters.trackers = [url]
    seed.add_torrent(parameters)
    time.sleep(2)  # The seed has announced itself by then.
    program = shutil.which("aria2c") or "aria2c"
    command = [
        program, str(base / "t.torrent"), f"--dir={out}", f"--bt-tracker={url}", "--no-conf",
        "--enable-dht=false", "--enable-dht6=false", "--enable-peer-exchange=false", "--quiet",
        "--seed-time=0", "--file-allocation=none",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    began = time.monotonic()
    while not (out / "data.bin").exists():
        time.sleep(0.01)
    _, _, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    tracker.terminate()
    tracker.communicate()
    return {
        "mb_per_s": size / 1e6 / seconds,
        "mb_per_s_from_call": size / 1e6 / seconds,
        "leecher_cpu_s_per_gib": (usage.ru_utime + usage.ru_stime) / size * GIB,
        "leecher_rss_mb": usage.ru_maxrss / 1024,
    }


def make(base: Path, size: int, piece_length: int = PIECE_LENGTH) -> None:
    """Write random data and a v1 torrent of it."""
    (base / "seed").mkdir(parents=True)
    path = base / "seed" / "data.bin"
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    files, is_single = find_files(path)
    layout = lay_out(path.name, files, piece_length, Version.V1, is_single=is_single)
    hashes = hash_pieces(layout, path.parent, Version.V1)
    (base / "t.torrent").write_bytes(to_torrent(layout, hashes, Version.V1))


def _line(process: subprocess.Popen[bytes]) -> str:
    if process.stdout is None:
        raise RuntimeError("no pipe")
    return process.stdout.readline().decode().strip()


def run(base: Path, size: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Measure every pair, in turn, so that whatever the machine does hits all alike."""
    make(base, size)
    measures: dict[str, Callable[[], dict[str, float]]] = {
        "ours to ours": lambda: pair("ours-tcp", "ours-tcp", base, size),
        "libtorrent to libtorrent": lambda: pair("libtorrent-tcp", "libtorrent-tcp", base, size),
        "libtorrent to ours": lambda: pair("libtorrent-tcp", "ours-tcp", base, size),
        "ours to libtorrent": lambda: pair("ours-tcp", "libtorrent-tcp", base, size),
        "libtorrent to aria2": lambda: aria2(base, size),
    }
    results: dict[str, list[dict[str, float]]] = {title: [] for title in measures}
    for _ in range(rounds):
        for title, measure in measures.items():
            results[title].append(measure())
            figures = "  ".join(f"{key} {value:.3g}" for key, value in results[title][-1].items())
            sys.stdout.write(f"{title}: {figures}\n")
            sys.stdout.flush()
    return results


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="storage to measure on; none: a temporary one")
    parser.add_argument("--mib", type=int, default=1024, help="size of the torrent")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=words.folder, prefix="livestream-bench-") as name:
        results = run(Path(name), words.mib << 20, words.rounds)
    for key, since in CLOCKS.items():
        best = {title: max(row[key] for row in rows) for title, rows in results.items()}
        theirs = best["libtorrent to libtorrent"]
        for title, speed in best.items():
            sys.stdout.write(f"best of {words.rounds}, {since}, {title}: {speed:.0f} MB/s, "
                             f"{speed / theirs:.2f} times libtorrent's\n")  # fmt: skip
    if words.json is not None:
        words.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
