"""Players: chosen by name, started without a shell."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from livestream.errors import MediaError, UsageError
from viewer.players import start_player

PAGE = "http://127.0.0.1:7070/"


def test_a_missing_player_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MediaError, match="mpv"):
        asyncio.run(start_player("mpv", PAGE, "ab"))


def test_an_unknown_player_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="winamp"):
        asyncio.run(start_player("winamp", PAGE, "ab"))


def test_auto_starts_nothing_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert asyncio.run(start_player("auto", PAGE, "ab")) is None


def test_the_url_reaches_the_player_as_one_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    program = tmp_path / "mpv"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{seen}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    async def run() -> int:
        player = await start_player("mpv", PAGE, "ab; true")
        assert player is not None
        return await player.wait()

    assert asyncio.run(run()) == 0
    assert seen.read_text().splitlines()[-1] == f"{PAGE}c/ab; true/live.mp4"
