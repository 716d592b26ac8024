"""The info dictionary from peers, and for them (BEP 9, ut_metadata)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1, sha256
from typing import Final

from livestream.errors import MessageDecodeError
from livestream.machine import SECOND
from livestream.swarm.extension import Extension
from livestream.swarm.peer import Peer
from livestream.wire import bencode

__all__ = ["METADATA_BYTES_MAX", "MetadataFetch", "MetadataServe"]

METADATA_BYTES_MAX: Final = 30 << 20
BLOCK: Final = 16 * 1024
REQUEST, DATA, REJECT = 0, 1, 2
RETRY_US: Final = 3 * SECOND
SERVED_MAX: Final = 4  # Times that one peer may have the whole of it.
AHEAD: Final = 8  # Requests under way at one peer.
BACKLOG_MAX: Final = (
    1 << 20
)  # Unsent bytes of a peer above which its requests are rejected (BEP 9).
COPIES_BYTES_MAX: Final = 2 * METADATA_BYTES_MAX  # Of all unfinished copies together.


class MetadataServe(Extension):
    """Gives the info dictionary to whoever asks, a few times over."""

    name = "ut_metadata"

    def __init__(self, info: bytes) -> None:
        self._info = info
        self._served: dict[Peer, int] = {}

    def on_ready(self, peer: Peer, now: int) -> None:
        """Wait to be asked."""

    def on_message(self, peer: Peer, payload: bytes, now: int) -> None:
        """Answer a request."""
        fields, _ = _read(payload)
        if fields.get(b"msg_type") != REQUEST:
            return
        number = fields.get(b"piece")
        count = -(-len(self._info) // BLOCK)
        served = self._served.get(peer, 0)
        if not isinstance(number, int):
            raise MessageDecodeError("ut_metadata request of no piece")
        is_served = (
            0 <= number < count
            and served < SERVED_MAX * count
            and peer.connection.backlog_bytes < BACKLOG_MAX
        )
        if not is_served:
            _send(peer, self.name, {b"msg_type": REJECT, b"piece": number})
            return
        self._served[peer] = served + 1
        block = self._info[number * BLOCK : (number + 1) * BLOCK]
        header: dict[bytes, bencode.Value] = {
            b"msg_type": DATA,
            b"piece": number,
            b"total_size": len(self._info),
        }
        _send(peer, self.name, header, block)

    def on_gone(self, peer: Peer, now: int) -> None:
        """Forget it."""
        self._served.pop(peer, None)

    def on_stored(self, index: int, peer: Peer | None, now: int) -> None:
        """Nothing to do with pieces."""

    def get_timer(self) -> int | None:
        """Nothing is ever due."""
        return None

    def handle_timer(self, now: int) -> None:
        """Nothing is ever due."""


class MetadataFetch(Extension):
    """Collects the info dictionary of a magnet; each peer is asked for all of it by itself.

    A peer whose copy has another hash has lied, and is reported; so one liar cannot spoil what
    others gave. Invariant: what `on_found` gets has the hash asked for.
    """

    name = "ut_metadata"

    def __init__(
        self,
        info_hashes: tuple[bytes, bytes],
        on_found: Callable[[bytes], None],
        on_liar: Callable[[Peer, str, int], None],
    ) -> None:
        """Take the SHA-1 and the SHA-256; either may be empty."""
        self._hashes = info_hashes
        self._on_found = on_found
        self._on_liar = on_liar
        self._copies: dict[Peer, _Copy] = {}
        self._is_found = False
        self._timer: int | None = None

    def on_ready(self, peer: Peer, now: int) -> None:
        """Ask, if the peer says how large it is."""
        size = peer.greeting.fields.get(b"metadata_size") if peer.greeting is not None else None
        if isinstance(size, int) and 0 < size <= METADATA_BYTES_MAX and not self._is_found:
            copy = self._copies[peer] = _Copy(size)
            self._ask(peer, copy, now)

    def on_message(self, peer: Peer, payload: bytes, now: int) -> None:
        """Take a block."""
        fields, block = _read(payload)
        kind, number = fields.get(b"msg_type"), fields.get(b"piece")
        copy = self._copies.get(peer)
        if kind == REQUEST and isinstance(number, int):
            _send(peer, self.name, {b"msg_type": REJECT, b"piece": number})
        elif kind == REJECT:
            self._copies.pop(peer, None)
        elif kind == DATA and copy is not None and isinstance(number, int):
            copy.put(number, block)
            self._bound()
            if copy.is_whole:
                self._judge(peer, copy, now)
            else:
                self._ask(peer, copy, now)

    def on_gone(self, peer: Peer, now: int) -> None:
        """Its copy is lost."""
        self._copies.pop(peer, None)

    def on_stored(self, index: int, peer: Peer | None, now: int) -> None:
        """Nothing to do with pieces."""

    def get_timer(self) -> int | None:
        """Return when requests are repeated."""
        return self._timer

    def handle_timer(self, now: int) -> None:
        """Ask again for what did not come."""
        self._timer = None
        for peer, copy in self._copies.items():
            copy.forget_requests()
            self._ask(peer, copy, now)

    def _ask(self, peer: Peer, copy: _Copy, now: int) -> None:
        for number in copy.next_requests():
            _send(peer, self.name, {b"msg_type": REQUEST, b"piece": number})
        self._timer = now + RETRY_US

    @property
    def held_bytes(self) -> int:
        """Bytes of all unfinished copies."""
        return sum(copy.held_bytes for copy in self._copies.values())

    def _bound(self) -> None:
        """Too much in memory: whoever says that it is longest, the last of them, begins again."""
        if self.held_bytes > COPIES_BYTES_MAX:
            copies = [copy for copy in reversed(self._copies.values()) if copy.held_bytes]
            max(copies, key=lambda copy: copy.size).clear()

    def _judge(self, peer: Peer, copy: _Copy, now: int) -> None:
        info = copy.to_bytes()
        v1, v2 = self._hashes
        is_genuine = (not v1 or sha1(info, usedforsecurity=False).digest() == v1) and (
            not v2 or sha256(info).digest() == v2
        )
        del self._copies[peer]
        if not is_genuine:
            self._on_liar(peer, "metadata with another hash", now)
        elif not self._is_found:
            self._is_found = True
            self._copies.clear()
            self._timer = None
            self._on_found(info)


class _Copy:
    """One peer's copy. Invariant: `_blocks` holds only blocks of their right size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held_bytes = 0
        self._count = -(-size // BLOCK)
        self._blocks: dict[int, bytes] = {}
        self._asked: dict[int, None] = {}

    @property
    def is_whole(self) -> bool:
        return len(self._blocks) == self._count

    def put(self, number: int, block: bytes) -> None:
        if number not in self._asked:
            return
        del self._asked[number]
        if len(block) != min(BLOCK, self.size - number * BLOCK):
            raise MessageDecodeError(f"metadata block of {len(block)} bytes")
        self._blocks[number] = block
        self.held_bytes += len(block)

    def next_requests(self) -> list[int]:
        room = AHEAD - len(self._asked)
        wanted: list[int] = []
        for number in range(self._count):
            if len(wanted) >= room:
                break
            if number not in self._blocks and number not in self._asked:
                wanted.append(number)
        self._asked.update(dict.fromkeys(wanted))
        return wanted

    def clear(self) -> None:
        self._blocks.clear()
        self.held_bytes = 0

    def forget_requests(self) -> None:
        self._asked.clear()

    def to_bytes(self) -> bytes:
        return b"".join(self._blocks[number] for number in range(self._count))


def _read(payload: bytes) -> tuple[dict[bytes, bencode.Value], bytes]:
    """Return the dictionary, and what stands behind it."""
    fields, end = bencode.decode_prefix(payload)
    if not isinstance(fields, dict):
        raise MessageDecodeError("ut_metadata without a dictionary")
    return fields, payload[end:]


def _send(peer: Peer, name: str, fields: dict[bytes, bencode.Value], block: bytes = b"") -> None:
    if name in peer.extensions:
        peer.send_extended(name, bencode.encode(fields) + block)
