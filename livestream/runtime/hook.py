"""The command of `--on-done`, run with what it needs to know in its environment."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from livestream.errors import UserError
from livestream.torrent.metainfo import Metainfo

__all__ = ["content_path", "run_hook"]


def content_path(metainfo: Metainfo, folder: Path) -> Path:
    """Return the file or folder that a torrent becomes: its name, cleaned as on the disk."""
    return folder.absolute() / metainfo.files[0].path[0]


async def run_hook(command: str, metainfo: Metainfo, folder: Path) -> None:
    """Run a shell command and wait for it; what it prints goes to stderr.

    Names are in variables, never in the command's text: a shell does not interpret what
    "$LIVESTREAM_PATH" stands for, whatever a stranger called the torrent.

    Raises:
        UserError: it ended with another code than 0.
    """
    path = content_path(metainfo, folder)
    environment = {
        **os.environ,
        "LIVESTREAM_NAME": path.name,
        "LIVESTREAM_PATH": str(path),
        "LIVESTREAM_INFO_HASH": metainfo.info_hash.hex(),
    }
    process = await asyncio.create_subprocess_shell(
        command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=_error_output()
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.terminate()
        raise
    if code:
        raise UserError(f"The command of --on-done ended with {code}. The download is complete.")


def _error_output() -> int | None:
    """Return where stderr goes: stdout is for data only."""
    try:
        return sys.__stderr__.fileno() if sys.__stderr__ is not None else None
    except (OSError, ValueError):  # Closed, or no file: then it goes where stdout does.
        return None
