"""What a magnet leaves out, from its peers: metadata and piece layers (`MagnetFetch`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, TypeVar

from livestream.discovery.tiers import Tier
from livestream.errors import NotFoundError
from livestream.machine import Address
from livestream.runtime.http import TrackerClient
from livestream.runtime.torrent import TorrentHost
from livestream.swarm.hashes import HashFetch
from livestream.swarm.metadata import MetadataFetch
from livestream.swarm.seekers import SeekerSwarm
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo

__all__ = ["MagnetFetch", "tracker_failure"]

FAILURES_SHOWN: Final = 2

_T = TypeVar("_T")


class MagnetFetch:
    """One search for a torrent's metadata, in a swarm that is on a node already."""

    def __init__(
        self, magnet: Magnet, swarm: SeekerSwarm, tiers: Sequence[Tier], host: TorrentHost
    ) -> None:
        self._magnet = magnet
        self._swarm = swarm
        self._tiers = tiers
        self._host = host

    async def run(self, timeout_s: float) -> Metainfo:
        """Ask until all is here.

        Raises:
            NotFoundError: nobody gave it within the time.
            MetainfoError: it is genuine, and cannot be used.
        """
        found: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        hashes = self._magnet.info_hash_v1, self._magnet.info_hash_v2
        self._swarm.speak(MetadataFetch(hashes, partial(_resolve, found), self._swarm.ban))
        client = TrackerClient(self._tiers, self._host.clock, self._learn)
        announcing = asyncio.create_task(client.run())
        try:
            async with asyncio.timeout(timeout_s):
                return await self._complete(await found)
        except TimeoutError:
            what = "metadata" if found.cancelled() else "piece hashes"
            raise NotFoundError(self._explain(what, timeout_s)) from None
        finally:
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)

    @property
    def note(self) -> str:
        """What it is doing, or why nobody answers."""
        count = len(self._swarm.ready)
        if count:
            return f"asking {count} peers what it is"
        failure = tracker_failure(self._tiers)
        return f"no peers to ask what it is: {failure}" if failure else "looking for peers"

    async def _complete(self, info: bytes) -> Metainfo:
        """Make a torrent of its metadata; get a v2 torrent's piece layers from its peers."""
        magnet = self._magnet
        trackers = [[url] for url in magnet.trackers]
        metainfo = await asyncio.to_thread(
            Metainfo.from_info, info, trackers, web_seeds=magnet.web_seeds
        )
        if magnet.info_hash_v1 or not metainfo.layers_missing:
            return metainfo
        found: asyncio.Future[dict[bytes, bytes]] = asyncio.get_running_loop().create_future()
        counts, base = metainfo.layers_missing, metainfo.layer_base
        fetch = HashFetch(counts, base, partial(_resolve, found), self._swarm.ban)
        self._swarm.seek(fetch, self._host.clock.now())
        self._host.pump()
        layers = await found
        return await asyncio.to_thread(
            Metainfo.from_info, info, metainfo.trackers, layers, metainfo.web_seeds
        )

    def _learn(self, addresses: list[Address]) -> None:
        self._host.add_candidates(self._swarm, addresses)

    def _explain(self, what: str, timeout_s: float) -> str:
        name = self._magnet.info_hash.hex()
        failure = tracker_failure(self._tiers)
        if failure:
            hint = f"Its trackers do not answer: {failure}."
        elif self._tiers:
            hint = f"Its trackers answer; {len(self._swarm.ready)} peers are connected."
        else:
            hint = "It names no tracker: --tracker URL names one."
        return (
            f"Nobody gave the {what} of {name} within {timeout_s:.0f} s. {hint} "
            "--peer HOST:PORT names a peer."
        )


def tracker_failure(tiers: Sequence[Tier]) -> str:
    """Return why no tracker answers, for people; empty when one does, or none was asked yet."""
    if not tiers or not all(tier.failure for tier in tiers):
        return ""
    shown = [f"{tier.announcers[0].url}: {tier.failure}" for tier in tiers[:FAILURES_SHOWN]]
    more = len(tiers) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _resolve(future: asyncio.Future[_T], result: _T) -> None:
    """Hand over a result, unless nobody waits for it any more: the time may just be over."""
    if not future.done():
        future.set_result(result)
