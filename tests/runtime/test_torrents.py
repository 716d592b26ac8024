"""A session: what it closes in which order, and whom it takes."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from livestream.discovery.announce import Announcer
from livestream.discovery.tiers import Tier
from livestream.discovery.tracker import TrackerState
from livestream.errors import UsageError
from livestream.machine import Address
from livestream.pieces.merkle import LEAF_BYTES, root_of_proof, width_of
from livestream.runtime.clock import Clock
from livestream.runtime.http import TrackerClient
from livestream.runtime.torrents import TorrentOptions, TorrentSession
from livestream.runtime.tracker import HttpTracker
from livestream.torrent.create import Version
from livestream.torrent.magnet import Magnet
from livestream.torrent.metainfo import Metainfo
from livestream.wire.hashes import Hashes, HashReject, HashRequest
from livestream.wire.messages import HANDSHAKE_SIZE, Handshake
from tests.interop.peers import HERE, make_data, make_torrent
from tests.runtime.downloads import Share, read, until
from tests.runtime.rawpeer import RawPeer


def test_what_a_session_has_when_it_is_closed_in_full_flight_is_not_hashed_again(
    tmp_path: Path,
) -> None:
    """Peers go first: a piece that came during the save would make its file a changed one."""
    share = Share(tmp_path)
    source = share.make("data", 8_000_000)
    metainfo = read(source)
    options = TorrentOptions(share.out, record=tmp_path / "record")

    async def main() -> None:
        async with share.seeding(source) as address:
            first = TorrentSession()
            await first.open(HERE)
            torrent = await first.add(metainfo, options)
            first.add_candidates(torrent.swarm, [address])
            await until(lambda: torrent.store.held.held >= 20)
            await first.close()
        assert torrent.store.held.held < metainfo.piece_count
        second = TorrentSession()
        await second.open(HERE)
        hashed: list[int] = []
        again = await second.add(metainfo, options, lambda done, total: hashed.append(done))
        assert hashed == []
        assert again.store.held.held == torrent.store.held.held
        await second.close()

    asyncio.run(main())


def test_a_torrent_that_was_left_may_come_back(tmp_path: Path) -> None:
    share = Share(tmp_path)
    metainfo = read(share.make("data", 50_000))

    async def main() -> None:
        session = TorrentSession()
        await session.open(HERE)
        try:
            torrent = await session.add(metainfo, TorrentOptions(share.out))
            with pytest.raises(UsageError, match="under way already"):
                await session.add(metainfo, TorrentOptions(share.out))
            await session.remove(torrent)
            assert session.torrents == []
            await session.add(metainfo, TorrentOptions(share.data))
        finally:
            await session.close()

    asyncio.run(main())


def test_a_record_that_cannot_be_written_does_not_break_the_end(tmp_path: Path) -> None:
    share = Share(tmp_path)
    metainfo = read(share.make("data", 50_000))
    (tmp_path / "file").touch()
    options = TorrentOptions(share.data, record=tmp_path / "file" / "record")

    async def main() -> str:
        session = TorrentSession()
        await session.open(HERE)
        torrent = await session.add(metainfo, options)
        await session.close()
        return torrent.save_error

    assert asyncio.run(main())


def test_peers_that_are_named_by_name_are_found_and_others_are_no_harm(tmp_path: Path) -> None:
    """As in a magnet's `x.pe`: a name that stands for nothing must not raise or block."""
    share = Share(tmp_path)
    source = share.make("data", 50_000)

    async def main() -> None:
        async with share.seeding(source) as address:
            session = TorrentSession()
            await session.open(HERE)
            try:
                torrent = await session.add(read(source), TorrentOptions(share.out))
                names = ["not a name", "x" * 300, "nobody.invalid", "localhost"]
                session.add_candidates(
                    torrent.swarm, [Address(name, address.port) for name in names]
                )
                await asyncio.wait_for(torrent.completed.wait(), 20)
            finally:
                await session.close()
        assert share.is_same("data")

    asyncio.run(main())


def test_callers_wait_while_no_file_can_be_opened(tmp_path: Path) -> None:
    share = Share(tmp_path)
    source = share.make("data", 50_000)

    async def main() -> None:
        async with share.seeding(source) as address:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            caller = socket.socket()
            caller.setblocking(False)
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
            fillers: list[int] = []
            try:
                with suppress(OSError):
                    while True:
                        fillers.append(os.dup(0))
                await asyncio.get_running_loop().sock_connect(caller, address)
                await asyncio.sleep(0.05)  # It was woken, and could not take the caller.
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for filler in fillers:
                    os.close(filler)
            metainfo = read(source)
            caller.sendall(Handshake(metainfo.info_hash, b"-XX0000-a-caller____").to_bytes())
            answer = await asyncio.wait_for(
                asyncio.get_running_loop().sock_recv(caller, HANDSHAKE_SIZE), 10
            )
            caller.close()
            assert Handshake.parse(answer).info_hash == metainfo.info_hash

    asyncio.run(main())


