"""Processes of the command line that tests start, and how they end."""

from __future__ import annotations

import signal
import subprocess

__all__ = ["end"]


def end(process: subprocess.Popen[bytes], number: int = signal.SIGINT) -> None:
    """Ask it to end, as Ctrl-C does. Who does not is killed, or later tests share the machine."""
    process.send_signal(number)
    try:
        process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
