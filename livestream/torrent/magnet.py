"""Magnet links of torrents (BEP 9, 52, 53): `Magnet`."""

from __future__ import annotations

from base64 import b32decode
from binascii import Error as BinasciiError
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote

from livestream.errors import MetainfoError
from livestream.machine import Address
from livestream.torrent.metainfo import Metainfo

__all__ = ["Magnet", "is_magnet"]

LENGTH_MAX: Final = 32_768
PARAMETERS_MAX: Final = 400
V1_PREFIX: Final = "urn:btih:"
V2_PREFIX: Final = "urn:btmh:1220"  # Multihash: SHA-256, 32 bytes.
FILES_MAX: Final = 100_000


def is_magnet(text: str) -> bool:
    """Whether this is a torrent's magnet link or a bare info-hash, and no channel's."""
    is_hash = len(text) == 40 and all(letter in "0123456789abcdefABCDEF" for letter in text)
    return is_hash or (text.startswith("magnet:?") and ("urn:btih:" in text or "urn:btmh:" in text))


@dataclass(frozen=True, slots=True)
class Magnet:
    """What a magnet says. At least one of the two hashes is there."""

    info_hash_v1: bytes = b""
    info_hash_v2: bytes = b""
    name: str = ""
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    peers: tuple[Address, ...] = ()
    wanted: frozenset[int] | None = None
    "File numbers to select (BEP 53); None: all."

    @property
    def info_hash(self) -> bytes:
        """The 20 bytes by which peers and trackers know it."""
        return self.info_hash_v1 or self.info_hash_v2[:20]

    @property
    def info_hashes(self) -> tuple[bytes, ...]:
        """All such names that the magnet gives."""
        given = (self.info_hash_v1, self.info_hash_v2[:20])
        return tuple(each for each in given if each)

    def is_of(self, metainfo: Metainfo) -> bool:
        """Whether this metainfo is what the magnet names."""
        if self.info_hash_v1 and metainfo.info_hash_v1 != self.info_hash_v1:
            return False
        return not self.info_hash_v2 or metainfo.info_hash_v2 == self.info_hash_v2

    @classmethod
    def parse(cls, text: str) -> Magnet:
        """Parse a magnet link or an info-hash in hex.

        Raises:
            MetainfoError: it is neither.
        """
        if len(text) == 40 and not text.startswith("magnet:"):
            return cls(_hex(text))
        if len(text) > LENGTH_MAX or not text.startswith("magnet:?"):
            raise MetainfoError("Not a magnet link. It begins with magnet:? and names urn:btih:….")
        fields = parse_qsl(text[len("magnet:?") :], max_num_fields=PARAMETERS_MAX)
        v1, v2 = b"", b""
        for key, value in fields:
            if key.partition(".")[0] == "xt":
                v1 = v1 or (_v1(value) if value.startswith(V1_PREFIX) else b"")
                v2 = v2 or (_hex(value[len(V2_PREFIX) :]) if value.startswith(V2_PREFIX) else b"")
        if not v1 and len(v2) != 32:
            raise MetainfoError("This magnet link names no torrent: urn:btih: is missing.")

        def every(name: str) -> tuple[str, ...]:
            return tuple(value for key, value in fields if key.partition(".")[0] == name)

        return cls(
            v1,
            v2,
            name=next((value for key, value in fields if key == "dn"), "")[:200],
            trackers=every("tr"),
            web_seeds=every("ws"),
            peers=tuple(
                address
                for key, value in fields
                if key == "x.pe" and (address := _peer(value)) is not None
            ),
            wanted=next((_ranges(value) for key, value in fields if key == "so"), None),
        )

    def __str__(self) -> str:
        parts = [f"xt={V1_PREFIX}{self.info_hash_v1.hex()}"] if self.info_hash_v1 else []
        parts += [f"xt={V2_PREFIX}{self.info_hash_v2.hex()}"] if self.info_hash_v2 else []
        parts += [f"dn={quote(self.name)}"] if self.name else []
        parts += [f"tr={quote(url, safe='')}" for url in self.trackers]
        parts += [f"ws={quote(url, safe='')}" for url in self.web_seeds]
        parts += [f"x.pe={peer}" for peer in self.peers]
        return "magnet:?" + "&".join(parts)

    @classmethod
    def of(cls, metainfo: Metainfo) -> Magnet:
        """Return the magnet of a torrent."""
        return cls(
            metainfo.info_hash_v1 if metainfo.has_v1 else b"",
            metainfo.info_hash_v2 if metainfo.has_v2 else b"",
            metainfo.name,
            tuple(url for tier in metainfo.trackers for url in tier),
            metainfo.web_seeds,
        )


def _v1(value: str) -> bytes:
    digits = value[len(V1_PREFIX) :]
    if len(digits) != 32:
        return _hex(digits)
    try:
        return b32decode(digits.upper())
    except BinasciiError as error:
        raise MetainfoError("This magnet link's info-hash is no base32.") from error


def _hex(digits: str) -> bytes:
    try:
        found = bytes.fromhex(digits)
    except ValueError as error:
        raise MetainfoError(f"{digits[:64]!r} is no info-hash.") from error
    if len(found) not in (20, 32):
        raise MetainfoError(f"{digits[:64]!r} is no info-hash: 40 or 64 hex digits are one.")
    return found


def _peer(text: str) -> Address | None:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        return None
    return Address(host.strip("[]"), int(port))


def _ranges(text: str) -> frozenset[int]:
    """Parse `0,2-4` (BEP 53)."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise MetainfoError(f"so={text[:40]} does not select files. For example so=0,2-4.")
        end = int(last) if dash else int(first)
        if end >= FILES_MAX or int(first) > end:
            raise MetainfoError(f"so={text[:40]} selects files that there cannot be.")
        numbers.update(range(int(first), end + 1))
    return frozenset(numbers)
