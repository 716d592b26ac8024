"""Two hosts on a cable, as network namespaces, and firewalls that drop UDP.

Works for root, and for anybody where user namespaces are allowed. Nothing is left behind: a
namespace ends with the last process in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

CABLE = "cable0"


@dataclass(frozen=True)
class Host:
    """One end of the cable."""

    address: str
    _holder: int
    "A process in its namespace."

    @property
    def prefix(self) -> list[str]:
        """What makes a command run here."""
        return _inside(self._holder)

    def run(self, *words: str) -> None:
        """Run a command here to its end."""
        subprocess.run([*self.prefix, *words], check=True)

    def drop_udp(self, *hooks: str) -> None:
        """From now on, datagrams that come ("input") or go ("output") are dropped by nftables."""
        self.run(sys.executable, "-m", "tests.e2e.nftables", *hooks)


def _inside(holder: int) -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    return ["nsenter", "--target", str(holder), "--net", *user, "--"]


@contextmanager
def _namespace(prefix: Sequence[str]) -> Iterator[int]:
    command = [*prefix, "sh", "-c", "echo; exec sleep 600"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n", "no namespace can be made here"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Make two hosts that reach each other and nobody else."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    with (
        _namespace(["unshare", *user, "--net", "--"]) as first,
        _namespace([*_inside(first), "unshare", "--net", "--"]) as second,
    ):
        hosts = Host("198.18.0.1", first), Host("198.18.0.2", second)  # RFC 2544: for tests.
        peer = ["peer", "name", CABLE, "netns", str(second)]
        hosts[0].run("ip", "link", "add", CABLE, "type", "veth", *peer)
        for host in hosts:
            host.run("ip", "address", "add", f"{host.address}/24", "dev", CABLE)
            host.run("ip", "link", "set", "lo", "up")
            host.run("ip", "link", "set", CABLE, "up")
        yield hosts
