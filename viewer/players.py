"""Finds and starts what shows the picture: mpv, VLC, ffplay or the browser."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import webbrowser
from asyncio.subprocess import DEVNULL, Process
from typing import Final
from urllib.parse import quote, urlsplit

from livestream.errors import MediaError, UsageError

__all__ = ["start_player", "stream_url"]

BROWSER: Final = "browser"
# In order of preference; what makes each hold nothing back when the picture is live.
PLAYERS: Final[dict[str, list[str]]] = {
    "mpv": ["--profile=low-latency"],
    "vlc": ["--network-caching=300"],
    "ffplay": ["-fflags", "nobuffer"],
}


async def start_player(
    name: str, page_url: str, media_url: str, *, is_live: bool
) -> Process | None:
    """Start a player by name; `auto`: the first there is, if there is a desktop.

    The browser gets the page, every other player the media itself.

    Raises:
        UsageError: no such player.
        MediaError: it is not installed, or there is no desktop to show the browser on.
    """
    names = [*PLAYERS, BROWSER]
    if name == "none":
        return None
    if name not in ("auto", *names):
        raise UsageError(f"No player {name!r}. Choose auto, none, {', '.join(names)}.")
    if name == "auto" and not _has_desktop():
        return None
    for player in names if name == "auto" else [name]:
        is_browser = player == BROWSER
        words = await asyncio.to_thread(_browser) if is_browser else _program(player, is_live)
        if words:
            words = [*words, page_url if is_browser else media_url]
            return await asyncio.create_subprocess_exec(*words, stdout=DEVNULL, stderr=DEVNULL)
    if name == "auto":
        return None
    if name == BROWSER:
        raise MediaError(f"No browser or no desktop here. Open {page_url} in a browser yourself.")
    raise MediaError(f"{name} is not installed. Install it, or use --player none.")


def stream_url(page_url: str, channel_id: str, container: str = "mp4") -> str:
    """Return where a player reads the channel that a page shows; a token goes along."""
    path = f"/c/{quote(channel_id, safe='')}/live.{container}"
    return urlsplit(page_url)._replace(path=path).geturl()


def _program(player: str, is_live: bool) -> list[str]:
    program = shutil.which(player)
    return [program, *(PLAYERS[player] if is_live else [])] if program else []


def _browser() -> list[str]:
    """Return the words that open a URL in the browser; none without a desktop to open it on.

    May take a while: the standard library asks other programs for their opinion.
    """
    if not _has_desktop():
        return []  # What would start is a browser in the terminal, which shows no video.
    opener = shutil.which("xdg-open")
    if opener is not None:
        return [opener]
    try:
        webbrowser.get()
    except webbrowser.Error:
        return []
    return [sys.executable, "-m", "webbrowser"]


def _has_desktop() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
