"""A capped download: as fast as allowed and no faster, from whomever the bytes come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from livestream.config import Transport
from livestream.machine import SECOND
from livestream.runtime.clock import Clock
from livestream.runtime.throttle import Throttle
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import HERE, contents, make_data, make_torrent
from tests.runtime.webserver import FileServer, serving

TIMEOUT_S = 40


class VirtualClock(Clock):
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.at_us = 0
        super().__init__()

    def now(self) -> int:
        """Return the time that it was set to."""
        return self.at_us


def read_for(seconds: float, throttle: Throttle, clock: VirtualClock, late_us: int) -> int:
    """Read whenever there are tokens, woken up late by so much; returns the bytes."""
    total = 0
    while clock.at_us < seconds * SECOND:
        while throttle.has_tokens(clock.now()):
            throttle.take(throttle.share_bytes, clock.now())
            total += throttle.share_bytes
        clock.at_us += int(throttle.wait_s() * SECOND) + late_us
    return total


def test_the_rate_holds_within_5_percent_over_10_seconds_at_any_rate() -> None:
    for rate_bps in (1_000_000, 10_000_000, 1_000_000_000):
        for late_us in (1, 5_000, 100_000):
            clock = VirtualClock()
            throttle = Throttle(rate_bps / 8, clock)
            total = read_for(10, throttle, clock, late_us)
            assert abs(total / (10 * rate_bps / 8) - 1) < 0.05, (rate_bps, late_us)


def test_a_slow_cap_gives_a_whole_block_at_a_time() -> None:
    assert Throttle(1_000, VirtualClock()).share_bytes > 16 * 1024


async def _download(
    folder: Path, metainfo: Metainfo, seeds: Sequence[Transport], rate_bps: int
) -> list[int]:
    """Download from seeds that speak these; fails if more came than a cap allows.

    Returns how much each seed sent.
    """
    sessions = [TorrentSession(transport=transport) for transport in seeds]
    leech = TorrentSession(download_bps=rate_bps)
    try:
        addresses = [await session.open(HERE) for session in sessions]
        for session in sessions:
            await session.add(metainfo, TorrentOptions(folder / "seed"))
        await leech.open(HERE)
        began = leech.clock.now()
        torrent = await leech.add(metainfo, TorrentOptions(folder / "out", peers=tuple(addresses)))
        await asyncio.wait_for(torrent.completed.wait(), TIMEOUT_S)
        elapsed_us = leech.clock.now() - began
        allowed = rate_bps / 8 * (elapsed_us / SECOND + 0.5)
        assert leech.bytes_in <= allowed + 256 * 1024
        assert leech.bytes_in >= metainfo.length
        return [session.bytes_out for session in sessions]
    finally:
        for session in (leech, *sessions):
            await session.close()


@pytest.mark.parametrize(
    "seeds",
    [[Transport.TCP] * 3, [Transport.UTP] * 3, [Transport.TCP, Transport.UTP]],
    ids=["tcp", "utp", "both"],
)
def test_a_capped_download_from_several_peers_comes_to_its_end(
    tmp_path: Path, seeds: list[Transport]
) -> None:
    data = make_data(tmp_path / "seed", is_single=True)
    metainfo = Metainfo.parse(make_torrent(data, Version.V1))
    given = asyncio.run(_download(tmp_path, metainfo, seeds, 8_000_000))
    assert contents(tmp_path / "out" / data.name) == contents(data)
    assert sum(given) >= metainfo.length
    # Not how large a share: it all takes a second, and one may be connected late.
    assert min(given) > metainfo.length / 50, "whoever has something to give has a share"


def test_the_cap_counts_web_seeds_too(tmp_path: Path) -> None:
    data = make_data(tmp_path / "seed", is_single=True)

    async def main() -> None:
        async with serving(FileServer(data.parent)) as url:
            bare = Metainfo.parse(make_torrent(data, Version.V1))
            metainfo = Metainfo.from_info(bare.info, web_seeds=(url + data.name,))
            await _download(tmp_path, metainfo, [], 8_000_000)

    asyncio.run(main())
    assert contents(tmp_path / "out" / data.name) == contents(data)
