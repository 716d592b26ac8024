"""The block on a terminal: a line a torrent, why nothing moves, and nothing torn."""

from __future__ import annotations

import io

from rich.console import Console

from livestream.cli.screen import RichScreen, draw
from livestream.runtime.screen import Row


def drawn(rows: list[Row], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(draw(rows))
    return capture.get()


def test_a_row_has_it_all() -> None:
    row = Row("name", 0.253, down_bps=12_300_000, up_bps=450_000, peers=7, eta_s=65)
    (line,) = drawn([row]).splitlines()
    for word in ("name", "25.3 %", "↓ 12.3M", "↑ 450k", "7 peers", "1m05s"):
        assert word in line


def test_why_nothing_moves_stands_below_whole() -> None:
    reason = "no peers: http://tracker.example/announce: " + "refused " * 20
    text = drawn([Row("one", 0.0, note=reason), Row("two", 1.0, note="seeding")], 60)
    words = " ".join(text.split())
    assert f"one: {reason.strip()}" in words
    assert "two: seeding" in words


def test_names_are_shortened_and_cannot_draw() -> None:
    text = drawn([Row("\x1b[2J[red]" + "x" * 200, 0.0)], 80)
    assert "\x1b" not in text
    assert "[red]" in text
    assert len(text.splitlines()) == 1


class Terminal:
    """A screen on a terminal that remembers every byte."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        self.screen = RichScreen(Console(file=self._file, force_terminal=True, width=80))

    @property
    def text(self) -> str:
        """All that was written."""
        return self._file.getvalue()


def test_what_is_said_is_above_the_block_which_is_drawn_again() -> None:
    terminal = Terminal()
    terminal.screen.show([Row("name", 0.5)])
    terminal.screen.say("news of [bold] " + "x" * 100)
    after = terminal.text.partition("news of [bold] " + "x" * 100 + "\n")[2]
    assert "name" in after, "the line is whole, and the block follows"
    terminal.screen.close()


def test_the_block_is_gone_while_another_program_has_the_terminal_and_at_the_end() -> None:
    terminal = Terminal()
    terminal.screen.show([Row("name", 0.5)])
    with terminal.screen.aside():
        with terminal.screen.aside():
            pass
        before = terminal.text
        terminal.screen.show([Row("name", 0.75)])
        assert terminal.text == before
    assert "75.0 %" in terminal.text
    terminal.screen.close()
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l"), "cursor is back"


def test_a_screen_that_never_showed_anything_leaves_no_trace() -> None:
    terminal = Terminal()
    terminal.screen.close()
    assert terminal.text == ""
