"""Clients of one torrent, each a process of its own: ours and libtorrent, over TCP or µTP.

Time counts from the first block: libtorrent first waits up to a second before it calls a peer.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import libtorrent as lt

from benchmarks.transfers import Transfer, listen, say, transfer
from livestream.config import Transport
from livestream.machine import Address
from livestream.runtime.loop import run_to_end
from livestream.runtime.torrents import Torrent, TorrentOptions, TorrentSession
from livestream.torrent.metainfo import Metainfo
from livestream.wire.image import BLOCK_BYTES

__all__ = ["HERE", "LIBTORRENT", "TUNED", "fetch"]

HERE: Final = "127.0.0.1"
LIMIT_S: Final = 180.0
POLL_S: Final = 0.01
STALL_POLL_S: Final = 0.1
ALONE: Final[lt.settings_pack] = {
    "listen_interfaces": f"{HERE}:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "alert_mask": 0,
}
NO_TCP: Final[lt.settings_pack] = {"enable_incoming_tcp": False, "enable_outgoing_tcp": False}
NO_UTP: Final[lt.settings_pack] = {"enable_incoming_utp": False, "enable_outgoing_utp": False}
# What makes libtorrent's µTP quicker here.
TUNED: Final[lt.settings_pack] = {
    "recv_socket_buffer_size": 4 << 20,
    "send_socket_buffer_size": 4 << 20,
    "utp_target_delay": 500,
    "aio_threads": 2,
    "hashing_threads": 1,
}
LIBTORRENT: Final[dict[str, lt.settings_pack]] = {
    "libtorrent-tcp": {**ALONE, **NO_UTP},
    "libtorrent-utp": {**ALONE, **NO_TCP, **TUNED},
    "libtorrent-utp-stock": {**ALONE, **NO_TCP},
}
OURS: Final = {"ours-tcp": "tcp", "ours-utp": "utp"}


def fetch(seed: str, leecher: str, base: Path, limit_s: float = LIMIT_S) -> Transfer:
    """Run one seed and one leecher of the torrent in a folder, for a limited time.

    Raises:
        RuntimeError: nothing came, or the leecher says that it is done and is not.
    """
    common = "-m", "benchmarks.clients", "--torrent", str(base / "t.torrent")
    giver = *common, "--client", seed, "--data", str(base / "seed"), "--seed"
    size = (base / "seed" / "data.bin").stat().st_size
    with tempfile.TemporaryDirectory(dir=base) as out:
        taker = *common, "--client", leecher, "--data", out, "--limit", str(limit_s)
        took = transfer(giver, taker)
        if took.size >= size and (Path(out) / "data.bin").stat().st_size != size:
            raise RuntimeError(f"{leecher} did not finish")
    return took


class _Stalls:
    """The longest time in which nothing came, once something had."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._size = 0
        self._at = time.monotonic()

    def note(self, size: int) -> None:
        """Say how much is here now."""
        now = time.monotonic()
        if self._size:
            self.longest_s = max(self.longest_s, now - self._at)
        if size != self._size:
            self._size, self._at = size, now


async def _watch(found: Torrent, stalls: _Stalls) -> None:
    while True:
        stalls.note(found.swarm.stats.payload_bytes)
        await asyncio.sleep(STALL_POLL_S)


async def _ours(
    transport: str, metainfo: Metainfo, folder: Path, limit_s: float, host: str, *, is_seed: bool
) -> int:
    """Seed until stdin ends, or download from the port, or address, that stdin names."""
    session = TorrentSession(transport=Transport(transport))
    address = await session.open(Address(host, 0))
    found = await session.add(metainfo, TorrentOptions(folder))
    say(address.port)
    line = await asyncio.to_thread(listen)
    if not is_seed and line:
        found.learn_peers([_address(line)])
        until = time.monotonic() + limit_s
        # Nobody is told of the first block, hence the polling.
        while _bytes_in(session) < BLOCK_BYTES and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        began = time.monotonic()
        stalls = _Stalls()
        watching = asyncio.create_task(_watch(found, stalls))
        with suppress(TimeoutError):
            await asyncio.wait_for(found.completed.wait(), limit_s)
        watching.cancel()
        say(metainfo.length - found.left_bytes, time.monotonic() - began, stalls.longest_s)
        await asyncio.to_thread(listen)
    await session.close()
    return 0


def _bytes_in(session: TorrentSession) -> int:
    return max(session.bytes_in, session.udp.stats.bytes_in)


def _address(line: str) -> Address:
    """Return what a port, or a host and a port, stand for."""
    host, _, port = line.rpartition(":")
    return Address(host or HERE, int(port))


def _libtorrent(
    client: str, torrent: Path, folder: Path, limit_s: float, host: str, *, is_seed: bool
) -> None:
    """The same with libtorrent."""
    session = lt.session({**LIBTORRENT[client], "listen_interfaces": f"{host}:0"})
    parameters = lt.load_torrent_file(str(torrent))
    parameters.save_path = str(folder)
    handle = session.add_torrent(parameters)
    # It hashes what is there now: with `seed_mode` it would during the transfer.
    while not session.listen_port() or (is_seed and not handle.status(0).is_seeding):
        time.sleep(POLL_S)
    say(session.listen_port())
    line = listen()
    if not is_seed and line:
        there = _address(line)
        handle.connect_peer((there.host, there.port))
        until = time.monotonic() + limit_s
        while not handle.status(0).total_payload_download and time.monotonic() < until:
            time.sleep(POLL_S)
        began = time.monotonic()
        stalls = _Stalls()
        while not (status := handle.status(0)).is_seeding and time.monotonic() - began < limit_s:
            stalls.note(status.total_payload_download)
            time.sleep(POLL_S)
        status = handle.status(lt.torrent_handle.query_accurate_download_counters)
        say(status.total_done, time.monotonic() - began, stalls.longest_s)
        listen()


def main() -> None:
    """Play one role of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", required=True, choices=[*OURS, *LIBTORRENT])
    parser.add_argument("--torrent", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds")
    parser.add_argument("--host", default=HERE, help="address to listen on")
    parser.add_argument("--seed", action="store_true")
    words = parser.parse_args()
    folder, limit_s, host, is_seed = words.data, words.limit, words.host, words.seed
    if words.client in OURS:
        metainfo = Metainfo.parse(words.torrent.read_bytes())
        run_to_end(_ours(OURS[words.client], metainfo, folder, limit_s, host, is_seed=is_seed))
    else:
        _libtorrent(words.client, words.torrent, folder, limit_s, host, is_seed=is_seed)


if __name__ == "__main__":
    main()