def test_a_hybrid_is_found_and_called_by_either_of_its_hashes(tmp_path: Path) -> None:
    """BEP 52: clients that do not know v1 look for it in the v2 swarm."""
    share = Share(tmp_path)
    share.make("data", 50_000)
    metainfo = Metainfo.parse(make_torrent(share.data / "data", Version.HYBRID))
    v1, v2 = metainfo.info_hashes
    assert (v1, v2) == (metainfo.info_hash_v1, metainfo.info_hash_v2[:20])

    async def find(url: str, info_hash: bytes) -> Address:
        found: list[Address] = []
        announcer = Announcer(url, info_hash, b"-XX0000-somebody____", 9)
        client = TrackerClient([Tier([announcer], Random(1))], Clock(), found.extend)
        while not found:  # Until the session has announced itself, too.
            await client.ask_once(5)
        return found[0]

    async def greet(address: Address, info_hash: bytes) -> Handshake:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(Handshake(info_hash, b"-XX0000-somebody____").to_bytes())
        answer = await reader.readexactly(HANDSHAKE_SIZE)
        writer.close()
        await writer.wait_closed()
        return Handshake.parse(answer)

    async def main() -> None:
        clock = Clock()
        tracker = HttpTracker(TrackerState(Random(1)), clock.now)
        url = f"http://{await tracker.start('127.0.0.1', 0)}/announce"
        session = TorrentSession()
        try:
            address = await session.open(HERE)
            await session.add(metainfo, TorrentOptions(share.data, trackers=(url,)))
            for info_hash in (v1, v2):
                found = await asyncio.wait_for(find(url, info_hash), 20)
                assert found == address
                assert (await greet(found, info_hash)).info_hash == info_hash
            magnet = Magnet(info_hash_v2=metainfo.info_hash_v2)
            with pytest.raises(UsageError, match="under way already"):
                await session.fetch(magnet, TorrentOptions(share.out), 1)
        finally:
            await session.close()
            await tracker.stop()

    asyncio.run(main())


def test_a_file_that_is_deleted_after_the_download_is_fetched_again_for_those_who_ask(
    tmp_path: Path,
) -> None:
    share = Share(tmp_path)
    source = share.make("data", 300_000)
    metainfo = read(source)

    async def main() -> None:
        async with share.seeding(source) as origin:
            first, second = TorrentSession(), TorrentSession()
            try:
                at = await first.open(HERE)
                torrent = await first.add(metainfo, TorrentOptions(share.out, peers=(origin,)))
                await asyncio.wait_for(torrent.completed.wait(), 20)
                (share.out / "data").unlink()
                await second.open(HERE)
                other = TorrentOptions(tmp_path / "other", peers=(at,))
                copy = await second.add(metainfo, other)
                await asyncio.wait_for(copy.completed.wait(), 20)
                await asyncio.wait_for(torrent.completed.wait(), 20)
                assert torrent.store.held.is_full
                assert share.is_same("data")
            finally:
                await second.close()
                await first.close()
        assert (tmp_path / "other" / "data").read_bytes() == (share.data / "data").read_bytes()

    asyncio.run(main())


def test_what_a_seed_has_lost_is_taken_back_and_not_written(tmp_path: Path) -> None:
    """The data is the user's: what they delete does not come back."""
    share = Share(tmp_path)
    source = share.make("data", 300_000)
    metainfo = read(source)

    async def main() -> None:
        async with share.seeding(source) as origin:
            first, second = TorrentSession(), TorrentSession()
            try:
                at = await first.open(HERE)
                (share.out).mkdir()
                (share.out / "data").write_bytes((share.data / "data").read_bytes())
                mine = TorrentOptions(share.out, peers=(origin,), is_seeding=True)
                torrent = await first.add(metainfo, mine)
                (share.out / "data").unlink()
                await second.open(HERE)
                other = TorrentOptions(tmp_path / "other", peers=(at,))
                copy = await second.add(metainfo, other)
                await until(lambda: not torrent.store.held.held)
                assert not copy.store.held.held
                assert torrent.completed.is_set()
                assert not (share.out / "data").exists()
            finally:
                await second.close()
                await first.close()

    asyncio.run(main())


@pytest.mark.parametrize("version", [Version.V2, Version.HYBRID])
def test_a_seed_gives_the_hashes_of_the_blocks_of_a_piece(tmp_path: Path, version: Version) -> None:
    """BEP 52: whoever got a forged piece from several asks for them, to know who forged it."""
    shared = make_data(tmp_path / "seed")
    metainfo = Metainfo.parse(make_torrent(shared, version, 4 * LEAF_BYTES))

    async def main() -> None:
        session = TorrentSession()
        address = await session.open(HERE)
        peer = await RawPeer.call(address)
        try:
            await session.add(metainfo, TorrentOptions(shared.parent))
            await peer.greet(metainfo.info_hash)
            for entry in metainfo.files:
                count = -(-entry.length // LEAF_BYTES)
                if count < 2 or entry.is_padding:
                    continue
                length, levels = min(4, width_of(count)), width_of(count).bit_length() - 1
                index = (count - 1) // length * length  # The last piece of the file.
                peer.say(HashRequest(entry.root, 0, index, length, levels - 1))
                while not isinstance(heard := await peer.hear(), (Hashes, HashReject)):
                    pass
                assert isinstance(heard, Hashes)
                found = [heard.hashes[at : at + 32] for at in range(0, len(heard.hashes), 32)]
                root = root_of_proof(found[:length], index, found[length:])
                assert root == entry.root, entry.path
        finally:
            peer.close()
            await session.close()

    asyncio.run(main())


def test_a_torrent_of_which_all_that_is_wanted_is_here_is_paused_to_trackers(
    tmp_path: Path,
) -> None:
    shared = make_data(tmp_path / "seed")
    metainfo = Metainfo.parse(make_torrent(shared, Version.HYBRID))

    async def main() -> None:
        session = TorrentSession()
        await session.open(HERE)
        try:
            wanted = frozenset({0})
            torrent = await session.add(metainfo, TorrentOptions(shared.parent, wanted=wanted))
            assert torrent.swarm.is_complete
            how_far = torrent.progress()
            assert how_far.is_paused
            assert 0 < how_far.left <= metainfo.length
        finally:
            await session.close()

    asyncio.run(main())
