"""Links that carry less than Ethernet does: what is too long for one of them harms nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from livestream.torrent.create import Version
from tests.e2e.hosts import CABLE, Host, two_hosts
from tests.e2e.test_watch import environment
from tests.interop.peers import contents, make_data, make_torrent

pytestmark = pytest.mark.e2e

NARROW = [sys.executable, "-m", "tests.e2e.narrow"]


def narrow(mtu: int, *hosts: Host) -> None:
    """From now on the cable carries packets of so many bytes."""
    for host in hosts:
        host.run("ip", "link", "set", CABLE, "mtu", str(mtu))


def test_a_train_too_long_for_its_route_goes_in_parts_and_other_routes_keep_their_trains() -> None:
    with two_hosts() as (here, there):
        narrow(1_000, here, there)
        words = [*there.prefix, *NARROW, "echo", there.address]
        echo = subprocess.Popen(words, stdout=subprocess.PIPE)
        try:
            assert echo.stdout is not None
            assert echo.stdout.readline() == b"\n"
            words = [*here.prefix, *NARROW, "send", there.address]
            done = subprocess.run(words, capture_output=True, check=True, timeout=30)
        finally:
            echo.kill()
            echo.communicate()
    assert json.loads(done.stdout) == {
        "is_whole": True,
        "split": 1,
        "lost": 0,
        "probes_lost": 1,
        "last": "cut me up",
        "received": 21,
    }


@pytest.mark.parametrize("mtu", [1_000, 1_400])
def test_a_download_over_utp_alone_comes_through_a_narrow_link(tmp_path: Path, mtu: int) -> None:
    data = make_data(tmp_path / "seed", is_single=True)
    torrent = tmp_path / "one.torrent"
    torrent.write_bytes(make_torrent(data, Version.V1))
    only = ["--transport", "utp", "-q"]
    command = [sys.executable, "-m", "livestream"]
    with two_hosts() as (here, there):
        narrow(mtu, here, there)
        at = f"{here.address}:6881"
        words = ["seed", str(torrent), "--data", str(data.parent), "--listen", at, *only]
        home = environment(tmp_path / "here")
        seed = subprocess.Popen([*here.prefix, *command, *words], env=home)
        try:
            words = ["download", str(torrent), "-o", str(tmp_path / "out"), "--peer", at]
            away = environment(tmp_path / "there")
            words += ["--no-seed", *only]
            subprocess.run([*there.prefix, *command, *words], env=away, check=True, timeout=60)
        finally:
            seed.terminate()
            seed.wait(15)
    assert contents(tmp_path / "out" / data.name) == contents(data)
