"""The block of progress on a terminal, drawn by rich. Import it only when there is a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from livestream.runtime.screen import Row, Screen
from livestream.runtime.status import eta_text, rate_text

__all__ = ["RichScreen"]

BAR_WIDTH: Final = 20
NAME_WIDTH_MIN: Final = 8


class RichScreen(Screen):
    """One Live block, redrawn when there is news: no thread of its own draws it.

    Invariant: `_guests` programs have the terminal; the block is there only while that is 0.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._rows: Sequence[Row] = ()
        self._guests = 0

    def say(self, text: str) -> None:
        """Print a line above the block."""
        self._console.print(Text(text), soft_wrap=True)

    def show(self, rows: Sequence[Row]) -> None:
        """Replace the block."""
        self._rows = rows
        if self._guests:
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(draw(rows), refresh=True)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the block away until all guests have gone."""
        self._guests += 1
        self.close()
        try:
            yield
        finally:
            self._guests -= 1
            self.show(self._rows)

    def close(self) -> None:
        """Remove the block."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def draw(rows: Sequence[Row]) -> RenderableType:
    """Return a line a torrent, and below them why those do not move that do not."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1, min_width=NAME_WIDTH_MIN)
    table.add_column(width=BAR_WIDTH)
    for _ in range(5):
        table.add_column(justify="right", no_wrap=True)
    table.expand = True
    notes = []
    for row in rows:
        table.add_row(
            Text(_printable(row.name)),
            ProgressBar(total=1.0, completed=row.share, width=BAR_WIDTH),
            f"{100 * row.share:.1f} %",
            f"↓ {rate_text(row.down_bps)}",
            f"↑ {rate_text(row.up_bps)}",
            f"{row.peers} peers",
            eta_text(row.eta_s),
        )
        if row.note:
            is_clear = len(rows) == 1 or row.name in row.note
            about = row.note if is_clear else f"{row.name}: {row.note}"
            notes.append(Text(f"  {_printable(about)}", style="dim"))
    return Group(table, *notes)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
