"""Runs a command's coroutine: the event loop, and what the signals that end it mean."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import warnings
from collections.abc import Callable, Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Final, cast

__all__ = ["run_to_end"]

GC_THRESHOLD: Final = 20_000  # Of 700: a piece's blocks alone make that many objects.
INTERRUPTED: Final = 130  # What shells make of SIGINT.
TERMINATED: Final = 128 + signal.SIGTERM


def run_to_end(work: Coroutine[None, None, int]) -> int:
    """Run until `work` is done, or a signal ends it. Returns the exit code.

    The first SIGINT or SIGTERM cancels the work, which says goodbye and keeps what it has; the
    second SIGINT ends the process at once.
    """
    # aioquic warns of whatever strangers send, and cryptography of their certificates: the terminal
    # is not theirs to fill.
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="aioquic")
    # What was imported stays; most of what comes is freed by its last reference.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(_until_terminated(work))
        except KeyboardInterrupt:
            return INTERRUPTED


async def _until_terminated(work: Coroutine[None, None, int]) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    terminated = asyncio.Event()

    def terminate() -> None:
        terminated.set()
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await work
    except asyncio.CancelledError:
        if terminated.is_set():
            return TERMINATED
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: less work per event."""
    if find_spec("uvloop") is None:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", import_module("uvloop").new_event_loop)
