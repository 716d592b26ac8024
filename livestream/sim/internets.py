"""What joins hosts: a model of the transport, or datagrams of the real ones (`Links`)."""

from __future__ import annotations

from enum import Enum

from livestream.config import Transport
from livestream.sim.host import Internet
from livestream.sim.links import Path
from livestream.sim.packets import PacketInternet
from livestream.sim.world import World

__all__ = ["Links", "make_internet"]


class Links(Enum):
    """How messages get from host to host."""

    MESSAGES = "messages"
    "As a model of QUIC has it: for thousands of hosts."
    PACKETS = "packets"
    "In datagrams of the transport that the swarm prefers."
    QUIC = "quic"
    "In datagrams of QUIC only."
    UTP = "utp"
    "In datagrams of µTP only."


_ONLY = {Links.QUIC: Transport.QUIC, Links.UTP: Transport.UTP}


def make_internet(links: Links, world: World, path: Path, seed: int) -> Internet:
    """Return an internet without hosts."""
    if links is Links.MESSAGES:
        return Internet(world, path, seed)
    return PacketInternet(world, path, seed, _ONLY.get(links))
