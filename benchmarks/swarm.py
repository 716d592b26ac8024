"""One slow seed and a swarm on loopback, against the fluid bound; `python -m benchmarks.swarm`.

The bound is that of Kumar and Ross (2006): no schedule brings F bytes to N peers sooner than
max(F / u_s, F / d_min, N F / (u_s + sum u_i)). Four swarms: eight of ours; eight of libtorrent's
behind its own seed; eight of ours and two of libtorrent's; eight of ours and one that gives next
to nothing.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import libtorrent as lt

from benchmarks.torrent import make

HERE: Final = "127.0.0.1"
TIMEOUT_S: Final = 300
MB: Final = 1_000_000
NOTHING_BPS: Final = 8_000  # What a free rider gives.


def leech(torrent: Path, out: Path, tracker: str, upload: int) -> None:
    """Take part with libtorrent until stdin ends; tell when it is complete."""
    session = lt.session(
        {
            "listen_interfaces": f"{HERE}:0",
            "allow_multiple_connections_per_ip": True,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "alert_mask": 0,
        }
    )
    parameters = lt.load_torrent_file(str(torrent))
    parameters.save_path = str(out)
    parameters.trackers = [tracker]
    handle = session.add_torrent(parameters)
    handle.set_upload_limit(upload)  # The session's own limits leave out local peers.
    while not handle.status().is_seeding:
        time.sleep(0.05)
    sys.stdout.write("complete\n")
    sys.stdout.flush()
    sys.stdin.readline()


class Swarm:
    """Processes that share one torrent through one tracker."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._torrent = base / "t.torrent"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.files: dict[str, Path] = {}
        self.tracker = ""

    def start_tracker(self) -> None:
        """Start the tracker that all of them use."""
        tracker = self._spawn(["-m", "livestream", "tracker", "--listen", f"{HERE}:0"], "tracker")
        if tracker.stdout is None:
            raise RuntimeError("no pipe")
        self.tracker = tracker.stdout.readline().decode().strip()

    def seed(self, upload: int) -> None:
        """Start the seed, with an upload in bytes a second."""
        self._livestream("seed", "--data", str(self._base / "seed"), name="seed", upload=upload)

    def ours(self, name: str, upload: int) -> None:
        """Start one of our downloaders."""
        out = self._base / name
        self.files[name] = out
        self._livestream("download", "-o", str(out), "--seed-time", "1h", name=name, upload=upload)

    def libtorrent(self, name: str, upload: int) -> None:
        """Start one of libtorrent's."""
        out = self._base / name
        self.files[name] = out
        self._libtorrent(name, out, upload)

    def libtorrent_seed(self, upload: int) -> None:
        """Start libtorrent as the seed."""
        self._libtorrent("seed", self._base / "seed", upload)

    def stop(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.communicate()

    def finishes(self, began: float) -> dict[str, float]:
        """Wait for all, and return when each had the whole of it, in seconds. Raises TimeoutError.

        The sign is the line that each client says when it has verified the last piece.
        """
        at: dict[str, float] = {}
        while len(at) < len(self.files):
            if time.monotonic() - began > TIMEOUT_S:
                raise TimeoutError(f"only {sorted(at)} finished within {TIMEOUT_S} s")
            time.sleep(0.02)
            for name in self.files:
                said = (self._base / f"{name}.log").read_bytes()
                if name not in at and b"complete" in said:
                    at[name] = time.monotonic() - began
        return at

    def _libtorrent(self, name: str, folder: Path, upload: int) -> None:
        words = ["--leech", str(self._torrent), "--out", str(folder), "--tracker", self.tracker]
        self._spawn(["-m", "benchmarks.swarm", *words, "--upload", str(upload)], name)

    def _livestream(self, command: str, *words: str, name: str, upload: int) -> None:
        start = ["-m", "livestream", command, str(self._torrent), *words]
        limits = ["--max-up", str(8 * upload), "--tracker", self.tracker, "--listen", f"{HERE}:0"]
        stats = ["--stats", str(self._base / f"{name}.stats")]
        self._spawn([*start, *limits, *stats], name)

    def _spawn(self, words: list[str], name: str) -> subprocess.Popen[bytes]:
        log = (self._base / f"{name}.log").open("wb")
        is_tracker = name == "tracker"
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if is_tracker else log,
            stderr=log,
            env={**os.environ, "LIVESTREAM_DATA_DIR": str(self._base / f"{name}.data")},
        )
        log.close()
        self._processes.append(process)
        return process


@contextmanager
def swarm(base: Path) -> Iterator[Swarm]:
    """Start from nothing: no folder of an earlier swarm is left."""
    for path in base.iterdir():
        if path.name not in ("seed", "t.torrent"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    made = Swarm(base)
    try:
        made.start_tracker()
        yield made
    finally:
        made.stop()


def bound(size: int, seed: int, uploads: list[int]) -> float:
    """Return the fluid bound in seconds; downloads are not limited."""
    return max(size / seed, len(uploads) * size / (seed + sum(uploads)))


def measure(
    base: Path,
    size: int,
    seed: int,
    upload: int,
    *,
    ours: int = 8,
    others: int = 0,
    riders: int = 0,
) -> dict[str, float]:
    """Run a swarm of ours and some others; returns when each finished, in seconds."""
    with swarm(base) as made:
        if ours:
            made.seed(seed)
        else:
            made.libtorrent_seed(seed)
        time.sleep(2)  # It has hashed and announced by then.
        began = time.monotonic()
        for number in range(ours):
            made.ours(f"ours-{number}", upload)
        for number in range(others):
            made.libtorrent(f"libtorrent-{number}", upload)
        for number in range(riders):
            made.ours(f"rider-{number}", NOTHING_BPS // 8)
        finishes = made.finishes(began)
    uploads = [upload] * (ours + others) + [NOTHING_BPS // 8] * riders
    limit = bound(size, seed, uploads)
    slowest = max(finishes.values())
    return {**finishes, "bound_s": limit, "slowest_s": slowest, "ratio": slowest / limit}


def main() -> None:
    """Measure, or be one libtorrent leecher."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=64, help="size of the torrent")
    parser.add_argument("--seed", type=int, default=2 * MB, help="bytes a second of the seed")
    parser.add_argument("--upload", type=int, default=2 * MB, help="bytes a second of the others")
    parser.add_argument(
        "--only", choices=("ours", "libtorrent", "mixed", "rider"), help="one of the swarms"
    )
    parser.add_argument("--json", type=Path, help="write the figures here too")
    for name in ("leech", "out"):
        parser.add_argument(f"--{name}", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tracker", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.leech:
        leech(words.leech, words.out, words.tracker, words.upload)
        return
    size = words.mib << 20
    extras = {
        "ours": {},
        "libtorrent": {"ours": 0, "others": 8},
        "mixed": {"others": 2},
        "rider": {"riders": 1},
    }
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        make(base, size, 1 << 18)
        for title, extra in extras.items():
            if words.only in (None, title):
                found = measure(base, size, words.seed, words.upload, **extra)
                results[title] = found
                figures = "  ".join(f"{key} {value:.1f}" for key, value in found.items())
                sys.stdout.write(f"{title}: {figures}  (ratio {found['ratio']:.2f})\n")
                sys.stdout.flush()
    if words.json:
        words.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
