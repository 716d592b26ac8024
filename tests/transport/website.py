"""A torrent's files on a web server in memory, which answers a web seed's fetches."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from livestream.machine import Address
from livestream.transport.connection import (
    BlocksReceived,
    Connected,
    Disconnected,
    MessageReceived,
)
from livestream.transport.fetch import Fetch, FileRun, ResponseHead
from livestream.transport.webseed import WebSeed, WebSource
from livestream.wire import messages
from livestream.wire.messages import Handshake, Message, Request

ADDRESS = Address("100::1", 0)
BLOCK = 16 * 1024


class Website(WebSource):
    """Files one after the other, named by numbers; the negative lengths are of padding."""

    def __init__(self, lengths: list[int], piece_length: int = 4 * BLOCK, number: int = 0) -> None:
        self.info_hash = bytes(20)
        self.url = f"http://mirror{number}.example/"
        self.piece_length = piece_length
        rng = Random(5)
        self._files = [
            (f"{self.url}{name}" if length > 0 else "", abs(length))
            for name, length in enumerate(lengths)
        ]
        self.data = {url: rng.randbytes(length) for url, length in self._files if url}
        self.whole = b"".join(self.data.get(url, bytes(length)) for url, length in self._files)

    def runs(self, index: int, begin: int, length: int) -> Iterator[FileRun]:
        start = index * self.piece_length + begin
        end = start + length
        offset = 0
        for url, size in self._files:
            first, last = max(start, offset), min(end, offset + size)
            if first < last:
                yield FileRun(url, first - offset, last - first, size)
            offset += size

    def requests(self) -> list[Request]:
        """Return the requests of every block, in order."""
        found = []
        for start in range(0, len(self.whole), BLOCK):
            index, begin = divmod(start, self.piece_length)
            found.append(Request(index, begin, min(BLOCK, len(self.whole) - start)))
        return found

    def block(self, request: Request) -> bytes:
        """Return what a request should bring."""
        start = request.index * self.piece_length + request.begin
        return self.whole[start : start + request.length]

    def body(self, fetch: Fetch) -> bytes:
        """Return what an honest server answers."""
        return self.data[fetch.url][fetch.start : fetch.start + fetch.length]

    def head(self, fetch: Fetch, status: int = 206) -> ResponseHead:
        """Return the head of an honest answer."""
        size = len(self.data[fetch.url])
        if status == 200:
            return ResponseHead(200, content_length=size)
        last = fetch.start + fetch.length - 1
        return ResponseHead(206, f"bytes {fetch.start}-{last}/{size}", fetch.length)

    def serve(self, seed: WebSeed, fetch: Fetch) -> None:
        """Answer a fetch, all at once."""
        seed.receive_head(fetch, self.head(fetch))
        seed.receive_body(fetch, self.body(fetch))
        seed.receive_end(fetch)

    def serve_all(self, seed: WebSeed) -> list[Fetch]:
        """Answer until nothing more is asked; returns what was."""
        served = []
        while (fetch := seed.next_fetch()) is not None:
            served.append(fetch)
            self.serve(seed, fetch)
        return served


class Heard:
    """What a web seed has reported so far."""

    def __init__(self, seed: WebSeed) -> None:
        self.seed = seed
        self.messages: list[Message] = []
        self.blocks: dict[tuple[int, int], bytes] = {}
        self.end: Disconnected | None = None

    def listen(self) -> Heard:
        """Take what is new."""
        while (event := self.seed.next_event()) is not None:
            assert self.end is None, "the end is the last event"
            if isinstance(event, BlocksReceived):
                for index, begin, data in event.blocks:
                    assert (index, begin) not in self.blocks
                    self.blocks[index, begin] = bytes(data)
            elif isinstance(event, MessageReceived):
                is_handshake = event.data.startswith(b"\x13")
                message = None if is_handshake else messages.parse(event.data)
                if message is not None:
                    self.messages.append(message)
            elif isinstance(event, Disconnected):
                self.end = event
            else:
                assert event == Connected(b"")
        return self


def open_seed(source: WebSource) -> tuple[WebSeed, Heard]:
    """Return a web seed that was greeted, and what it said since."""
    seed = WebSeed(ADDRESS, source, lambda changed: None, 0)
    seed.send(Handshake(source.info_hash, bytes(20)).to_bytes())
    heard = Heard(seed).listen()
    heard.messages.clear()
    return seed, heard
