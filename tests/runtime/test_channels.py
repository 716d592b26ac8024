"""Channels on disk: keys that only we can read, reused by name, and clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from livestream.discovery.link import ChannelLink
from livestream.errors import ExistsError, KeyMismatchError, NotFoundError, UsageError
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
