"""One torrent from one seed to one leecher over loopback TCP; `python -m benchmarks.torrent`.

Ours beside libtorrent and aria2, on the same storage, in the same run: MB/s, CPU seconds a GiB of
each side during the transfer (user and system, all threads; of aria2 all that it used), and the
largest memory of each.
"""

from __future__ import annotations

import argparse
import asyncio
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

from livestream.machine import Address
from livestream.runtime.hashing import find_files, hash_pieces
from livestream.runtime.loop import run_to_end
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.torrent.create import Version, lay_out, to_torrent
from livestream.torrent.metainfo import Metainfo

GIB: Final = 1 << 30
PIECE_LENGTH: Final = 1 << 20
HERE: Final = "127.0.0.1"
TIMEOUT_S: Final = 180
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


# The roles: each in a process of its own, told on stdin whom to call, and telling its port.


async def ours(metainfo: Metainfo, folder: Path, is_seed: bool) -> int:
    """Seed until stdin ends, or download from the port that stdin names."""
    session = TorrentSession()
    address = await session.open(Address(HERE, 0))
    found = await session.add(metainfo, TorrentOptions(folder))
    _tell(str(address.port))
    line = await asyncio.to_thread(sys.stdin.readline)
    if not is_seed:
        found.learn_peers([Address(HERE, int(line))])
        await found.completed.wait()
        _tell("done")
        await asyncio.to_thread(sys.stdin.readline)
    await session.close()
    return 0


def libtorrent(torrent: Path, folder: Path, is_seed: bool) -> None:
    """The same with libtorrent."""
    session = _session()
    parameters = lt.load_torrent_file(str(torrent))
    parameters.save_path = str(folder)
    if is_seed:
        parameters.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(parameters)
    while not session.listen_port():
        time.sleep(0.01)
    _tell(str(session.listen_port()))
    line = sys.stdin.readline()
    if not is_seed:
        handle.connect_peer((HERE, int(line)))
        while not handle.status().is_seeding:
            time.sleep(0.01)
        _tell("done")
        sys.stdin.readline()


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# The measurement.


def pair(seed: str, leecher: str, base: Path, size: int) -> dict[str, float]:
    """Run one seed and one leecher, and return the figures."""
    out = base / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    giver = _spawn(seed, "seed", base / "t.torrent", base / "seed")
    taker = _spawn(leecher, "leech", base / "t.torrent", out)
    port = _line(giver)
    _line(taker)
    before = _cpu_s(taker.pid), _cpu_s(giver.pid)
    began = time.monotonic()
    _write(taker, port)
    _line(taker)
    seconds = time.monotonic() - began
    after = _cpu_s(taker.pid), _cpu_s(giver.pid)
    taking = after[0] - before[0], _end(taker)
    giving = after[1] - before[1], _end(giver)
    if (out / "data.bin").stat().st_size != size:
        raise RuntimeError(f"{leecher} did not finish")
    return {
        "mb_per_s": size / 1e6 / seconds,
        "leecher_cpu_s_per_gib": taking[0] / size * GIB,
        "seed_cpu_s_per_gib": giving[0] / size * GIB,
        "leecher_rss_mb": taking[1],
        "seed_rss_mb": giving[1],
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
    seed = _session()
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


def _session() -> lt.session:
    return lt.session(
        {
            "listen_interfaces": f"{HERE}:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "alert_mask": 0,
        }
    )


def _spawn(client: str, role: str, torrent: Path, folder: Path) -> subprocess.Popen[bytes]:
    words = ["--role", role, "--client", client, "--torrent", str(torrent), "--data", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.torrent", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _line(process: subprocess.Popen[bytes]) -> str:
    if process.stdout is None:
        raise RuntimeError("no pipe")
    return process.stdout.readline().decode().strip()


def _write(process: subprocess.Popen[bytes], line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()


def _end(process: subprocess.Popen[bytes]) -> float:
    """Let a process end; returns its largest memory, MB."""
    _write(process, "")
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_maxrss / 1024


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far, user and system, all threads (Linux: /proc)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def run(base: Path, size: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Measure every pair, in turn, so that whatever the machine does hits all alike."""
    make(base, size)
    measures: dict[str, Callable[[], dict[str, float]]] = {
        "ours to ours": lambda: pair("ours", "ours", base, size),
        "libtorrent to libtorrent": lambda: pair("libtorrent", "libtorrent", base, size),
        "libtorrent to ours": lambda: pair("libtorrent", "ours", base, size),
        "ours to libtorrent": lambda: pair("ours", "libtorrent", base, size),
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
    """Measure, or play one role of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="storage to measure on; none: a temporary one")
    parser.add_argument("--mib", type=int, default=1024, help="size of the torrent")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    for name in ("role", "client", "torrent", "data"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.role:
        torrent, folder, is_seed = Path(words.torrent), Path(words.data), words.role == "seed"
        if words.client == "ours":
            run_to_end(ours(Metainfo.parse(torrent.read_bytes()), folder, is_seed))
        else:
            libtorrent(torrent, folder, is_seed)
        return
    with tempfile.TemporaryDirectory(dir=words.folder, prefix="livestream-bench-") as name:
        results = run(Path(name), words.mib << 20, words.rounds)
    best = {title: max(row["mb_per_s"] for row in rows) for title, rows in results.items()}
    theirs = best["libtorrent to libtorrent"]
    for title, speed in best.items():
        sys.stdout.write(f"best of {words.rounds}, {title}: {speed:.0f} MB/s, "
                         f"{speed / theirs:.2f} times libtorrent's\n")  # fmt: skip
    if words.json is not None:
        words.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
