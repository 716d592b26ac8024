"""libtorrent as a counterpart, and our own session, each until its torrent is complete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import libtorrent as lt

from livestream.config import Transport
from livestream.machine import Address
from livestream.runtime.hashing import find_files, hash_pieces
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.torrent.create import Version, lay_out, to_torrent
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo

PIECE_LENGTH = 32 * 1024
HERE = Address("127.0.0.1", 0)
TIMEOUT_S = 40
TICK_MS = 50  # How soon libtorrent goes on to what comes next; half a second by default.


def make_data(folder: Path, *, is_single: bool = False) -> Path:
    """Write files of odd sizes, the same each time; returns what to share."""
    rng = Random(7)
    folder.mkdir(parents=True)
    if is_single:
        path = folder / "one.bin"
        path.write_bytes(rng.randbytes(1_000_003))
        return path
    root = folder / "many"
    (root / "deep" / "er").mkdir(parents=True)
    for name, size in (
        ("a.bin", 300_001),
        ("b.txt", 5),
        ("empty", 0),
        ("deep/c.bin", 700_000),
        ("deep/er/ünïcode.bin", 32_768),
        ("z.bin", 16_384),
    ):
        (root / name).write_bytes(rng.randbytes(size))
    return root


def make_torrent(path: Path, version: Version, piece_length: int = PIECE_LENGTH) -> bytes:
    """Return a .torrent of a file or folder."""
    files, is_single = find_files(path)
    layout = lay_out(path.name, files, piece_length, version, is_single=is_single)
    return to_torrent(layout, hash_pieces(layout, path.parent, version), version)


def contents(path: Path) -> dict[str, bytes]:
    """Return every file below a path."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {
        str(inner.relative_to(path)): inner.read_bytes()
        for inner in sorted(path.rglob("*"))
        if inner.is_file()
    }


class Libtorrent:
    """One libtorrent session that speaks TCP, or µTP, on loopback only."""

    def __init__(self, transport: Transport = Transport.TCP) -> None:
        is_utp = transport is Transport.UTP
        self.session = lt.session(
            {
                "listen_interfaces": "127.0.0.1:0",
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "enable_outgoing_utp": is_utp,
                "enable_incoming_utp": is_utp,
                "enable_outgoing_tcp": not is_utp,
                "enable_incoming_tcp": not is_utp,
                "allow_multiple_connections_per_ip": True,
                "tick_interval": TICK_MS,
                "alert_mask": lt.alert.category_t.storage_notification,
            }
        )
        self.handle: lt.torrent_handle | None = None

    @property
    def address(self) -> Address:
        """Where it listens."""
        until = time.monotonic() + TIMEOUT_S
        while not self.session.listen_port():
            assert time.monotonic() < until
            time.sleep(0.01)
        return Address("127.0.0.1", self.session.listen_port())

    def add(
        self,
        source: bytes | str,
        folder: Path,
        tracker: str = "",
        peers: Sequence[Address] = (),
    ) -> None:
        """Take part in a torrent, named by its file's bytes or a magnet link.

        It calls these peers at once. Whom it learns of later, it calls within a second.
        """
        if isinstance(source, str):
            parameters = lt.parse_magnet_uri(source)
        else:
            parameters = lt.load_torrent_buffer(source)
        parameters.save_path = str(folder)
        parameters.trackers = [tracker] if tracker else []
        parameters.peers = [(peer.host, peer.port) for peer in peers]
        self.handle = self.session.add_torrent(parameters)

    def has_all(self) -> bool:
        """Whether its torrent is complete."""
        assert self.handle is not None
        return bool(self.handle.status().is_seeding)

    def peers(self) -> list[lt.peer_info]:
        """Return what it knows of its peers."""
        assert self.handle is not None
        return list(self.handle.get_peer_info())

    def wait_complete(self) -> None:
        """Wait until its torrent is complete."""
        until = time.monotonic() + TIMEOUT_S
        while not self.has_all():
            assert time.monotonic() < until, "libtorrent did not complete"
            time.sleep(0.02)
        assert self.handle is not None
        self.handle.flush_cache()  # It seeds what it has not written yet.
        while not any(isinstance(a, lt.cache_flushed_alert) for a in self.session.pop_alerts()):
            assert time.monotonic() < until, "libtorrent did not write"
            self.session.wait_for_alert(20)

    def close(self) -> None:
        """Leave."""
        self.session.pause()


@contextmanager
def libtorrent(transport: Transport = Transport.TCP) -> Iterator[Libtorrent]:
    """Run a libtorrent session."""
    peer = Libtorrent(transport)
    try:
        yield peer
    finally:
        peer.close()


async def download(
    source: bytes | str,
    folder: Path,
    peer: Address,
    transport: Transport | None = None,
    download_bps: int | None = None,
) -> Metainfo:
    """Download with our own session from one peer; returns what it was."""
    session = TorrentSession(transport=transport, download_bps=download_bps)
    await session.open(HERE)
    try:
        options = TorrentOptions(folder, peers=(peer,))
        if isinstance(source, str):
            metainfo = await session.fetch(Magnet.parse(source), options, TIMEOUT_S)
        else:
            metainfo = Metainfo.parse(source)
        torrent = await session.add(metainfo, options)
        await asyncio.wait_for(torrent.completed.wait(), TIMEOUT_S)
        assert torrent.swarm.stats.pieces_rejected == 0
    finally:
        await session.close()
    return metainfo


async def seed_until(
    torrent: bytes, folder: Path, out: Path, link: str = "", transport: Transport | None = None
) -> None:
    """Seed with our own session until libtorrent has it all, from the .torrent or a magnet link."""
    session = TorrentSession(transport=transport)
    address = await session.open(HERE)
    try:
        seed = await session.add(Metainfo.parse(torrent), TorrentOptions(folder))
        assert seed.store.held.is_full
        with libtorrent(transport or Transport.TCP) as leecher:
            leecher.add(link or torrent, out, peers=[address])
            await asyncio.to_thread(leecher.wait_complete)
    finally:
        await session.close()
