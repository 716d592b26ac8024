"""Links that carry less than Ethernet does: what is too long for one of them harms nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from livestream.torrent.create import Version
from tests.e2e.hosts import CABLE, Host, two_hosts
from tests.e2e.test_transports import channel, transport, viewer
from tests.e2e.test_watch import environment, latest, received_until
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


@pytest.mark.parametrize("is_own", [True, False])
def test_a_channel_goes_over_quic_through_a_tunnel(tmp_path: Path, *, is_own: bool) -> None:
    """IPv6's smallest MTU: what is longer is refused by the own interface, or lost on the way."""
    only = ["--transport", "quic"]
    with two_hosts() as (here, there):
        narrow(1_280, *([here, there] if is_own else [there]))
        at = ["--listen", f"{here.address}:0", *only]
        with (
            channel(tmp_path, *at, prefix=here.prefix) as link,
            viewer(tmp_path, link, *only, prefix=there.prefix) as stats,
        ):
            received_until(stats, 60)
            assert latest(stats)["start_s"] < 3
            assert latest(stats)["pieces_rejected"] == 0


def test_a_channel_goes_on_where_large_datagrams_begin_to_vanish(tmp_path: Path) -> None:
    with two_hosts() as (here, there):
        at = ["--listen", f"{here.address}:0"]
        with (
            channel(tmp_path, *at, prefix=here.prefix) as link,
            viewer(tmp_path, link, prefix=there.prefix) as stats,
        ):
            received_until(stats, 30)
            late = latest(stats)["pieces_late"]
            narrow(1_280, there)
            received_until(stats, latest(stats)["pieces_received"] + 90)
            assert transport(stats) == "quic"
            assert latest(stats)["pieces_late"] - late < 30, "a second at most"
