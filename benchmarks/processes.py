"""Publishers and viewers as processes, and what they cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["HERE", "Cost", "close", "publisher", "stats_of", "viewer", "wait_for", "whole_lines"]

HERE: Final = "127.0.0.1:0"
STOP_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 5.0
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Cost:
    """CPU between two moments, in cores: of a process, or of all there are (Linux: /proc)."""

    def __init__(self, pid: int | None) -> None:
        """Begin to count; None: everything on this machine."""
        self._pid = pid
        self._began = time.monotonic(), self._cpu_s()

    def cores(self) -> float:
        """Return the cores used since creation: 1.0 is one core, busy all the time."""
        began, cpu_s = self._began
        return (self._cpu_s() - cpu_s) / (time.monotonic() - began)

    def _cpu_s(self) -> float:
        if self._pid is None:
            numbers = Path("/proc/stat").read_text().split(maxsplit=8)[1:8]
            user, nice, system, _idle, _iowait, irq, softirq = map(int, numbers)
            return (user + nice + system + irq + softirq) / TICKS_PER_SECOND
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


@contextmanager
def publisher(
    folder: Path, *words: str, listen: str = HERE, inside: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a publisher; yields it and its link. `inside` is what makes a command run elsewhere."""
    process = _start(folder, inside, "publish", *words, "--listen", listen, "-q")
    try:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        yield process, process.stdout.readline().decode().strip()
    finally:
        _stop(process)


@contextmanager
def viewer(
    folder: Path, link: str, *words: str, listen: str = HERE, inside: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a viewer; what `-o -` gives is in its `stdout`."""
    process = _start(folder, inside, "watch", link, *words, "--listen", listen, "-q")
    try:
        yield process
    finally:
        _stop(process)


def stats_of(file: Path) -> list[dict[str, float]]:
    """Return the whole lines of a `--stats` file."""
    return [json.loads(line) for line in whole_lines(file)]


def whole_lines(file: Path) -> list[str]:
    """Return the lines of a file that somebody writes; not one that is half there."""
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [line for line in lines if line.endswith("\n")]


def close(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Close the pipes of a process, and wait for it to end; kill one that does not."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(CLOSE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(file: Path, rows: int, timeout_s: float = 30.0) -> None:
    """Wait until a `--stats` file has so many rows. Raises TimeoutError."""
    until = time.monotonic() + timeout_s
    while len(stats_of(file)) < rows:
        if time.monotonic() > until:
            raise TimeoutError(f"{file.name}: no {rows} rows within {timeout_s:.0f} s")
        time.sleep(0.05)


def _start(folder: Path, inside: Sequence[str], *words: str) -> subprocess.Popen[bytes]:
    # Compiled once, as what is installed is; else each start takes twice as long.
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        [*inside, sys.executable, "-m", "livestream", *words],
        stdout=subprocess.PIPE,
        env={**env, "LIVESTREAM_DATA_DIR": str(folder)},
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:  # Not by SIGINT, which is ignored where a shell began us with `&`.
        process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
