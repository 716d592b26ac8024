"""Finds a torrent's peers through its trackers, and calls on each (`find_peers`, `visit_peers`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Final

from livestream.discovery.announce import TORRENT, Announcer
from livestream.discovery.tiers import make_tiers
from livestream.machine import SECOND, Address
from livestream.runtime.address import reason_of
from livestream.runtime.clock import Clock
from livestream.runtime.http import TrackerClient
from livestream.swarm.peer import CLIENT_PREFIX
from livestream.swarm.visit import Visit, VisitReport
from livestream.wire.messages import Handshake

__all__ = ["VISITS_MAX", "find_peers", "new_peer_id", "visit_peers"]

VISITS_MAX: Final = 50
FIND_TIMEOUT_S: Final = 15.0
# We listen nowhere, and trackers refuse announces without a port, or answer no peers to who says
# that it has stopped. Others are told of this port, which discards, for as long as an answer takes.
PORT: Final = 9
READ_BYTES: Final = 65_536


def new_peer_id(rng: Random) -> bytes:
    """Return a peer id for one round of visits."""
    return CLIENT_PREFIX + rng.randbytes(20 - len(CLIENT_PREFIX))


async def find_peers(
    tiers: Sequence[Sequence[str]], handshake: Handshake, trusted: Sequence[str], rng: Random
) -> list[Address]:
    """Ask the trackers for peers, and take leave of them again."""
    found: dict[Address, None] = {}

    def make(url: str) -> Announcer:
        return Announcer(
            url,
            handshake.info_hash,
            handshake.peer_id,
            PORT,
            pace=TORRENT,
            is_trusted=url in trusted,
        )

    made = make_tiers(tiers, make, rng)
    client = TrackerClient(made, Clock(), lambda peers: found.update(dict.fromkeys(peers)))
    await client.ask_once(FIND_TIMEOUT_S)
    return [address for address in found if address.port != PORT]  # Some trackers echo us.


async def visit_peers(
    addresses: Sequence[Address], handshake: Handshake, piece_count: int | None
) -> list[VisitReport]:
    """Call on at most VISITS_MAX peers, all at once, over TCP."""
    clock = Clock()
    visits = [
        Visit(address, handshake, piece_count, clock.now()) for address in addresses[:VISITS_MAX]
    ]
    await asyncio.gather(*(_visit(visit, clock) for visit in visits))
    return [visit.report for visit in visits]


async def _visit(visit: Visit, clock: Clock) -> None:
    limit_s = max(visit.get_timer() - clock.now(), 0) / SECOND
    try:
        await asyncio.wait_for(_talk(visit, clock), limit_s)
    except TimeoutError:
        visit.handle_timer(clock.now())
    except OSError as error:
        visit.lost(reason_of(error))


async def _talk(visit: Visit, clock: Clock) -> None:
    reader, writer = await asyncio.open_connection(*visit.report.address)
    try:
        visit.connected(clock.now())
        while not visit.is_over:
            writer.write(visit.data_to_send(clock.now()))
            data = await reader.read(READ_BYTES)
            if not data:
                visit.lost("it hangs up")
                return
            visit.receive_data(data, clock.now())
    finally:
        writer.transport.abort()
