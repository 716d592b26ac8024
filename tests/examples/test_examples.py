"""The examples do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_watch import codecs

FOLDER = Path(__file__).parents[2] / "examples"


def run(folder: Path, *command: str) -> str:
    """Run a command where `livestream` is in the PATH. Returns what it says on stdout."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "TMPDIR": str(folder), "HOME": str(folder)}
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


@pytest.mark.e2e
def test_a_folder_is_deployed_to_all_machines_and_started_there(tmp_path: Path) -> None:
    lines = run(tmp_path, "sh", str(FOLDER / "deploy.sh"), "3").splitlines()
    assert lines == [f"machine {number} has it, and said: started" for number in (1, 2, 3)]
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.e2e
def test_a_broadcast_is_watched_into_a_file(tmp_path: Path) -> None:
    run(tmp_path, "sh", str(FOLDER / "broadcast.sh"), "3", "match.ts")
    assert codecs(tmp_path / "match.ts") == ["aac", "h264"]


def test_what_a_channel_costs_is_told_for_each_audience(tmp_path: Path) -> None:
    lines = run(tmp_path, sys.executable, str(FOLDER / "audience.py"), "8").splitlines()
    assert [line.split()[0] for line in lines] == ["10", "30"]
    for line in lines:
        costs = re.search(r"sends (\d\.\d\d) times the rate", line)
        assert costs is not None
        assert 1.0 <= float(costs[1]) < 3.0, line


def test_the_village_has_all_of_its_match(tmp_path: Path) -> None:
    run(tmp_path, "livestream", "simulate", str(FOLDER / "village.toml"), "--json", "village.json")
    (figures,) = [json.loads((tmp_path / "village.json").read_text())]
    assert figures["scenario"] == "village"
    assert figures["viewers"] == 24
    assert figures["continuity"] > 0.95, "but for those who were cut off for two seconds"
