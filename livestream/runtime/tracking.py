"""The tracker command: one state behind an HTTP and a UDP port of the same number."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from random import SystemRandom

from livestream.discovery.tracker import TrackerState
from livestream.discovery.udp_tracker import UdpTrackerServer
from livestream.errors import NetworkError, UsageError
from livestream.machine import Address
from livestream.runtime.address import reachable_host
from livestream.runtime.clock import Clock
from livestream.runtime.report import Report
from livestream.runtime.tracker import HttpTracker
from livestream.runtime.udp_tracker import serve_udp

__all__ = ["run"]


async def run(listen: Address, allow_file: str | None, *, is_quiet: bool) -> int:
    """Serve until a signal. SIGHUP reads the list of allowed torrents again.

    Raises:
        UsageError: the list cannot be read, or a line of it is no info-hash.
        NetworkError: the port is taken.
    """
    clock, rng = Clock(), SystemRandom()
    state = TrackerState(rng, _read(allow_file))
    http = HttpTracker(state, clock.now)
    bound = await http.start(listen.host, listen.port)
    try:
        transport = await serve_udp(UdpTrackerServer(state, rng), bound, clock)
    except NetworkError:
        await http.stop()
        raise
    report = Report(None, is_quiet=is_quiet)

    def read_again() -> None:
        try:
            state.allowed = _read(allow_file)
        except UsageError as error:
            report.say(f"livestream: {error} The old list stays.")

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, read_again)
    here = Address(reachable_host(bound.host), bound.port)
    sys.stdout.write(f"http://{here}/announce\nudp://{here}\n")
    sys.stdout.flush()
    try:
        await asyncio.Event().wait()
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        transport.close()
        await http.stop()
    return 0


def _read(allow_file: str | None) -> frozenset[bytes] | None:
    if allow_file is None:
        return None
    try:
        lines = Path(allow_file).read_text().split()
        hashes = frozenset(bytes.fromhex(line) for line in lines)
    except OSError as error:
        raise UsageError(f"{allow_file}: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"{allow_file}: a line is no info-hash in hex.") from error
    if any(len(each) != 20 for each in hashes):
        raise UsageError(f"{allow_file}: an info-hash has 40 hex digits.")
    return hashes
