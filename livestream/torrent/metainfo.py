"""What a .torrent file says (BEP 3, 52, 47, 12, 19, 27): `Metainfo`, parsed and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from typing import Final, TypeAlias

from livestream.errors import MessageDecodeError, MetainfoError
from livestream.pieces.merkle import LEAF_BYTES, HashLayer
from livestream.torrent.filelist import SHA256_SIZE, FileEntry, read_files
from livestream.torrent.paths import clean_component
from livestream.wire import bencode
from livestream.wire.bencode import Value

__all__ = ["METADATA_BYTES_MAX", "SHA1_SIZE", "SHA256_SIZE", "FileEntry", "Metainfo", "Span"]

METADATA_BYTES_MAX: Final = 30 << 20  # As libtorrent: 2 GB ones are seen in the wild.
PIECES_MAX: Final = 2_000_000
PIECE_LENGTH_MAX: Final = 1 << 29
SHA1_SIZE: Final = 20
TRACKERS_MAX: Final = 200
URLS_MAX: Final = 200
TEXT_MAX: Final = 1_000

_Dict: TypeAlias = dict[bytes, Value]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of bytes in one file."""

    file: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Metainfo:
    """A torrent. `hashes` is one SHA-1 a piece (v1); `layers` SHA-256 ones by root (v2).

    Invariant: the files tile `[0, length)` in order, padding included; where both versions are
    there, they describe the same files.
    """

    name: str
    piece_length: int
    files: tuple[FileEntry, ...]
    length: int
    info: bytes
    "The raw bytes of the info dictionary: what the info-hashes are over."
    hashes: bytes = b""
    layers: dict[bytes, bytes] = field(default_factory=dict)
    has_v2: bool = False
    is_single: bool = False
    is_private: bool = False
    trackers: tuple[tuple[str, ...], ...] = ()
    web_seeds: tuple[str, ...] = ()
    comment: str = ""
    created_by: str = ""
    created_at: int | None = None

    @property
    def has_v1(self) -> bool:
        """Whether it has SHA-1 piece hashes."""
        return bool(self.hashes)

    @property
    def is_verifiable(self) -> bool:
        """Whether every piece can be judged: a v2 torrent's metadata alone lacks its layers."""
        return self.has_v1 or not self.layers_missing

    @property
    def layer_base(self) -> int:
        """How many layers of a v2 file's tree lie below its piece layer."""
        return (self.piece_length // LEAF_BYTES).bit_length() - 1

    @property
    def layers_missing(self) -> dict[bytes, int]:
        """The roots of the piece layers that are not here, and how many hashes each has."""
        return {
            entry.root: -(-entry.length // self.piece_length)
            for entry in self.files
            if entry.root and entry.length > self.piece_length and entry.root not in self.layers
        }

    @property
    def info_hash_v1(self) -> bytes:
        """SHA-1 of the info dictionary."""
        return sha1(self.info, usedforsecurity=False).digest()

    @property
    def info_hash_v2(self) -> bytes:
        """SHA-256 of the info dictionary."""
        return sha256(self.info).digest()

    @property
    def info_hash(self) -> bytes:
        """The 20 bytes by which peers and trackers know it."""
        return self.info_hash_v1 if self.has_v1 or not self.has_v2 else self.info_hash_v2[:20]

    @property
    def info_hashes(self) -> tuple[bytes, ...]:
        """All such names: a hybrid has one in either swarm (BEP 52)."""
        other = self.info_hash_v2[:20]
        return (self.info_hash, other) if self.has_v1 and self.has_v2 else (self.info_hash,)

    @property
    def piece_count(self) -> int:
        """How many pieces."""
        return -(-self.length // self.piece_length)

    def piece_size(self, index: int) -> int:
        """Return the bytes of a piece: the last one may be shorter."""
        return min(self.piece_length, self.length - index * self.piece_length)

    def padding_size(self, index: int) -> int:
        """Return how many bytes at the end of a piece are padding, and nothing but that."""
        padding = 0
        for span in self.spans(index * self.piece_length, self.piece_size(index)):
            padding = padding + span.length if self.files[span.file].is_padding else 0
        return padding

    def pieces_of(self, entry: FileEntry) -> slice:
        """Return the pieces that have bytes of a file."""
        first = entry.offset // self.piece_length
        end = -(-(entry.offset + entry.length) // self.piece_length) if entry.length else first
        return slice(first, end)

    def spans(self, start: int, length: int) -> Iterator[Span]:
        """Yield the runs in files that bytes `[start, start + length)` of the torrent are."""
        low, high = 0, len(self.files)
        while low < high:
            middle = (low + high) // 2
            entry = self.files[middle]
            if entry.offset + entry.length <= start:
                low = middle + 1
            else:
                high = middle
        end = start + length
        for number in range(low, len(self.files)):
            entry = self.files[number]
            if entry.offset >= end:
                return
            first = max(start, entry.offset)
            count = min(end, entry.offset + entry.length) - first
            if count > 0:
                yield Span(number, first - entry.offset, count)

    @classmethod
    def parse(cls, data: bytes) -> Metainfo:
        """Parse a .torrent file.

        Raises:
            MetainfoError: it is none, or contradicts itself, or goes beyond a limit.
        """
        if len(data) > METADATA_BYTES_MAX:
            raise MetainfoError(f"This .torrent has {len(data):,} bytes: more than can be one.")
        try:
            outer, span = bencode.decode_with_span(data, b"info")
        except MessageDecodeError as error:
            raise MetainfoError(f"Not a .torrent file: {error}.") from error
        if not isinstance(outer, dict) or span is None:
            raise MetainfoError("Not a .torrent file: it has no info dictionary.")
        metainfo = _Parser(outer, data[span[0] : span[1]]).parse()
        if not metainfo.is_verifiable:
            raise MetainfoError(
                f"{metainfo.name}: this v2 torrent lacks its piece layers. "
                "Its magnet link may do: peers give them."
            )
        return metainfo

    @classmethod
    def from_info(
        cls,
        info: bytes,
        trackers: Sequence[Sequence[str]] = (),
        layers: Mapping[bytes, bytes] | None = None,
        web_seeds: Sequence[str] = (),
    ) -> Metainfo:
        """Parse an info dictionary that peers gave (BEP 9), with the piece layers if they did.

        Raises:
            MetainfoError: as `parse`.
        """
        tiers: list[Value] = [[url.encode() for url in tier] for tier in trackers]
        try:
            parsed = bencode.decode(info, allow_unsorted=True)
        except MessageDecodeError as error:
            raise MetainfoError(f"Not an info dictionary: {error}.") from error
        urls: list[Value] = [url.encode() for url in web_seeds]
        outer: _Dict = {
            b"info": parsed,
            b"announce-list": tiers,
            b"piece layers": {**(layers or {})},
            b"url-list": urls,
        }
        return _Parser(outer, info).parse()


class _Parser:
    """Reads one decoded .torrent; every rule that it breaks is a MetainfoError."""

    def __init__(self, outer: _Dict, raw_info: bytes) -> None:
        info = outer.get(b"info")
        if not isinstance(info, dict):
            raise MetainfoError("Not a .torrent file: its info is no dictionary.")
        self._outer = outer
        self._info: _Dict = info
        self._raw_info = raw_info

    def parse(self) -> Metainfo:
        info = self._info
        piece_length = info.get(b"piece length")
        if not isinstance(piece_length, int) or not 0 < piece_length <= PIECE_LENGTH_MAX:
            raise MetainfoError("This torrent's piece length is no number that can be.")
        name = self._text(info, b"name") or "torrent"
        has_v1 = b"pieces" in info
        version = info.get(b"meta version", 1)
        has_v2 = version == 2
        if not has_v2 and (version != 1 or not has_v1):
            raise MetainfoError("This torrent has no piece hashes of a version known here.")
        found = read_files(info, name, piece_length)
        files = found.files
        length = files[-1].offset + files[-1].length
        if length > PIECES_MAX * piece_length:
            raise MetainfoError(f"This torrent has over {PIECES_MAX:,} pieces.")
        hashes = self._hashes(length, piece_length) if has_v1 else b""
        layers = self._layers(files, piece_length) if has_v2 else {}
        return Metainfo(
            name=files[0].path[0] if found.is_single else clean_component(name),
            piece_length=piece_length,
            files=files,
            length=length,
            info=self._raw_info,
            hashes=hashes,
            layers=layers,
            has_v2=has_v2,
            is_single=found.is_single,
            is_private=info.get(b"private") == 1,
            trackers=self._trackers(),
            web_seeds=self._urls(b"url-list"),
            comment=self._text(self._outer, b"comment"),
            created_by=self._text(self._outer, b"created by"),
            created_at=self._date(),
        )

    # Hashes

    def _hashes(self, length: int, piece_length: int) -> bytes:
        hashes = self._info.get(b"pieces")
        count = -(-length // piece_length)
        if not isinstance(hashes, bytes) or len(hashes) != SHA1_SIZE * count:
            raise MetainfoError(f"This torrent has not the hashes of its {count:,} pieces.")
        return hashes

    def _layers(self, files: Sequence[FileEntry], piece_length: int) -> dict[bytes, bytes]:
        """Check the piece layers that are given; a magnet's metadata comes without."""
        given = self._outer.get(b"piece layers", {})
        if not isinstance(given, dict):
            raise MetainfoError("This torrent's piece layers are malformed.")
        layers: dict[bytes, bytes] = {}
        base = (piece_length // LEAF_BYTES).bit_length() - 1
        for entry in files:
            if entry.length <= piece_length or entry.is_padding:
                continue
            layer = given.get(entry.root)
            count = -(-entry.length // piece_length)
            if layer is None and not given:
                continue
            if not isinstance(layer, bytes) or len(layer) != SHA256_SIZE * count:
                raise MetainfoError(f"The piece hashes of {entry.path[-1]} are missing.")
            # BEP 52: it is not valid if "the contained hashes do not match the merkle roots".
            if entry.root not in layers and HashLayer(layer, base).root != entry.root:
                raise MetainfoError(f"The piece hashes of {entry.path[-1]} are not its own.")
            layers[entry.root] = layer
        return layers

    # The rest

    def _trackers(self) -> tuple[tuple[str, ...], ...]:
        tiers: list[tuple[str, ...]] = []
        listed = self._outer.get(b"announce-list")
        for tier in listed if isinstance(listed, list) else []:
            urls = [_url(url) for url in tier] if isinstance(tier, list) else []
            found = tuple(dict.fromkeys(url for url in urls if url))
            if found:
                tiers.append(found)
        if not tiers:
            single = _url(self._outer.get(b"announce"))
            tiers = [(single,)] if single else []
        return tuple(tiers[:TRACKERS_MAX])

    def _urls(self, key: bytes) -> tuple[str, ...]:
        value = self._outer.get(key)
        urls = value if isinstance(value, list) else [value]
        return tuple(found for url in urls[:URLS_MAX] if (found := _url(url)))

    def _text(self, holder: _Dict, key: bytes) -> str:
        value = holder.get(key + b".utf-8", holder.get(key))
        return _decode(value)[:TEXT_MAX] if isinstance(value, bytes) else ""

    def _date(self) -> int | None:
        value = self._outer.get(b"creation date")
        return value if isinstance(value, int) and 0 < value < 1 << 40 else None


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _url(value: Value | None) -> str:
    if not isinstance(value, bytes) or len(value) > TEXT_MAX:
        return ""
    url = value.decode("utf-8", "replace").strip()
    return url if url.startswith(("http://", "https://", "udp://")) else ""
