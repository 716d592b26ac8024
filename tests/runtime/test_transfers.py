"""The download command: each torrent comes to its own end, and the exit code tells of all."""

from __future__ import annotations

import asyncio
import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from livestream.errors import DiskError, MetainfoError, UnfinishedError, UsageError, UserError
from livestream.runtime.transfers import TransferOptions, run
from tests.ports import free_address
from tests.runtime.downloads import TIMEOUT_S, Share, until


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_DATA_DIR", str(tmp_path / "home"))


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(tmp_path)


def download(share: Share, seeded: list[str], options: TransferOptions) -> int:
    """Run a download beside a seed; returns its exit code."""

    async def main() -> int:
        async with share.seeding(*seeded) as address:
            return await asyncio.wait_for(run(replace(options, peers=(address,))), TIMEOUT_S)

    return asyncio.run(main())


def test_a_torrent_that_fails_does_not_stop_the_others(
    share: Share, capsys: pytest.CaptureFixture[str]
) -> None:
    good = share.make("good", 200_000)
    junk = share.folder / "junk.torrent"
    junk.write_bytes(b"d4:infoi3ee")
    code = download(share, [good], share.options(str(junk), good))
    assert code == MetainfoError.exit_code
    assert share.is_same("good")
    told = capsys.readouterr().err
    assert "junk.torrent" in told
    assert "1 of 2 torrents failed" in told


def test_a_quiet_download_still_tells_which_torrent_failed(
    share: Share, capsys: pytest.CaptureFixture[str]
) -> None:
    good = share.make("good", 50_000)
    options = replace(share.options("none.torrent", good), is_quiet=True)
    assert download(share, [good], options) == UsageError.exit_code
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "none.torrent" in told[0]


def test_what_cannot_be_written_for_good_fails_only_its_torrent(share: Share) -> None:
    good, bad = share.make("good", 200_000), share.make("bad", 200_000)
    (share.out / "bad").mkdir(parents=True)
    assert download(share, [good, bad], share.options(bad, good)) == DiskError.exit_code
    assert share.is_same("good")


def test_a_torrent_that_is_given_twice_is_downloaded_once(
    share: Share, capsys: pytest.CaptureFixture[str]
) -> None:
    good = share.make("good", 100_000)
    assert download(share, [good], share.options(good, good)) == UsageError.exit_code
    assert share.is_same("good")
    assert "under way already" in capsys.readouterr().err


