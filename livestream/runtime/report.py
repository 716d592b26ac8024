"""Statistics for files and people: one JSON object a second, one line every ten, or a screen."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from livestream.errors import UserError
from livestream.runtime.screen import Row, Screen

__all__ = ["Report"]

LINE_SECONDS: Final = 10


class Report:
    """Appends to `--stats FILE` and talks on stderr."""

    def __init__(
        self, stats_file: str | None, *, is_quiet: bool = False, screen: Screen | None = None
    ) -> None:
        """Open the file. Raises UserError if it cannot be written."""
        self._file: IO[str] | None = None
        self._is_quiet = is_quiet
        self._screen = screen
        self._seconds = 0
        if stats_file == "-":
            self._file = sys.stderr
        elif stats_file is not None:
            try:
                self._file = Path(stats_file).open("a", encoding="utf-8")  # noqa: SIM115
            except OSError as error:
                raise UserError(
                    f"Cannot write statistics to {stats_file}: {error.strerror}. "
                    "Choose another file for --stats."
                ) from error

    def say(self, text: str) -> None:
        """Tell the person at the terminal."""
        if not self._is_quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Tell the person at the terminal, who may have asked to hear nothing but errors."""
        # Strangers name torrents, and trackers word their failures: no escape sequences of theirs.
        clean = "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
        if self._screen is not None:
            self._screen.say(clean)
            return
        sys.stderr.write(clean + "\n")
        sys.stderr.flush()

    def show(self, rows: Sequence[Row]) -> None:
        """Show where torrents are, if there is a screen."""
        if self._screen is not None:
            self._screen.show(rows)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leave the terminal to another program for a while."""
        if self._screen is None:
            yield
            return
        with self._screen.aside():
            yield

    def second(self, stats: Mapping[str, float | int | str], line: Callable[[], str]) -> None:
        """Record one second; every tenth is told to people too, if there is no screen."""
        if self._file is not None:
            self._file.write(json.dumps(stats) + "\n")
            self._file.flush()
        self._seconds += 1
        if self._seconds % LINE_SECONDS == 0 and self._screen is None:
            self.say(line())

    def close(self) -> None:
        """Close the file and the screen."""
        if self._screen is not None:
            self._screen.close()
            self._screen = None
        if self._file is not None and self._file is not sys.stderr:
            self._file.close()
