"""How long a large torrent takes to start; `python -m benchmarks.start`.

10,000 files of 10 pieces each, all here and known to be: from the start of the process until it
listens and knows what it has. Ours (`seed` and `download`, with the record of an earlier run)
beside libtorrent with its resume data, in turn. The files are sparse but for their first bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import libtorrent as lt

from livestream.runtime.hashing import find_files, hash_pieces
from livestream.torrent.create import Version, lay_out, to_torrent

HERE: Final = "127.0.0.1:0"
PIECE_LENGTH: Final = 16 * 1024
PIECES_EACH: Final = 10
READY: Final = "pieces are here"


def make(base: Path, files: int, version: Version) -> Path:
    """Write the files and their torrent; returns the torrent."""
    root = base / "data" / "many"
    for number in range(files):
        folder = root / f"{number // 100:03}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"file {number:05}.bin").open("wb") as file:
            file.write(number.to_bytes(8, "big"))
            file.truncate(PIECES_EACH * PIECE_LENGTH)
    listed, is_single = find_files(root)
    layout = lay_out(root.name, listed, PIECE_LENGTH, version, is_single=is_single)
    path = base / "t.torrent"
    path.write_bytes(to_torrent(layout, hash_pieces(layout, root.parent, version), version))
    return path


def ours(base: Path, command: str) -> float:
    """Start one of our commands, and return the seconds until it is ready."""
    folder = "--data" if command == "seed" else "-o"
    words = [command, str(base / "t.torrent"), folder, str(base / "data"), "--listen", HERE]
    words += ["--seed-time", "1h"]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "livestream", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "LIVESTREAM_DATA_DIR": str(base / "home")},
    )
    return _until(process, began)


def theirs(base: Path) -> float:
    """The same with libtorrent."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.start", "--role", "libtorrent", "--base", str(base)],
        stderr=subprocess.PIPE,
        text=True,
    )
    return _until(process, began)


def _until(process: subprocess.Popen[str], began: float) -> float:
    assert process.stderr is not None
    line = next((line for line in process.stderr if READY in line), "")
    seconds = time.monotonic() - began
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    if not line:
        raise RuntimeError("it did not start")
    return seconds


def libtorrent(base: Path) -> None:
    """Add the torrent with the resume data of an earlier run, and wait until it is checked."""
    session = lt.session({"listen_interfaces": HERE, "enable_dht": False, "alert_mask": 0x40})
    record = base / "theirs.resume"
    torrent = lt.load_torrent_file(str(base / "t.torrent"))
    if record.exists():
        parameters = lt.read_resume_data(record.read_bytes())
        parameters.ti = torrent.ti
    else:
        parameters = torrent
    parameters.save_path = str(base / "data")
    handle = session.add_torrent(parameters)
    checking = (lt.torrent_status.checking_files, lt.torrent_status.checking_resume_data)
    while not session.listen_port() or handle.status().state in checking:
        time.sleep(0.001)
    if not record.exists():
        _save(session, handle, record)
    sys.stderr.write(f"{handle.status().num_pieces} {READY}\n")
    sys.stderr.flush()


def _save(session: lt.session, handle: lt.torrent_handle, record: Path) -> None:
    handle.save_resume_data(lt.torrent_handle.save_info_dict)
    while not record.exists():
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.save_resume_data_alert):
                record.write_bytes(lt.write_resume_data_buf(alert.params))


def run(base: Path, files: int, version: Version, rounds: int) -> dict[str, list[float]]:
    """Return seconds of each, a figure a round, after a first start that writes the records."""
    make(base, files, version)
    measures: dict[str, Callable[[], float]] = {
        "seed": lambda: ours(base, "seed"),
        "download": lambda: ours(base, "download"),
        "libtorrent": lambda: theirs(base),
    }
    for measure in measures.values():
        measure()
    results: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def main() -> None:
    """Measure, or play libtorrent's role in a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="storage to measure on; none: a temporary one")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--version", type=Version, choices=list(Version), default=Version.V1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.role:
        libtorrent(words.base)
        return
    with tempfile.TemporaryDirectory(dir=words.folder, prefix="livestream-bench-") as name:
        results = run(Path(name), words.files, words.version, words.rounds)
    reference = median(results["libtorrent"])
    for name, seconds in results.items():
        print(
            f"{name:10} {median(seconds):.2f} s, {median(seconds) / reference:.1f} x libtorrent's"
        )
    if words.json is not None:
        words.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
