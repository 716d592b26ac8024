"""Players: chosen by name, started without a shell."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from livestream.errors import MediaError, UsageError
from viewer.players import start_player, stream_url

PAGE = "http://127.0.0.1:7070/"
MEDIA = f"{PAGE}c/ab/live.mp4"


def test_a_missing_player_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MediaError, match="mpv"):
        asyncio.run(start_player("mpv", PAGE, MEDIA, is_live=True))


def test_an_unknown_player_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="winamp"):
        asyncio.run(start_player("winamp", PAGE, MEDIA, is_live=True))


def test_auto_starts_nothing_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert asyncio.run(start_player("auto", PAGE, MEDIA, is_live=True)) is None


def test_the_url_reaches_the_player_as_one_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    program = tmp_path / "mpv"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{seen}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    async def run() -> int:
        player = await start_player("mpv", PAGE, stream_url(PAGE, "ab; true"), is_live=True)
        assert player is not None
        return await player.wait()

    assert asyncio.run(run()) == 0
    assert seen.read_text().splitlines()[-1] == f"{PAGE}c/ab%3B%20true/live.mp4"


def test_the_pages_token_goes_along_to_the_player() -> None:
    url = stream_url("http://192.0.2.7:7070/?token=secret", "ab", "ts")
    assert url == "http://192.0.2.7:7070/c/ab/live.ts?token=secret"


def test_a_browser_without_a_desktop_says_which_page_to_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(MediaError, match=PAGE):
        asyncio.run(start_player("browser", PAGE, MEDIA, is_live=True))


def test_auto_on_a_desktop_without_players_opens_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{seen}"\n')
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DISPLAY", ":9")

    async def run() -> int:
        player = await start_player("auto", PAGE, MEDIA, is_live=True)
        assert player is not None
        return await player.wait()

    assert asyncio.run(run()) == 0
    assert seen.read_text() == f"{PAGE}\n"
