"""What people and programs are told, and that strangers do not get to draw on terminals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from livestream.errors import UserError
from livestream.runtime.report import Report
from livestream.runtime.screen import Row, Screen


class Recorder(Screen):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[Sequence[Row]] = []
        self.is_closed = False

    def say(self, text: str) -> None:
        """Remember a line."""
        self.said.append(text)

    def show(self, rows: Sequence[Row]) -> None:
        """Remember the rows."""
        self.shown.append(rows)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Do nothing."""
        yield

    def close(self) -> None:
        """Remember that it is over."""
        self.is_closed = True


def test_escape_sequences_of_strangers_are_not_passed_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Report(None).say("name \x1b[2J\u202e: ünïcode\nsecond line")
    assert capsys.readouterr().err == "name ?[2J?: ünïcode\nsecond line\n"


def test_quiet_is_about_news_and_not_about_errors(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(None, is_quiet=True)
    report.say("news")
    report.warn("error")
    assert capsys.readouterr().err == "error\n"


def test_with_a_screen_all_goes_through_it(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Recorder()
    report = Report(None, screen=screen)
    report.show([Row("a", 0.5)])
    for _ in range(10):
        report.second({}, lambda: "a line")
    report.say("news")
    report.close()
    assert screen.said == ["news"]
    assert len(screen.shown) == 1
    assert screen.is_closed
    assert capsys.readouterr().err == ""


def test_without_one_it_is_a_line_every_ten_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(str(tmp_path / "stats"))
    for second in range(20):
        report.second({"second": second}, lambda second=second: f"at {second}")  # type: ignore[misc]
    report.close()
    assert capsys.readouterr().err == "at 9\nat 19\n"
    lines = (tmp_path / "stats").read_text().splitlines()
    assert [json.loads(line)["second"] for line in lines] == list(range(20))


def test_statistics_that_cannot_be_written_are_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--stats"):
        Report(str(tmp_path))
