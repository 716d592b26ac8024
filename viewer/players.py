"""Finds and starts what shows the picture: mpv, VLC, ffplay or the browser."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, Process
from typing import Final

from livestream.errors import MediaError, UsageError

__all__ = ["start_player"]

# Words before the URL; each player's own way to hold nothing back.
PLAYERS: Final[dict[str, list[str]]] = {
    "mpv": ["mpv", "--profile=low-latency"],
    "vlc": ["vlc", "--network-caching=300"],
    "ffplay": ["ffplay", "-fflags", "nobuffer"],
    "browser": ["xdg-open"],
}


async def start_player(name: str, page_url: str, channel_id: str) -> Process | None:
    """Start a player by name; `auto`: the first there is, if there is a display.

    Raises:
        UsageError: no such player.
        MediaError: it is not installed.
    """
    if name == "none":
        return None
    if name not in ("auto", *PLAYERS):
        raise UsageError(f"No player {name!r}. Choose auto, none, {', '.join(PLAYERS)}.")
    has_display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if name == "auto" and not has_display:
        return None
    wanted = list(PLAYERS) if name == "auto" else [name]
    for player in wanted:
        program = shutil.which(PLAYERS[player][0])
        if program is not None:
            path = page_url if player == "browser" else f"{page_url}c/{channel_id}/live.mp4"
            words = [program, *PLAYERS[player][1:], path]
            return await asyncio.create_subprocess_exec(*words, stdout=DEVNULL, stderr=DEVNULL)
    if name == "auto":
        return None
    raise MediaError(f"{PLAYERS[name][0]} is not installed. Install it, or use --player none.")
