"""The demo: processes of our own command, each a whole peer, on loopback."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from livestream.errors import LivestreamError, NetworkError

__all__ = ["DemoOptions", "run"]

LINK_TIMEOUT_S: Final = 15.0
STOP_TIMEOUT_S: Final = 5.0
STAGGER_S: Final = 0.5  # Viewers come one after the other, so that later ones meet earlier ones.


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `livestream demo` was asked for."""

    source: str = "test"
    viewers: int = 3
    player: str = "auto"
    duration_s: float | None = None
    http: str | None = None


async def run(options: DemoOptions) -> int:
    """Run until Ctrl-C, the end of the source, or the time given. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="livestream-demo-") as folder:
        processes: list[Process] = []
        try:
            return await _run(options, Path(folder), processes)
        finally:
            await _stop(processes)


async def _run(options: DemoOptions, folder: Path, processes: list[Process]) -> int:
    key = folder / "channel.key"
    words = ["publish", options.source, "--name", "demo", "--key", str(key), "-q"]
    words += ["--listen", "127.0.0.1:0"]
    if options.source not in ("test", "-"):
        words.append("--loop")
    publisher = await _start(words, folder, processes, stdout=PIPE)
    link = await _read_link(publisher)
    sys.stderr.write(f"Publisher is on the air. Link: {link}\n")
    for _ in range(1, options.viewers):
        # Into nothing: only the last viewer has a page, on the port that the guide names.
        words = ["watch", link, "-q", "-o", os.devnull, "--listen", "127.0.0.1:0"]
        await _start(words, folder, processes)
        await asyncio.sleep(STAGGER_S)
    sys.stderr.write(f"{options.viewers - 1} viewers pass it on; the last one has the page.\n")
    words = ["watch", link, "--player", options.player, "--listen", "127.0.0.1:0"]
    words += ["--http", options.http] if options.http else []
    words += ["--duration", str(options.duration_s)] if options.duration_s else []
    last = await _start(words, folder, processes)
    return await last.wait()


async def _start(
    words: list[str], folder: Path, processes: list[Process], stdout: int | None = None
) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "livestream", *words, stdout=stdout, env=_environment(folder)
    )
    processes.append(process)
    return process


def _environment(folder: Path) -> dict[str, str]:
    """A demo leaves nothing behind: its channel lives in a folder that goes with it."""
    return {**os.environ, "LIVESTREAM_DATA_DIR": str(folder)}


async def _read_link(publisher: Process) -> str:
    if publisher.stdout is None:
        raise LivestreamError("the publisher was started without a pipe")
    try:
        line = await asyncio.wait_for(publisher.stdout.readline(), LINK_TIMEOUT_S)
    except TimeoutError:
        line = b""
    if not line:
        raise NetworkError("The demo's publisher did not start; its own message is above.")
    return line.decode().strip()


async def _stop(processes: list[Process]) -> None:
    for process in reversed(processes):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
    for process in processes:
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
