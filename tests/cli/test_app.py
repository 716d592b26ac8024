"""The command line: what it says, to whom, and with which exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from livestream.cli.app import run

HEAVY = ("av", "aioquic", "numpy", "aiohttp", "cryptography", "rich.progress")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom livestream.cli.app import run\nrun(['--help'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "publish" in result.stdout
    assert result.stderr.strip().endswith("[]")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["publish", "--help"], 0),
        (["nonsense"], 2),
        (["publish", "--max-up", "3x"], 2),
        (["publish", "--copy", "--encode"], 2),
        (["publish", "test", "--listen", "nowhere"], 2),
        (["publish", "none.mp4"], 6),
        (["watch", "garden"], 3),
        (["watch", "magnet:?xs=urn:btpk:12"], 2),
        (["watch", "ab" * 32, "--latency", "99"], 2),
        (["create", "none", "-o", "x.torrent"], 2),
        (["info", "none.torrent"], 2),
        (["download", "none.torrent"], 2),
        (["download", "magnet:?dn=x"], 2),
        (["tracker", "--allow", "none"], 2),
    ],
)
def test_exit_codes(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == code
    captured = capsys.readouterr()
    if code:
        assert captured.out == ""
        assert captured.err.strip()
        assert "Traceback" not in captured.err


def test_a_torrent_is_made_once_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.bin").write_bytes(b"x" * 100_000)
    words = ["create", "data.bin", "-o", "t.torrent", "-q"]
    assert run(words) == 0
    assert capsys.readouterr().out.startswith("magnet:?xt=urn:btih:")
    assert run(words) == 13
    assert run([*words, "--force", "--v2", "--piece-size", "16k"]) == 0
    assert run([*words, "--force", "--piece-size", "17k"]) == 2
    assert run([*words, "--force", "--v1", "--v2"]) == 2
    capsys.readouterr()
    assert run(["info", "t.torrent"]) == 0
    assert "info hash v2" in capsys.readouterr().out
