"""Real channels over TCP and µTP: by choice, and by themselves where a firewall drops UDP."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.hosts import two_hosts
from tests.e2e.test_watch import HERE, codecs, environment, latest, received_until
from tests.processes import end

pytestmark = pytest.mark.e2e

SMALL = ["--size", "320x180", "--fps", "15", "--bitrate", "300k"]
FALLBACK_S = 8.0  # 5 s, what statistics come late, and what a busy machine takes to start a call.
COMMAND = [sys.executable, "-m", "livestream"]


@contextmanager
def channel(folder: Path, *words: str, prefix: Sequence[str] = ()) -> Iterator[str]:
    """Publish a small test picture; yields the link."""
    process = subprocess.Popen(
        [*prefix, *COMMAND, "publish", "test", *SMALL, *words, "-q"],
        stdout=subprocess.PIPE,
        env=environment(folder),
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
    finally:
        end(process)


@contextmanager
def viewer(folder: Path, link: str, *words: str, prefix: Sequence[str] = ()) -> Iterator[Path]:
    """Watch into `out.ts`; yields the file of its statistics."""
    stats = folder / "stats.json"
    words = ("-o", str(folder / "out.ts"), "--stats", str(stats), "-q", *words)
    process = subprocess.Popen([*prefix, *COMMAND, "watch", link, *words], env=environment(folder))
    try:
        yield stats
    finally:
        end(process)


def transport(stats: Path) -> object:
    return latest(stats)["transport"]


@pytest.mark.parametrize("name", ["tcp", "utp"])
def test_a_channel_goes_over_one_transport_alone_when_that_is_asked_for(
    tmp_path: Path, name: str
) -> None:
    only = ["--transport", name, "--listen", HERE]
    published = tmp_path / "published.json"
    with (
        channel(tmp_path, *only, "--stats", str(published)) as link,
        viewer(tmp_path, link, *only) as stats,
    ):
        received_until(stats, 60)
        assert transport(stats) == name
        assert transport(published) == name
        assert latest(published)["wire_bytes_out"] > latest(stats)["payload_bytes"] / 2
        assert latest(published)["up_bps"] > 50_000
    assert codecs(tmp_path / "out.ts") == ["aac", "h264"]


@pytest.mark.parametrize("hook", ["input", "output"])
def test_a_viewer_behind_a_firewall_that_drops_udp_plays_over_tcp(
    tmp_path: Path, hook: str
) -> None:
    with two_hosts() as (here, there):
        there.drop_udp(hook)
        at_home = {"prefix": here.prefix}
        with (
            channel(tmp_path, "--listen", f"{here.address}:0", **at_home) as link,
            viewer(tmp_path, link, prefix=there.prefix) as stats,
        ):
            received_until(stats, 60)
            assert transport(stats) == "tcp"
            assert latest(stats)["pieces_rejected"] == 0
    assert codecs(tmp_path / "out.ts") == ["aac", "h264"]


@pytest.mark.parametrize(
    "hooks",
    [
        pytest.param(["input"], marks=pytest.mark.long),
        pytest.param(["output"], marks=pytest.mark.long),
        ["input", "output"],
    ],
)
def test_a_viewer_goes_on_over_tcp_when_a_firewall_begins_to_drop_udp(
    tmp_path: Path, hooks: list[str]
) -> None:
    """What is dropped on its way out its sender is told of, as an error of the socket."""
    with two_hosts() as (here, there):
        at_home = {"prefix": here.prefix}
        with (
            channel(tmp_path, "--listen", f"{here.address}:0", **at_home) as link,
            viewer(tmp_path, link, prefix=there.prefix) as stats,
        ):
            received_until(stats, 30)
            assert transport(stats) == "quic"
            here.drop_udp(*hooks)
            there.drop_udp(*hooks)
            blocked_at = time.monotonic()
            while transport(stats) != "tcp":
                assert time.monotonic() - blocked_at <= FALLBACK_S, "still not over TCP"
                time.sleep(0.1)
            received_until(stats, latest(stats)["pieces_received"] + 150)
            assert transport(stats) == "tcp"
