"""One transfer between two processes, and what it cost each of them (Linux: /proc).

Each process is told on stdin what to do next, and says on stdout when it has: the sender its port,
the receiver that it is ready, then, once told the port, how many bytes came in how many seconds,
and maybe for how long nothing came.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

__all__ = ["Transfer", "Worker", "listen", "say", "transfer"]

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
STOP_TIMEOUT_S: Final = 10.0
GB: Final = 1e9


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one transfer took. Starting the processes and hashing what is there are not in it."""

    size: int
    "Bytes of payload that came."
    seconds: float
    sender_cpu_s: float
    "User and system, all threads."
    receiver_cpu_s: float
    sender_rss_mb: float
    "The largest that it ever was, interpreter and libraries included."
    receiver_rss_mb: float
    overflows: int
    "Datagrams that this machine threw away since a UDP socket's receive buffer was full."
    others_cores: float
    "What everybody else on this machine used meanwhile: with more than a little, measure again."
    whole_s: float
    "From being told whom to call until all has come; `seconds` begin with the first block."

    def figures(self) -> dict[str, float]:
        """Return what is printed, by name."""
        return {
            "mb_per_s": self.size / 1e6 / self.seconds,
            "mb_per_s_from_call": self.size / 1e6 / self.whole_s,
            "sender_cpu_s_per_gb": self.sender_cpu_s / self.size * GB,
            "receiver_cpu_s_per_gb": self.receiver_cpu_s / self.size * GB,
            "sender_rss_mb": self.sender_rss_mb,
            "receiver_rss_mb": self.receiver_rss_mb,
            "overflows": self.overflows,
            "others_cores": self.others_cores,
        }


class Worker:
    """A Python process that plays one role of a measurement."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._process.kill()
        try:
            self._process.communicate(timeout=STOP_TIMEOUT_S)  # The end of stdin is its sign.
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def hear(self) -> str:
        """Return the next line that it says. Raises RuntimeError when it has ended instead."""
        if self._process.stdout is None:
            raise RuntimeError("no pipe")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended before it was done")
        return line.decode().strip()

    def tell(self, line: str) -> None:
        """Give it a line."""
        if self._process.stdin is None:
            raise RuntimeError("no pipe")
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def cpu_s(self) -> float:
        """Return the CPU seconds so far, user and system, all threads."""
        fields = self._read("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def rss_mb(self) -> float:
        """Return the largest memory so far."""
        # Not ru_maxrss, which begins with the memory of whoever started the process.
        lines = self._read("status").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def _read(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


def transfer(sender: tuple[str, ...], receiver: tuple[str, ...]) -> Transfer:
    """Start a sender and a receiver by their command lines, and measure one transfer.

    Raises RuntimeError when nothing came.
    """
    with Worker(*sender) as giver, Worker(*receiver) as taker:
        port = giver.hear()
        taker.hear()
        before = _Moment(giver, taker)
        taker.tell(port)
        size, seconds, *_ = taker.hear().split()
        after = _Moment(giver, taker)
        memory = giver.rss_mb(), taker.rss_mb()
    if not int(size):
        raise RuntimeError(f"nothing came in {float(seconds):.0f} s")
    sent, received = after.sender_s - before.sender_s, after.receiver_s - before.receiver_s
    others_s = after.all_s - before.all_s - sent - received
    return Transfer(
        int(size),
        float(seconds),
        sent,
        received,
        *memory,
        after.overflows - before.overflows,
        max(0.0, others_s) / (after.at_s - before.at_s),
        after.at_s - before.at_s,
    )


class _Moment:
    """The counters at the beginning or the end of a transfer."""

    def __init__(self, sender: Worker, receiver: Worker) -> None:
        self.at_s = time.monotonic()
        self.sender_s = sender.cpu_s()
        self.receiver_s = receiver.cpu_s()
        self.all_s = _all_cpu_s()
        self.overflows = _overflows()


def say(*words: object) -> None:
    """Tell the parent something, in a worker."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def listen() -> str:
    """Return what the parent says next, in a worker; nothing when it is time to end."""
    return sys.stdin.readline().strip()


def _all_cpu_s() -> float:
    """Return what all processes have used so far: user, nice and system."""
    fields = Path("/proc/stat").read_text().split(maxsplit=4)
    return sum(map(int, fields[1:4])) / TICKS_PER_SECOND


def _overflows() -> int:
    """Return RcvbufErrors of UDP over IPv4, of the whole machine."""
    names, values = (
        line.split()
        for line in Path("/proc/net/snmp").read_text().splitlines()
        if line.startswith("Udp:")
    )
    return int(values[names.index("RcvbufErrors")])
