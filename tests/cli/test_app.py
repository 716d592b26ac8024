"""The command line: what it says, to whom, and with which exit code."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from livestream.cli.app import run

HEAVY = ("av", "aioquic", "numpy", "aiohttp", "cryptography", "rich.progress", "rich.live")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("LIVESTREAM_CONFIG", str(tmp_path / "config.toml"))
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
        (["publish", "test", "--listen", "h:99999"], 2),
        (["publish", "test", "--max-up", "9" * 400], 2),
        (["publish", "test", "--size", "1281x720"], 2),
        (["publish", "test", "--fps", "1/0"], 2),
        (["publish", "test", "--name", "../x"], 2),
        (["publish", "--no-such-option"], 2),
        (["publish", "none.mp4"], 6),
        (["publish", "text.mp4"], 6),
        (["publish", "test", "--key", "text.mp4"], 5),
        (["watch"], 2),
        (["watch", "ab" * 32, "--peer", "nowhere"], 2),
        (["watch", "ab " * 20 + "abab"], 2),
        (["watch", f"magnet:?xs=urn:btpk:{'ab' * 32}&tr=http://[x"], 2),
        (["channel", "show", "garden"], 3),
        (["channel", "new", "../x"], 2),
        (["watch", "garden"], 3),
        (["watch", "magnet:?xs=urn:btpk:12"], 2),
        (["watch", "ab" * 32, "--latency", "99"], 2),
        (["create", "none", "-o", "x.torrent"], 2),
        (["create", "text.mp4", "-o", "x.torrent", "-w", "ftp://a.example/"], 2),
        (["info", "none.torrent"], 2),
        (["download", "none.torrent"], 2),
        (["download", "magnet:?dn=x"], 2),
        (["download", "none.torrent", "--max-down", "0"], 2),
        (["download", "none.torrent", "--piece", "0"], 2),
        (["download", "none.torrent", "--piece", "x", "-o", "-"], 2),
        (["download", "a.torrent", "b.torrent", "--piece", "0", "-o", "-"], 2),
        (["download", "none.torrent", "--piece", "0", "-o", ".", "--json"], 2),
        (["download", "none.torrent", "--play", "--json"], 2),
        (["download", "none.torrent", "--no-seed", "--seed-time", "1s"], 2),
        (["seed", "none.torrent", "--max-down", "fast"], 2),
        (["tracker", "--allow", "none"], 2),
    ],
)
def test_exit_codes(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.mp4").write_text("no video, no key\n" * 100)
    assert run(words) == code
    captured = capsys.readouterr()
    if code:
        assert captured.out == ""
        assert captured.err.strip()
        assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (socket.SOCK_STREAM, ["tracker"]),
        (socket.SOCK_DGRAM, ["tracker"]),
        (socket.SOCK_DGRAM, ["watch", "ab" * 32, "--player", "none"]),
    ],
)
def test_a_port_in_use_is_exit_code_4_and_is_named(
    kind: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        assert run([*words, "--listen", f"127.0.0.1:{port}"]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(port) in captured.err


def test_a_flag_beats_the_environment_which_beats_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each says something impossible, so that the error tells who won."""
    (tmp_path / "config.toml").write_text('max-up = "1x"\n[watch]\nlatency = 99\n')
    assert run(["publish"]) == 2
    assert "'1x'" in capsys.readouterr().err
    monkeypatch.setenv("LIVESTREAM_MAX_UP", "2x")
    assert run(["publish"]) == 2
    assert "'2x'" in capsys.readouterr().err
    assert run(["publish", "--max-up", "3x"]) == 2
    assert "'3x'" in capsys.readouterr().err
    assert run(["watch", "ab" * 32]) == 2
    assert "99" in capsys.readouterr().err


def test_an_unknown_option_in_the_file_stops_commands_but_not_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text("max-upp = 1")
    assert run(["channel", "list"]) == 2
    assert "max-up." in capsys.readouterr().err
    assert run(["publish", "--help"]) == 0


def test_a_required_option_may_come_from_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.bin").write_bytes(b"x" * 1_000)
    (tmp_path / "config.toml").write_text(
        '[create]\noutput = "t.torrent"\nweb-seed = ["http://a/", "http://b/"]\nprivate = true\n'
    )
    assert run(["create", "data.bin"]) == 0
    capsys.readouterr()
    assert run(["info", "t.torrent", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["web_seeds"] == ["http://a/", "http://b/"]
    assert found["is_private"] is True


def test_channels_are_made_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["channel", "new", "garden"]) == 0
    link = capsys.readouterr().out.strip()
    assert run(["channel", "show", "garden"]) == 0
    assert capsys.readouterr().out.strip() == link
    assert run(["channel", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in listed] == ["garden"]
    assert listed[0]["key"] in link
    assert run(["channel", "new", "garden"]) == 13
    assert run(["info", link, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "garden"


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        (["publish", "test", "--transport", "udp"], "auto, quic, utp or tcp"),
        (["watch", "ab" * 32, "--transport", "http"], "auto, quic, utp or tcp"),
        (["download", "none.torrent", "--transport", "Tcp"], "auto, utp or tcp"),
        (["seed", "none.torrent", "--transport", "quic"], "auto, utp or tcp"),
    ],
)
def test_an_unknown_transport_is_exit_code_2_and_the_choices_are_named(
    words: list[str], choices: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    told = capsys.readouterr().err
    assert f"--transport {words[-1]}" in told
    assert f"Give {choices}." in told


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_in_order(number: signal.Signals, code: int) -> None:
    words = [sys.executable, "-m", "livestream", "tracker", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        urls = [process.stdout.readline(), process.stdout.readline()]
        try:
            process.send_signal(number)
            assert process.wait(10) == code
        finally:
            process.kill()
        assert [url.partition(":")[0] for url in urls] == ["http", "udp"]
        assert process.stdout.read() == ""
        assert "Traceback" not in process.stderr.read()


def test_a_traceback_is_shown_only_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", "garden", "-vv"]) == 3
    assert "Traceback" in capsys.readouterr().err


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
