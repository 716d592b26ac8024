"""Channel links: `magnet:?xs=urn:btpk:<key>&dn=<name>&tr=<tracker>&x.pe=<host:port>` (BEP 46)."""

from __future__ import annotations

import binascii
import re
from base64 import b32decode
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from livestream.errors import UsageError
from livestream.machine import Address

__all__ = ["ChannelLink"]

LINK_BYTES_MAX: Final = 8 * 1024
TRACKERS_MAX: Final = 20
PEERS_MAX: Final = 50
NAME_MAX: Final = 200
KEY_PREFIX: Final = "urn:btpk:"
TRACKER_SCHEMES: Final = ("http", "https", "udp")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_HEX_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")  # bytes.fromhex would skip spaces.


@dataclass(frozen=True, slots=True)
class ChannelLink:
    """A channel's key, and where to find its swarm."""

    public_key: bytes
    name: str = ""
    trackers: tuple[str, ...] = ()
    peers: tuple[Address, ...] = ()

    def __str__(self) -> str:
        parts = [f"xs={KEY_PREFIX}{self.public_key.hex()}"]
        parts += [f"dn={quote(self.name)}"] if self.name else []
        parts += [f"tr={quote(tracker, safe='')}" for tracker in self.trackers]
        parts += [f"x.pe={peer}" for peer in self.peers]
        return "magnet:?" + "&".join(parts)

    @classmethod
    def parse(cls, text: str) -> ChannelLink:
        """Parse a link, or a bare key (hex or base32).

        Raises:
            UsageError: neither of them.
        """
        text = text.strip()
        if not text.startswith("magnet:"):
            return cls(_parse_key(text))
        if len(text) > LINK_BYTES_MAX:
            raise UsageError("This link is too long to be one. Copy it again.")
        fields = parse_qsl(text.partition("?")[2])
        keys = [value for name, value in fields if name == "xs" and value.startswith(KEY_PREFIX)]
        if len(keys) != 1:
            raise UsageError(
                f"This magnet link names no channel: it lacks xs={KEY_PREFIX}<key>. "
                "Copy the whole line that publish printed, in quotes."
            )
        trackers = [value for name, value in fields if name == "tr"][:TRACKERS_MAX]
        for tracker in trackers:
            if not _is_tracker(tracker):
                raise UsageError(f"The link's tracker {tracker[:60]!r} is no http or udp address.")
        names = [value for name, value in fields if name == "dn"]
        peers = [value for name, value in fields if name == "x.pe"][:PEERS_MAX]
        return cls(
            _parse_key(keys[0].removeprefix(KEY_PREFIX)),
            _printable(names[0])[:NAME_MAX] if names else "",
            tuple(trackers),
            tuple(_parse_peer(peer) for peer in peers),
        )


def _is_tracker(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in TRACKER_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # Brackets without an address, or a port that is none.
        return False


def _printable(name: str) -> str:
    """A name comes from strangers and ends on a terminal: no escape sequences."""
    return "".join(each for each in name if each.isprintable())


def _parse_key(text: str) -> bytes:
    try:
        if _HEX_KEY.fullmatch(text):
            return bytes.fromhex(text)
        if len(text) == 52:
            return b32decode(text.upper() + "====")
    except (ValueError, binascii.Error):
        pass
    raise UsageError(
        f"{text[:70]!r} is no channel: expected a magnet link, 64 hex digits, or a known name."
    )


def _parse_peer(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        raise UsageError(f"The link's peer {text[:60]!r} is no host:port.")
    return Address(host.strip("[]"), int(port))
