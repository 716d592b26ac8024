"""`livestream simulate` over many seeds and parameters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from livestream.cli.app import run
from livestream.cli.sweeps import variants
from livestream.errors import UsageError

FILES = ["files-crowd", "--viewers", "3", "--json", "-"]


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "livestream", "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_all_combinations_are_run() -> None:
    assert variants(["loss=0.01,0.03", "viewers=5,6"]) == [
        {"loss": 0.01, "viewers": 5},
        {"loss": 0.01, "viewers": 6},
        {"loss": 0.03, "viewers": 5},
        {"loss": 0.03, "viewers": 6},
    ]
    assert variants([]) == [{}]


@pytest.mark.parametrize(
    "sweeps",
    [["loss"], ["=1"], ["loss="], ["loss=a"], ["loss=1", "loss=2"], ["a=" + "1," * 10_001 + "1"]],
)
def test_a_sweep_that_is_none_is_refused(sweeps: list[str]) -> None:
    with pytest.raises(UsageError, match="--sweep"):
        variants(sweeps)


def test_runs_of_a_sweep_are_those_that_one_gets_alone() -> None:
    swept = simulate(*FILES, "--sweep", "pieces=2,4", "--seed", "1", "--seed", "2")
    assert swept.returncode == 0, swept.stderr
    results = json.loads(swept.stdout)
    assert [result["seed"] for result in results] == [1, 2, 1, 2]
    alone = simulate(*FILES, "--sweep", "pieces=4", "--seed", "2")
    assert json.loads(alone.stdout)["trace_hash"] == results[3]["trace_hash"]


def test_the_picture_of_a_sweep_has_all_its_runs(tmp_path: Path) -> None:
    """Of the last run alone it would tell nothing of what was swept."""
    quick = ("still", "--seconds", "6", "--seed", "1")
    swept, last = tmp_path / "swept.png", tmp_path / "last.png"
    for viewers, picture in (("2,3", swept), ("3", last)):
        done = simulate(*quick, "--sweep", f"viewers={viewers}", "--plot", str(picture))
        assert done.returncode == 0, done.stderr
    assert swept.read_bytes().startswith(b"\x89PNG")
    assert swept.read_bytes() != last.read_bytes()


def test_how_pieces_spread_can_be_swept() -> None:
    base = ["L0", "--viewers", "8", "--seconds", "24", "--json", "-"]
    usual, low, small = (
        json.loads(simulate(*base, "--sweep", each).stdout)
        for each in ("substreams=8", "heads_per_substream=1", "piece_bytes=2048")
    )
    assert low["publisher_upload_x"] < 0.7 * usual["publisher_upload_x"]
    assert small["overhead_share"] > usual["overhead_share"] + 0.02


def test_as_many_substreams_as_no_channel_has_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["simulate", "five", "--sweep", "substreams=33"]) == 2
    assert "0 to 32" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["files-crwd"], "files-crowd"),
        ([*FILES, "--sweep", "peices=3"], "pieces"),
        ([*FILES, "--plot", "a.png"], "--plot"),
        ([*FILES, "--design", "pull"], "--design"),
        (["L0", "--links", "pakets"], "packets"),
        (["L0", "--sweep", "viewrs=3"], "viewers"),
    ],
)
def test_what_there_is_not_is_told_the_nearest(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("key", ["loss_burst=3", "reordered_share=0.1", "queue_ms=50"])
def test_what_the_model_leaves_out_is_refused_of_it(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "five", "--sweep", key]) == 2
    assert "--links packets" in capsys.readouterr().err
