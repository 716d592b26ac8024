"""Whether a piece is what the torrent says: SHA-1 (BEP 3), Merkle trees of SHA-256 (BEP 52)."""

from __future__ import annotations

from hashlib import sha1, sha256

from livestream.pieces.merkle import LEAF_BYTES, merkle_root
from livestream.pieces.verifier import Verdict, Verifier
from livestream.torrent.metainfo import SHA1_SIZE, SHA256_SIZE, Metainfo

__all__ = ["HashVerifier", "leaf_hashes"]


def leaf_hashes(data: bytes | bytearray | memoryview) -> list[bytes]:
    """Return the SHA-256 of every 16 KiB of `data`; the last leaf may be shorter."""
    view = memoryview(data)
    return [sha256(view[at : at + LEAF_BYTES]).digest() for at in range(0, len(view), LEAF_BYTES)]


class HashVerifier(Verifier):
    """Hashes whole pieces; v1, v2, and both for hybrids. Safe to use from any thread."""

    def __init__(self, metainfo: Metainfo) -> None:
        self._metainfo = metainfo

    def verify(self, index: int, data: bytes | bytearray) -> Verdict:
        """Judge a whole piece."""
        metainfo = self._metainfo
        if metainfo.has_v1:
            expected = metainfo.hashes[index * SHA1_SIZE : (index + 1) * SHA1_SIZE]
            if sha1(data, usedforsecurity=False).digest() != expected:
                return Verdict.FORGED
        if metainfo.has_v2 and not self._is_v2_genuine(index, data):
            return Verdict.FORGED
        return Verdict.GENUINE

    def _is_v2_genuine(self, index: int, data: bytes | bytearray) -> bool:
        """A v2 piece is of one file; what follows it in the piece is padding."""
        metainfo = self._metainfo
        start = index * metainfo.piece_length
        span = next(iter(metainfo.spans(start, 1)), None)
        if span is None:
            return False
        entry = metainfo.files[span.file]
        if entry.is_padding:
            return not any(data)
        hashes = leaf_hashes(memoryview(data)[: min(len(data), entry.length - span.start)])
        if entry.length <= metainfo.piece_length:
            width = 1 << (len(hashes) - 1).bit_length()
            return merkle_root(hashes, width) == entry.root
        layer = metainfo.layers.get(entry.root)
        if layer is None:
            return metainfo.has_v1  # A magnet's metadata has no layers: its SHA-1 has judged.
        at = span.start // metainfo.piece_length * SHA256_SIZE
        width = metainfo.piece_length // LEAF_BYTES
        return merkle_root(hashes, width) == layer[at : at + SHA256_SIZE]
