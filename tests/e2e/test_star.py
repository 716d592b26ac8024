"""The emulated network of `benchmarks.star`, as UDP sockets see it (root, /dev/net/tun)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from benchmarks.router import HostSettings, RouterSettings, from_json, to_json
from benchmarks.star import Sample, Star
from livestream.sim.links import Path, Paths

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ADDRESSES = ("45.0.0.1", "45.0.1.1")
PAYLOAD_BYTES = 972
PACKET_BYTES = 1_000
PORT = 4000
SEED = 3

# Datagrams carry when they were sent, on a clock that all namespaces share.
RECEIVE = """
import json, socket, struct, sys, time
ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
ours.bind((sys.argv[1], int(sys.argv[2])))
print(flush=True)
ages = []
ours.settimeout(10)
while True:
    data, source = ours.recvfrom(65535)
    sent_at, = struct.unpack_from("d", data)
    ages.append((time.monotonic() - sent_at, source[0]))
    if sent_at == 0.0:
        break
    ours.settimeout(1)
print(json.dumps(ages[:-1]), flush=True)
"""
SEND = """
import socket, struct, sys, time
ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
there = sys.argv[1], int(sys.argv[2])
for _ in range(int(sys.argv[3])):
    ours.sendto(struct.pack("d", time.monotonic()).ljust(int(sys.argv[4])), there)
time.sleep(0.5)
for _ in range(50):
    ours.sendto(struct.pack("d", 0.0), there)
"""


def settings(path: Path, *, uplink_bps: int, downlink_bps: int | None = None) -> RouterSettings:
    hosts = (
        HostSettings(0, ADDRESSES[0], uplink_bps),
        HostSettings(1, ADDRESSES[1], uplink_bps, downlink_bps),
    )
    return RouterSettings(hosts, path, SEED)


@contextmanager
def receiver(star: Star) -> Iterator[subprocess.Popen[str]]:
    """Receive at host 1, until told that it was all."""
    words = [*star.inside(1), sys.executable, "-c", RECEIVE, ADDRESSES[1], str(PORT)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def exchange(what: RouterSettings, count: int) -> tuple[list[tuple[float, str]], Sample]:
    """Send datagrams from host 0 to host 1; returns their ages and sources, and the counters."""
    with Star(what) as star, receiver(star) as process:
        words = [ADDRESSES[1], str(PORT), str(count), str(PAYLOAD_BYTES)]
        subprocess.run([*star.inside(0), sys.executable, "-c", SEND, *words], check=True)
        assert process.stdout is not None
        ages = json.loads(process.stdout.readline())
        time.sleep(0.3)  # Counters are written five times a second.
        return ages, star.samples()[-1]


def test_a_pair_has_the_delay_that_the_simulator_gives_it() -> None:
    path = Path(delay_us_min=40_000, delay_us_max=400_000, jitter_us=0)
    base_us = Paths(path, SEED, Random(0)).base_delay_us(0, 1)
    ages, _ = exchange(settings(path, uplink_bps=1_000_000_000), 20)
    assert len(ages) == 20
    assert {source for _, source in ages} == {ADDRESSES[0]}
    assert base_us <= min(age for age, _ in ages) * 1e6 < base_us + 30_000


@pytest.mark.parametrize("narrow", ["uplink_bps", "downlink_bps"])
def test_a_line_gives_its_rate_and_drops_what_its_queue_does_not_hold(narrow: str) -> None:
    path = Path(delay_us_min=0, delay_us_max=0, jitter_us=0)
    rate = 1_000_000
    lines = {"uplink_bps": 1_000_000_000, "downlink_bps": 1_000_000_000, narrow: rate}
    ages, sample = exchange(settings(path, **lines), 60)
    # 300 ms of 1 Mbit/s: 37 packets, and the one that is under way.
    assert len(ages) in (37, 38)
    assert sum(host.dropped for host in sample.hosts.values()) == 60 - len(ages)
    took_s = len(ages) * PACKET_BYTES * 8 / rate
    assert max(age for age, _ in ages) == pytest.approx(took_s, rel=0.2)


def test_as_much_is_lost_as_wanted_and_every_byte_is_counted() -> None:
    path = Path(delay_us_min=1_000, delay_us_max=1_000, jitter_us=500, loss=0.1)
    ages, sample = exchange(settings(path, uplink_bps=1_000_000_000), 1_000)
    sender, taker = sample.hosts[0], sample.hosts[1]
    assert taker.received_from == {0: taker.received_bytes}
    ends_bytes = 28 + 8  # Of the datagrams that say that it was all.
    assert sender.sent_bytes == 1_000 * PACKET_BYTES + 50 * ends_bytes
    assert 850 <= len(ages) <= 950
    lost_bytes = sender.sent_bytes - taker.received_bytes
    assert (
        lost_bytes
        == (1_000 - len(ages)) * PACKET_BYTES + (sender.lost - (1_000 - len(ages))) * ends_bytes
    )


def test_an_uplink_that_was_told_another_rate_has_it_from_then_on() -> None:
    path = Path(delay_us_min=0, delay_us_max=0, jitter_us=0)
    with Star(settings(path, uplink_bps=1_000_000_000)) as star, receiver(star) as process:
        star.set_uplink(0, 1_000_000)
        time.sleep(0.2)
        words = [ADDRESSES[1], str(PORT), "30", str(PAYLOAD_BYTES)]
        subprocess.run([*star.inside(0), sys.executable, "-c", SEND, *words], check=True)
        assert process.stdout is not None
        ages = json.loads(process.stdout.readline())
    assert len(ages) == 30
    assert max(age for age, _ in ages) == pytest.approx(30 * PACKET_BYTES * 8e-6, rel=0.2)


def test_settings_reach_the_router_as_they_were_given() -> None:
    given = settings(Path(loss=0.1, loss_burst=3.0), uplink_bps=1_000, downlink_bps=2_000)
    assert from_json(to_json(given)) == given
