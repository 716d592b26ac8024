"""Downloads, as processes on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from livestream.torrent.metainfo import Metainfo
from tests.interop.peers import contents, make_data

pytestmark = pytest.mark.e2e

COMMAND = [sys.executable, "-m", "livestream"]
KILLS = 4


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "LIVESTREAM_DATA_DIR": str(folder)}


def livestream(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        env=environment(folder),
        timeout=60,
        check=False,
    )


@contextmanager
def seed(folder: Path, torrent: Path, data: Path, *words: str) -> Iterator[str]:
    """Share a torrent; yields where."""
    port = 20_000 + os.getpid() % 20_000
    address = f"127.0.0.1:{port}"
    command = [*COMMAND, "seed", str(torrent), "--data", str(data), "--listen", address, *words]
    process = subprocess.Popen(command, env=environment(folder), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "pieces are here" in process.stderr.readline()
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return make_data(tmp_path / "seed")


@pytest.fixture
def torrent(tmp_path: Path, shared: Path) -> Path:
    path = tmp_path / "t.torrent"
    assert livestream(tmp_path, "create", str(shared), "-o", str(path)).returncode == 0
    return path


def test_create_seed_download_and_verify(tmp_path: Path, shared: Path, torrent: Path) -> None:
    out = tmp_path / "out"
    done = tmp_path / "done.txt"
    with seed(tmp_path, torrent, shared.parent) as address:
        result = livestream(
            tmp_path, "download", str(torrent), "-o", str(out), "--peer", address, "--no-seed",
            "--on-done", f'printf %s "$LIVESTREAM_NAME" > {done}',
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert contents(out / "many") == contents(shared)
    assert done.read_text() == "many"
    assert livestream(tmp_path, "verify", str(torrent), str(out)).returncode == 0
    damaged = out / "many" / "a.bin"
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    result = livestream(tmp_path, "verify", str(torrent), str(out))
    assert result.returncode == 8
    assert "wrong   many/a.bin" in result.stdout
    damaged.unlink()
    assert livestream(tmp_path, "verify", str(torrent), str(out)).returncode == 7


def test_a_v2_only_magnet_needs_nothing_but_a_peer(tmp_path: Path, shared: Path) -> None:
    path, out = tmp_path / "v2.torrent", tmp_path / "out"
    made = livestream(tmp_path, "create", str(shared), "-o", str(path), "--v2")
    assert made.returncode == 0, made.stderr
    link = f"magnet:?xt=urn:btmh:1220{Metainfo.parse(path.read_bytes()).info_hash_v2.hex()}"
    with seed(tmp_path, path, shared.parent) as address:
        result = livestream(
            tmp_path, "download", link, "-o", str(out), "--peer", address, "--no-seed"
        )
    assert result.returncode == 0, result.stderr
    assert contents(out / "many") == contents(shared)


def test_only_the_selected_files_are_downloaded(
    tmp_path: Path, shared: Path, torrent: Path
) -> None:
    out = tmp_path / "out"
    with seed(tmp_path, torrent, shared.parent) as address:
        result = livestream(
            tmp_path, "download", str(torrent), "-o", str(out), "--peer", address, "--no-seed",
            "--select", "*/c.bin",
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert list(contents(out / "many")) == ["deep/c.bin"]
    assert contents(out / "many")["deep/c.bin"] == contents(shared)["deep/c.bin"]


def test_a_download_killed_at_any_moment_goes_on_and_loses_nothing_recorded(
    tmp_path: Path, shared: Path, torrent: Path
) -> None:
    out = tmp_path / "out"
    rng = Random(11)
    held = 0
    with seed(tmp_path, torrent, shared.parent, "--max-up", "2M") as address:
        words = ["download", str(torrent), "-o", str(out), "--peer", address, "--no-seed"]
        for _ in range(KILLS):
            process = subprocess.Popen(
                [*COMMAND, *words],
                env=environment(tmp_path),
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stderr is not None
            first = process.stderr.readline()
            found = int(first.split(" pieces are here")[0].split()[-3])
            assert found >= held, "what was verified is still here"
            time.sleep(0.4 + rng.random())
            process.kill()
            process.communicate()
            held = found
        result = livestream(tmp_path, *words)
    assert result.returncode == 0, result.stderr
    assert contents(out / "many") == contents(shared)


def test_what_names_no_torrent_is_said_so(tmp_path: Path) -> None:
    junk = tmp_path / "junk.torrent"
    junk.write_bytes(b"d4:infoi3ee")
    result = livestream(tmp_path, "download", str(junk), "-o", str(tmp_path))
    assert result.returncode == 1
    assert "junk.torrent" in result.stderr
    assert "Traceback" not in result.stderr
    assert livestream(tmp_path, "download", str(tmp_path / "none"), "-o", ".").returncode == 2
