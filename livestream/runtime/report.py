"""Statistics for files and people: one JSON object a second, one line every ten."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Final

from livestream.errors import UserError

__all__ = ["Report"]

LINE_SECONDS: Final = 10


class Report:
    """Appends to `--stats FILE` and talks on stderr."""

    def __init__(self, stats_file: str | None, *, is_quiet: bool = False) -> None:
        """Open the file. Raises UserError if it cannot be written."""
        self._file: IO[str] | None = None
        self._is_quiet = is_quiet
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
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def second(self, stats: Mapping[str, float | int | str], line: Callable[[], str]) -> None:
        """Record one second; every tenth is told to people too."""
        if self._file is not None:
            self._file.write(json.dumps(stats) + "\n")
            self._file.flush()
        self._seconds += 1
        if self._seconds % LINE_SECONDS == 0:
            self.say(line())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None and self._file is not sys.stderr:
            self._file.close()
