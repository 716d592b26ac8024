"""Where a URL from a stranger may lead: never into this machine's or its network's insides.

A torrent from the internet names trackers and web seeds, so it could make its readers send
requests to what only they can reach (SSRF). The rules are libtorrent's `ssrf_mitigation`: a
tracker on loopback is asked only for an announce, one on a private network gets no query of the
stranger's making, and a redirect never leads from outside to inside. What the user named is free.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["Purpose", "Zone", "is_literal", "zone_of", "zones_allowed"]

_NAT64: Final = ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last four bytes.
HOSTS_REMEMBERED: Final = 4_096  # Peers name the same ones to each other again and again.
_TRACKER_PATHS: Final = ("/announce", "/scrape")  # On loopback nothing else is a tracker.


class Zone(Enum):
    """What kind of place an address is."""

    GLOBAL = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    SPECIAL = "special"
    "Link-local (where clouds keep their secrets), multicast, unspecified: no tracker is there."


class Purpose(Enum):
    """What the URL is for."""

    TRACKER = "tracker"
    WEB_SEED = "web seed"


@lru_cache(HOSTS_REMEMBERED)
def zone_of(host: str) -> Zone:
    """Return the zone of a literal address; whatever is none is special.

    IPv4 addresses inside IPv6 ones (mapped, 6to4, NAT64) count as what they are inside.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return Zone.SPECIAL
    if isinstance(address, IPv6Address):
        address = _inner(address)
    if address.is_unspecified or address.is_link_local or address.is_multicast:
        return Zone.SPECIAL
    if address.is_loopback:
        return Zone.LOOPBACK
    return Zone.GLOBAL if address.is_global else Zone.PRIVATE


def _inner(address: IPv6Address) -> IPv4Address | IPv6Address:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return IPv4Address(address.packed[12:])
    return address


def is_literal(host: str) -> bool:
    """Whether clients take a host for an address, and so ask no resolver: 127.1 is one to them."""
    return ":" in host or host.replace(".", "").isdigit()


def zones_allowed(url: str, purpose: Purpose, *, is_trusted: bool) -> frozenset[Zone]:
    """Return where a URL may lead.

    Args:
        url: As it was given, without what we add to it.
        purpose: What is done with it.
        is_trusted: The user named it, or a file of theirs; not somebody on the internet.
    """
    if is_trusted:
        return frozenset(Zone)
    try:
        parts = urlsplit(url)
    except ValueError:
        return frozenset()
    allowed = {Zone.GLOBAL}
    if parts.scheme == "udp":  # The first datagram holds nothing of a stranger's choice.
        return frozenset({Zone.GLOBAL, Zone.PRIVATE, Zone.LOOPBACK})
    if not parts.query:
        allowed.add(Zone.PRIVATE)
    path = unquote(parts.path)
    # The server may resolve the dots of "/announce/../admin".
    is_announce = (
        purpose is Purpose.TRACKER and path.startswith(_TRACKER_PATHS) and ".." not in path
    )
    if is_announce or (purpose is Purpose.WEB_SEED and not parts.query):
        allowed.add(Zone.LOOPBACK)
    return frozenset(allowed)
