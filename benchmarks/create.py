"""How fast `livestream create` hashes; `python -m benchmarks.create`.

Beside it, in the same rounds on the same file with the same piece size: hashlib alone, in a process
a core, which is the ceiling (SHA-1 of pieces for v1; for v2 SHA-256 of leaves of 16 KiB, and of the
tree above them; both for hybrids), and libtorrent's `set_piece_hashes`. Each is a process of its
own, timed from its start to its end, after one that left Python's modules compiled, as whoever
installs them finds them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha1, sha256
from pathlib import Path
from statistics import median
from typing import Final

import libtorrent as lt

from livestream.torrent.create import Version

LEAF_BYTES: Final = 16 * 1024
READ_BYTES: Final = 1 << 20
UNCOMPILED: Final = "PYTHONDONTWRITEBYTECODE"  # It makes each process compile what it imports.
FLAGS: Final = {
    Version.V1: lt.create_torrent.v1_only,
    Version.V2: lt.create_torrent.v2_only,
    Version.HYBRID: 0,
}


# The competitors, each in a process of its own.


def ceiling(path: Path, piece_length: int, version: Version) -> None:
    """Hash as many bytes as creating must, with nothing around it."""
    count = -(-path.stat().st_size // piece_length)
    workers = os.cpu_count() or 1
    children = []
    for k in range(workers):  # Not threads: those of v2 and hybrids get in each other's way.
        child = os.fork()
        if not child:
            _hash(path, range(k, count, workers), piece_length, version)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def _hash(path: Path, indexes: range, piece_length: int, version: Version) -> None:
    buffer = memoryview(bytearray(min(READ_BYTES, piece_length)))
    with path.open("rb", buffering=0) as file:
        for index in indexes:
            whole = sha1(usedforsecurity=False)
            for at in range(0, piece_length, len(buffer)):
                view = buffer[: os.preadv(file.fileno(), [buffer], index * piece_length + at)]
                if version is not Version.V2:
                    whole.update(view)
                if version is not Version.V1:
                    leaves = range(0, len(view), LEAF_BYTES)
                    _tree([sha256(view[leaf : leaf + LEAF_BYTES]).digest() for leaf in leaves])
            whole.digest()


def _tree(level: list[bytes]) -> None:
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [sha256(left + right).digest() for left, right in pairs]


def libtorrent(path: Path, piece_length: int, version: Version) -> None:
    """Let libtorrent make the torrent."""
    files = lt.list_files(str(path))
    torrent = lt.create_torrent(files, piece_length, FLAGS[version])
    lt.set_piece_hashes(torrent, str(path.parent))
    path.with_suffix(".theirs").write_bytes(lt.bencode(torrent.generate()))


# The measurement.


def run(path: Path, piece_length: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return MB/s of each, by version and competitor, a figure a round."""
    size = path.stat().st_size
    results: dict[str, dict[str, list[float]]] = {version.value: {} for version in Version}
    for command in _commands(path, piece_length, Version.V1).values():
        _time(command)
    for number in range(rounds):
        for version in Version:
            commands = _commands(path, piece_length, version)
            # In turn from another one each round: whatever the machine does hits all alike.
            names = list(commands)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                seconds = _time(commands[name])
                results[version.value].setdefault(name, []).append(size / 1e6 / seconds)
    return results


def _commands(path: Path, piece_length: int, version: Version) -> dict[str, list[str]]:
    here = [sys.executable, "-m", "benchmarks.create", "--path", str(path)]
    there = [*here, "--piece-length", str(piece_length), "--version", version.value, "--role"]
    output = str(path.with_suffix(".ours"))
    size = f"{piece_length >> 10}k" if piece_length < 1 << 20 else f"{piece_length >> 20}M"
    return {
        "ours": [
            sys.executable, "-m", "livestream", "create", str(path), "-o", output, "--force", "-q",
            f"--{version.value}", "--piece-size", size,
        ],
        "hashlib": [*there, "ceiling"],
        "libtorrent": [*there, "libtorrent"],
    }  # fmt: skip


def _time(command: Sequence[str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != UNCOMPILED}
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.monotonic() - began


def _show(results: dict[str, dict[str, list[float]]]) -> None:
    for version, figures in results.items():
        ours, hashlib, theirs = (figures[name] for name in ("ours", "hashlib", "libtorrent"))
        of_hashlib = median(a / b for a, b in zip(ours, hashlib, strict=True))
        of_theirs = median(a / b for a, b in zip(ours, theirs, strict=True))
        print(
            f"{version:6}  ours {median(ours):5.0f} MB/s  hashlib {median(hashlib):5.0f}  "
            f"libtorrent {median(theirs):5.0f}  ratios {of_hashlib:.2f} and {of_theirs:.2f}"
        )


def main() -> None:
    """Measure, or play one role of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="storage to measure on; none: a temporary one")
    parser.add_argument("--mib", type=int, default=2048, help="size of the file")
    parser.add_argument("--piece-length", type=int, default=1 << 20, help="bytes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    for name in ("role", "path", "version"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.role:
        work = ceiling if words.role == "ceiling" else libtorrent
        work(Path(words.path), words.piece_length, Version(words.version))
        return
    with tempfile.TemporaryDirectory(dir=words.folder, prefix="livestream-bench-") as name:
        path = Path(name) / "data.bin"
        with path.open("wb") as file:
            for _ in range(words.mib):
                file.write(os.urandom(1 << 20))
        results = run(path, words.piece_length, words.rounds)
    _show(results)
    if words.json is not None:
        words.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