def test_a_full_disk_pauses_only_its_torrent_which_goes_on_when_there_is_room(
    share: Share, capsys: pytest.CaptureFixture[str]
) -> None:
    large, small = share.make("large", 600_000), share.make("small", 100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main() -> int:
        async with share.seeding(large, small) as address:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
            work = asyncio.create_task(run(share.options(large, small, peer=address)))
            await until(lambda: "small: complete" in capsys.readouterr().err)
            assert not work.done()
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            return await work

    try:
        assert asyncio.run(asyncio.wait_for(main(), TIMEOUT_S)) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert share.is_same("large")
    assert share.is_same("small")


def test_a_disk_that_stays_full_is_the_exit_code_when_the_time_is_over(share: Share) -> None:
    large = share.make("large", 600_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(UserError, match="No space") as raised:
            download(share, [large], replace(share.options(large), duration_s=2.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.exit_code == 9


def test_what_is_complete_already_needs_nobody(
    share: Share, capsys: pytest.CaptureFixture[str]
) -> None:
    good = share.make("good", 100_000)
    share.out.symlink_to(share.data)
    options = replace(share.options(good), on_done=f"touch {share.folder / 'done'}")
    assert asyncio.run(asyncio.wait_for(run(options), TIMEOUT_S)) == 0
    assert (share.folder / "done").exists()
    assert "4 of 4 pieces are here" in capsys.readouterr().err


def test_a_wrong_file_of_that_name_and_size_is_put_right(share: Share) -> None:
    good = share.make("good", 200_000)
    share.out.mkdir()
    spoilt = bytearray((share.data / "good").read_bytes())
    spoilt[100_000:] = bytes(100_000)
    (share.out / "good").write_bytes(spoilt)
    assert download(share, [good], share.options(good)) == 0
    assert share.is_same("good")


@pytest.mark.parametrize("name", ["a b", "$(touch gone)", "it's", "-rf", "`touch gone`;ü"])
def test_the_command_gets_odd_names_as_they_are(
    share: Share, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(share.folder)
    odd = share.make(name, 20_000)
    command = (
        'printf "%s\\n" "$LIVESTREAM_NAME" "$LIVESTREAM_PATH" > told; cat "$LIVESTREAM_PATH" > copy'
    )
    options = replace(share.options(odd), on_done=command)
    assert download(share, [odd], options) == 0
    told = Path("told").read_text().splitlines()
    assert told == [name, str(share.out / name)]
    assert Path("copy").read_bytes() == (share.data / name).read_bytes()
    assert not Path("gone").exists()


def test_the_command_of_on_done_may_fail_and_prints_nothing_to_stdout(
    share: Share, capfd: pytest.CaptureFixture[str]
) -> None:
    good = share.make("good", 20_000)
    with pytest.raises(UserError, match=r"ended with 3. The download is complete"):
        download(share, [good], replace(share.options(good), on_done="echo hello; exit 3"))
    told = capfd.readouterr()
    assert told.out == ""
    assert "hello" in told.err


def test_the_summary_is_json_of_every_torrent_failed_or_not(
    share: Share, capsys: pytest.CaptureFixture[str]
) -> None:
    good = share.make("good", 200_000)
    options = replace(share.options(good, "none.torrent"), is_json=True)
    assert download(share, [good], options) == UsageError.exit_code
    done, failed = json.loads(capsys.readouterr().out)
    assert done["is_complete"] is True
    assert done["error"] is None
    assert (done["bytes_downloaded"], done["bytes_left"]) == (200_000, 0)
    assert done["path"] == str(share.out / "good")
    assert failed["is_complete"] is False
    assert "No such file" in failed["error"]


def test_who_comes_and_goes_is_told_only_on_demand(
    share: Share, capsys: pytest.CaptureFixture[str]
) -> None:
    good = share.make("good", 100_000)
    told: list[str] = []

    def is_told(words: str) -> bool:
        told.append(capsys.readouterr().err)
        return words in "".join(told)

    async def main(*, is_verbose: bool) -> None:
        async with share.seeding(good) as address:
            options = share.options(good, peer=address)
            options = replace(options, is_verbose=is_verbose, seed_time_s=float(is_verbose))
            work = asyncio.create_task(run(options))
            await until(lambda: is_told("complete"))
        if is_verbose:
            await until(lambda: is_told("left: hung up"))
        assert await work == 0
        assert is_told("joined") is is_verbose

    asyncio.run(main(is_verbose=True))
    told.clear()
    asyncio.run(main(is_verbose=False))


def test_when_the_time_is_over_it_says_what_remains(
    share: Share, capsys: pytest.CaptureFixture[str]
) -> None:
    good = share.make("good", 100_000)
    with pytest.raises(UnfinishedError):
        asyncio.run(run(replace(share.options(good), duration_s=0.3)))
    assert "100,000 bytes remain; 0 of 4 pieces are here" in capsys.readouterr().err


def test_an_interrupt_says_what_remains(share: Share, capsys: pytest.CaptureFixture[str]) -> None:
    good = share.make("good", 100_000)

    async def main() -> None:
        work = asyncio.create_task(run(share.options(good)))
        await until(lambda: "pieces are here" in capsys.readouterr().err)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))
    assert "100,000 bytes remain" in capsys.readouterr().err


def test_a_seed_leaves_when_its_ratio_is_reached_and_not_before(share: Share) -> None:
    good = share.make("good", 200_000)
    address = free_address()

    async def main() -> int:
        seed = TransferOptions(
            (good,), share.data, is_seeding=True, seed_ratio=1.0, listen=address, is_quiet=True
        )
        sharing = asyncio.create_task(run(seed))
        await asyncio.sleep(0.5)
        assert not sharing.done()
        assert await run(share.options(good, peer=address)) == 0
        return await sharing

    assert asyncio.run(asyncio.wait_for(main(), TIMEOUT_S)) == 0


def test_a_download_shares_for_as_long_as_it_was_asked_to(
    share: Share, capsys: pytest.CaptureFixture[str]
) -> None:
    good, late = share.make("good", 100_000), Share(share.folder / "late")
    address = free_address()

    async def main() -> None:
        async with share.seeding(good) as seed:
            first = share.options(good, peer=seed)
            sharing = asyncio.create_task(run(replace(first, listen=address, seed_time_s=2.0)))
            await until(lambda: "complete" in capsys.readouterr().err)
        assert await run(late.options(good, peer=address)) == 0
        assert await sharing == 0

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))
    assert (late.out / "good").read_bytes() == (share.data / "good").read_bytes()


def test_seeding_what_is_not_there_says_where_it_looked(share: Share) -> None:
    good = share.make("good", 100_000)
    options = replace(share.options(good), is_seeding=True)
    with pytest.raises(UsageError, match=r"none of its data is in .*out"):
        asyncio.run(run(options))
