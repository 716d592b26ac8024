"""What a terminal shows of a long job. rich is imported only if there is one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livestream.runtime.screen import Screen

__all__ = ["make_screen", "progress"]


def make_screen(stats_file: str | None, *, is_quiet: bool) -> Screen | None:
    """Return a block of progress for stderr; None where there is no terminal to draw it on."""
    if is_quiet or stats_file == "-" or not _is_terminal():
        return None
    from rich.console import Console

    from livestream.cli.screen import RichScreen

    return RichScreen(Console(stderr=True, highlight=False))


@contextmanager
def progress(what: str, *, is_quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total)."""
    if is_quiet or not _is_terminal():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)

    def on_progress(done: int, total: int) -> None:
        if not bar.tasks:  # Not before: its thread would keep hashing from using processes.
            bar.start()
            bar.add_task(what)
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield on_progress
    finally:
        bar.stop()


def _is_terminal() -> bool:
    """Whether stderr is a terminal on which lines can be rewritten."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
