"""A peer that says whatever a test wants, on a plain TCP socket; and a download to say it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from livestream.machine import Address
from livestream.runtime.torrents import Torrent, TorrentOptions, TorrentSession
from livestream.swarm.blockpeer import BlockPeer
from livestream.torrent.create import Version
from livestream.torrent.metainfo import Metainfo
from livestream.wire.framing import frame
from livestream.wire.messages import HANDSHAKE_SIZE, Handshake, Message, Request, parse
from tests.interop.peers import HERE, contents, make_data, make_torrent

TIMEOUT_S = 15
PEER_ID = b"-XX0000-hostile.peer"


class RawPeer:
    """One TCP connection to a node, driven by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def call(cls, address: Address) -> RawPeer:
        """Connect."""
        return cls(*await asyncio.open_connection(*address))

    async def greet(
        self, info_hash: bytes, peer_id: bytes = PEER_ID, reserved: int = 1 << 20 | 1 << 2
    ) -> Handshake:
        """Exchange handshakes."""
        self.writer.write(Handshake(info_hash, peer_id, reserved).to_bytes())
        answer = await asyncio.wait_for(self.reader.readexactly(HANDSHAKE_SIZE), TIMEOUT_S)
        return Handshake.parse(answer)

    def say(self, *said: Message) -> None:
        """Send messages."""
        self.writer.write(b"".join(frame(message.to_bytes()) for message in said))

    async def hear(self) -> Message | None:
        """Return the next message; None for one that is not known."""
        while True:
            size = int.from_bytes(await asyncio.wait_for(self.reader.readexactly(4), TIMEOUT_S))
            body = await asyncio.wait_for(self.reader.readexactly(size), TIMEOUT_S)
            if body:
                return parse(body)

    async def hear_requests(self, count: int) -> list[Request]:
        """Return so many requests; whatever else comes is skipped."""
        found: list[Request] = []
        while len(found) < count:
            message = await self.hear()
            if isinstance(message, Request):
                found.append(message)
        return found

    async def hung_up(self) -> None:
        """Wait until the other side has ended the connection."""
        with suppress(ConnectionError):
            while await asyncio.wait_for(self.reader.read(1 << 16), TIMEOUT_S):
                pass
        self.close()

    def close(self) -> None:
        """End."""
        self.writer.transport.abort()


class Scene:
    """A download of ours that has no seed yet, and the data that it is to become."""

    def __init__(self, session: TorrentSession, torrent: Torrent, out: Path, data: Path) -> None:
        self.session = session
        self.torrent = torrent
        self.metainfo = torrent.metainfo
        self.data = data
        self._out = out
        self._raw_peers: list[RawPeer] = []
        self._failures: list[object] = []
        self._failing = asyncio.ensure_future(session.udp.failed())
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: self._failures.append(context.get("exception") or context)
        )

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address("127.0.0.1", self.session.tcp.address.port)

    @property
    def peers(self) -> list[BlockPeer]:
        """Who is in the swarm."""
        return self.torrent.swarm.block_peers

    def block(self, request: Request) -> bytes:
        """Return what an honest peer would answer."""
        start = request.index * self.metainfo.piece_length + request.begin
        return self.data.read_bytes()[start : start + request.length]

    async def call(self) -> RawPeer:
        """Call it."""
        peer = await RawPeer.call(self.address)
        self._raw_peers.append(peer)
        return peer

    async def meet(self, *said: Message, peer_id: bytes = PEER_ID) -> RawPeer:
        """Call it, greet it and say something."""
        peer = await self.call()
        await peer.greet(self.metainfo.info_hash, peer_id)
        peer.say(*said)
        return peer

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait until something is so."""

        async def poll() -> None:
            while not is_so():  # noqa: ASYNC110 - what is waited for is counters.
                await asyncio.sleep(0.01)

        await asyncio.wait_for(poll(), TIMEOUT_S)

    async def finish(self) -> None:
        """Let an honest seed in: the download must complete, whoever else is there."""
        seed = TorrentSession()
        await seed.open(HERE)
        try:
            await seed.add(self.metainfo, TorrentOptions(self.data.parent))
            address = Address("127.0.0.1", seed.tcp.address.port)
            self.session.add_candidates(self.torrent.swarm, [address])
            await asyncio.wait_for(self.torrent.completed.wait(), TIMEOUT_S)
        finally:
            await seed.close()
        assert contents(self._out / self.data.name) == contents(self.data)
        self.check()

    def check(self) -> None:
        """Nothing was raised anywhere."""
        assert not self._failing.done(), self._failing
        assert self._failures == []

    async def close(self) -> None:
        """Stop watching, and end what is left of the calls."""
        self._failing.cancel()
        for peer in self._raw_peers:
            peer.close()
            with suppress(ConnectionError):
                await peer.writer.wait_closed()


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """Start a download of a file of 31 pieces of two blocks."""
    data = make_data(folder / "seed", is_single=True)
    metainfo = Metainfo.parse(make_torrent(data, Version.V1))
    session = TorrentSession()
    await session.open(HERE)
    stage: Scene | None = None
    try:
        torrent = await session.add(metainfo, TorrentOptions(folder / "out"))
        stage = Scene(session, torrent, folder / "out", data)
        yield stage
        stage.check()
    finally:
        if stage is not None:
            await stage.close()
        await session.close()


def play(folder: Path, act: Callable[[Scene], Awaitable[Any]]) -> None:
    """Run an act in front of a download, to the end."""

    async def run() -> None:
        async with scene(folder) as stage:
            await act(stage)

    asyncio.run(run())
