"""Channels on disk: keys that only we can read, reused by name, and clear errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from livestream.discovery.link import ChannelLink
from livestream.errors import DiskError, ExistsError, KeyMismatchError, NotFoundError, UsageError
from livestream.runtime.channels import ChannelStore


def test_a_channel_keeps_its_key_and_its_epochs_only_grow(tmp_path: Path) -> None:
    first = ChannelStore(tmp_path).open_or_create("garden")
    assert first.key_path.stat().st_mode & 0o777 == 0o600
    store = ChannelStore(tmp_path)
    again = store.open_or_create("garden")
    assert again.public_key == first.public_key
    epochs = [store.next_epoch(again, 1_000), store.next_epoch(again, 1_000)]
    later = ChannelStore(tmp_path).open_or_create("garden")
    epochs.append(ChannelStore(tmp_path).next_epoch(later, 500))
    assert epochs == sorted(set(epochs))


def test_whoever_makes_a_channel_at_the_same_time_gets_the_same_key(tmp_path: Path) -> None:
    """The key on the air must be the one on the disk, or the channel is lost at the next start."""
    with ThreadPoolExecutor(8) as pool:
        start = Barrier(8)

        def make(_: int) -> bytes:
            start.wait(10)
            return ChannelStore(tmp_path).open_or_create("garden").public_key

        made = list(pool.map(make, range(8)))
    assert set(made) == {ChannelStore(tmp_path).open("garden").public_key}
    assert sorted(path.name for path in (tmp_path / "channels").iterdir()) == ["garden.key"]


def test_a_key_of_ones_own_is_used_and_kept_under_the_name(tmp_path: Path) -> None:
    key = tmp_path / "mine.pem"
    key.write_text("11" * 32)
    made = ChannelStore(tmp_path / "data").create("garden", str(key))
    assert made.private_key == bytes.fromhex("11" * 32)
    kept = ChannelStore(tmp_path / "data").open("garden")
    assert kept.public_key == made.public_key
    assert kept.key_path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_to_is_a_clear_error_and_no_reason_not_to_watch(
    tmp_path: Path,
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    store = ChannelStore(in_the_way / "data")
    with pytest.raises(DiskError, match="garden"):
        store.open_or_create("garden")
    store.remember(ChannelLink(bytes(32), "news"))


def test_damaged_state_does_not_stop_a_channel(tmp_path: Path) -> None:
    made = ChannelStore(tmp_path).create("garden")
    made.state_path.write_text('{"epoch": "x", "port": -1')
    (tmp_path / "known.json").write_text("[")
    again = ChannelStore(tmp_path).open("garden")
    assert (again.public_key, again.last_epoch, again.port) == (made.public_key, 0, 0)
    assert ChannelStore(tmp_path).next_epoch(again, 1_000) == 1_000


def test_a_channel_is_made_once(tmp_path: Path) -> None:
    store = ChannelStore(tmp_path)
    store.create("garden")
    with pytest.raises(ExistsError):
        store.create("garden")


def test_a_damaged_key_is_a_clear_error(tmp_path: Path) -> None:
    store = ChannelStore(tmp_path)
    made = store.create("garden")
    made.key_path.write_text("not a key")
    with pytest.raises(KeyMismatchError) as caught:
        ChannelStore(tmp_path).open_or_create("garden")
    assert caught.value.exit_code == 5
    assert "garden" in str(caught.value)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".", "x" * 80])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        ChannelStore(tmp_path).create(name)
    assert not (tmp_path.parent / "x").exists()


def test_links_that_were_watched_are_found_by_name(tmp_path: Path) -> None:
    store = ChannelStore(tmp_path)
    link = ChannelLink(bytes(32), "news")
    store.remember(link)
    assert ChannelStore(tmp_path).resolve("news") == link
    assert store.resolve(str(link)) == link
    with pytest.raises(NotFoundError, match="news"):
        store.resolve("olds")
