"""`livestream simulate`: figures, pictures, and what it says when it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from livestream.cli.app import run

QUICK = ["simulate", "still", "--viewers", "3", "--seconds", "8", "-q"]
KEYS = [
    "scenario",
    "seed",
    "viewers",
    "lag_p50_s",
    "lag_p99_s",
    "continuity",
    "publisher_upload_x",
    "duplicate_share",
    "control_share",
    "overhead_share",
    "rate_share",
    "start_p50_s",
    "start_p95_s",
    "bad_pieces_shown",
    "bounds",
    "wall_s",
    "trace_hash",
]


def test_figures_go_into_a_file_and_a_picture_beside_them(tmp_path: Path) -> None:
    figures, picture = tmp_path / "a.json", tmp_path / "a.png"
    assert run([*QUICK, "--json", str(figures), "--plot", str(picture)]) == 0
    read = json.loads(figures.read_text())
    assert list(read) == KEYS
    assert read["scenario"] == "still"
    assert read["viewers"] == 3
    assert 0.9 < read["lag_p50_s"] < 1.3
    assert read["bounds"]["lag_p50_s"] < read["lag_p50_s"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


def test_a_design_that_is_only_compared_with_has_figures_though_it_starves_its_viewers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario, figures = tmp_path / "thin.toml", tmp_path / "a.json"
    scenario.write_text('base = "still"\nviewers = 4\nseconds = 16\npublisher_uplink_x = 0.01\n')
    words = ["simulate", str(scenario), "--json", str(figures), "-q"]
    assert run([*words, "--design", "pull"]) == 0
    assert json.loads(figures.read_text())["continuity"] < 0.1
    assert run(words) == 1  # Ours is not to.


def test_several_seeds_give_a_list(tmp_path: Path) -> None:
    figures = tmp_path / "a.json"
    assert run([*QUICK, "--seed", "1", "--seed", "2", "--json", str(figures)]) == 0
    read = json.loads(figures.read_text())
    assert [each["seed"] for each in read] == [1, 2]
    assert read[0]["trace_hash"] != read[1]["trace_hash"]


def test_a_file_is_a_scenario(tmp_path: Path) -> None:
    scenario, figures = tmp_path / "mine.json", tmp_path / "a.json"
    scenario.write_text('{"base": "still", "name": "mine", "rate_bps": 500000}')
    words = ["simulate", str(scenario), *QUICK[2:]]
    assert run([*words, "--json", str(figures)]) == 0
    assert json.loads(figures.read_text())["scenario"] == "mine"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["simulate", "L00"], "The nearest is L0."),
        (["simulate", "L0", "--design", "tress"], "The nearest is tree"),
        (["simulate", "L0", "--links", "pakets"], "The nearest is packets"),
        (["simulate", "L0", "--viewers", "0"], "viewers must be"),
        (["simulate", "L0", "--seconds", "2"], "seconds must be more than join_s"),
        (["simulate", "nowhere.toml"], "cannot be read as a scenario"),
        (["simulate", "L0", "--plot", "a.jpg"], "pictures are PNG files"),
        (["simulate", "L0", "--json", "/nowhere/at/all.json"], "its folder is not there"),
    ],
)
def test_what_cannot_be_simulated_is_said_with_code_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert complaint in capsys.readouterr().err


def test_matplotlib_is_loaded_for_a_picture_only() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from livestream.cli.app import run\n"
        "sys.exit(run(['simulate', 'still', '--viewers', '2', '--seconds', '6', '-q']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
