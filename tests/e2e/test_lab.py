"""The emulated link of `benchmarks.lab` with real TCP on it (root, /dev/net/tun)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks.lab import Lab, Side, mean_queue_us, rate_bps

pytestmark = [pytest.mark.e2e, pytest.mark.long]

FLOW = [sys.executable, "-m", "benchmarks.flow"]
PORT = 5001
RATE_BPS = 20_000_000


CONNECT = """
import socket, sys, time
began = time.monotonic()
socket.create_connection((sys.argv[1], int(sys.argv[2])))
print(time.monotonic() - began)
"""


def lab(rate_bps: int = RATE_BPS, delay_us: int = 25_000, loss: float = 0.0) -> Lab:
    return Lab(rate_bps=rate_bps, delay_us=delay_us, queue_us=200_000, loss=loss)


def start(link: Lab) -> list[int]:
    """Start a TCP flow; returns the processes."""
    processes = [link.spawn(Side.RIGHT, [*FLOW, "receive", "tcp", str(PORT)])]
    assert processes[0].stdout is not None
    assert processes[0].stdout.readline()
    processes.append(link.spawn(Side.LEFT, [*FLOW, "send", "tcp", Side.RIGHT.value, str(PORT)]))
    assert processes[1].stdout is not None
    assert processes[1].stdout.readline()
    return [process.pid for process in processes]


def test_tcp_fills_the_link_and_its_queue_and_no_more() -> None:
    with lab() as link:
        start(link)
        time.sleep(6)
        rows = link.samples()
    assert rate_bps(rows, 3_000_000, 6_000_000, PORT) == pytest.approx(RATE_BPS, rel=0.02)
    assert mean_queue_us(rows, 4_000_000, 6_000_000) > 50_000
    assert max(row.queue_us for row in rows) < 202_000


def test_random_loss_is_as_frequent_as_wanted() -> None:
    with lab(loss=0.02, rate_bps=5_000_000, delay_us=1_000) as link:
        start(link)
        time.sleep(5)
        last = link.samples()[-1]
    packets = last.delivered / 1500 + last.dropped
    assert 0.01 < last.dropped / packets < 0.03


def test_the_delay_is_one_way() -> None:
    with lab(delay_us=40_000) as link:
        taker = link.spawn(Side.RIGHT, [*FLOW, "receive", "tcp", str(PORT)])
        assert taker.stdout is not None
        assert taker.stdout.readline()
        caller = link.spawn(Side.LEFT, [sys.executable, "-c", CONNECT, Side.RIGHT.value, str(PORT)])
        assert caller.stdout is not None
        assert 0.080 <= float(caller.stdout.readline()) < 0.100


def fail_inside(pids: list[int]) -> None:
    with lab() as link:
        pids += start(link)
        raise KeyboardInterrupt


def test_nothing_is_left_when_the_block_is_left_by_an_error() -> None:
    pids: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        fail_inside(pids)
    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
