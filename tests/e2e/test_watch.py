"""A real publisher and real viewers, as processes on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_address
from tests.processes import end
from tests.runtime.noise import Noise

pytestmark = pytest.mark.e2e

HERE = "127.0.0.1:0"


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "LIVESTREAM_DATA_DIR": str(folder)}


@contextmanager
def publisher(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a publisher, yield it and its link, and end it."""
    command = [sys.executable, "-m", "livestream", "publish", *words, "-q"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(folder))
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().decode().strip()
    finally:
        end(process)


def livestream(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "livestream", *words],
        capture_output=True,
        env=environment(folder),
        timeout=60,
        check=False,
    )


def codecs(source: Path) -> list[str]:
    """Decode a file with ffprobe; any decode error fails the test."""
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(source)],
        capture_output=True,
        check=True,
    )
    assert probe.stderr == b""
    streams = json.loads(probe.stdout)["streams"]
    assert all(int(stream["nb_read_frames"]) > 30 for stream in streams)
    return sorted(stream["codec_name"] for stream in streams)


def latest(stats: Path) -> dict[str, float]:
    """Return the newest whole line of a stats file; zeros before the first."""
    lines = stats.read_text().splitlines(keepends=True) if stats.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    row: dict[str, float] = json.loads(whole[-1]) if whole else {"pieces_received": 0}
    return row


def received_until(stats: Path, pieces: float) -> None:
    """Wait until a viewer has received so many pieces."""
    deadline = time.monotonic() + 30
    while latest(stats)["pieces_received"] < pieces:
        assert time.monotonic() < deadline, f"only {latest(stats)}"
        time.sleep(0.1)


def test_a_clip_reaches_a_viewers_file_without_a_decode_error_and_its_end_is_exit_code_0(
    tmp_path: Path, bigbuckbunny: Path
) -> None:
    out = tmp_path / "out.ts"
    stats = tmp_path / "stats.json"
    clip = tmp_path / "clip.mp4"
    twice = ["ffmpeg", "-v", "error", "-stream_loop", "1", "-i", str(bigbuckbunny), "-c", "copy"]
    subprocess.run([*twice, str(clip)], check=True)  # So long that no viewer starts after its end.
    with publisher(tmp_path, str(clip), "--listen", HERE) as (_, link):
        assert link.startswith("magnet:?xs=urn:btpk:")
        words = ["-o", str(out), "--listen", HERE, "--stats", str(stats)]
        result = livestream(tmp_path, "watch", link, *words)
    assert result.returncode == 0, result.stderr
    assert codecs(out) == ["aac", "h264"]
    last = json.loads(stats.read_text().splitlines()[-1])
    assert last["pieces_received"] > 50
    assert last["pieces_rejected"] == 0


def test_viewers_resume_when_a_killed_publisher_comes_back_and_end_when_it_is_told_to_stop(
    tmp_path: Path,
) -> None:
    out, stats = tmp_path / "out.ts", tmp_path / "stats.json"
    words = ["-o", str(out), "--listen", HERE, "--stats", str(stats), "-q"]
    with publisher(tmp_path, "test", "--listen", HERE) as (first, link):
        viewer = subprocess.Popen(
            [sys.executable, "-m", "livestream", "watch", link, *words], env=environment(tmp_path)
        )
        received_until(stats, 25)
        first.kill()
        first.wait()
    with publisher(tmp_path, "test", "--listen", HERE) as (second, link_again):
        assert link_again == link
        received_until(stats, latest(stats)["pieces_received"] + 40)
        second.terminate()
        assert second.wait(10) == 128 + signal.SIGTERM
        assert viewer.wait(15) == 0
    assert codecs(out) == ["aac", "h264"]


def test_a_link_with_another_key_finds_nothing_on_that_publisher(tmp_path: Path) -> None:
    with publisher(tmp_path, "test", "--listen", HERE) as (_, link):
        key = link.partition("btpk:")[2][:64]
        wrong = link.replace(key, "ab" * 32)
        result = livestream(tmp_path, "watch", wrong, "-o", "-", "--timeout", "1s")
    assert result.returncode == 3
    assert result.stdout == b""


def test_nobody_there_is_exit_code_3_in_bounded_time(tmp_path: Path) -> None:
    result = livestream(
        tmp_path, "watch", "ab" * 32, "-o", "-", "--timeout", "1s", "--listen", HERE
    )
    assert result.returncode == 3
    assert b"Nobody of this channel answered" in result.stderr


def test_an_unknown_name_is_exit_code_3_and_names_the_known_ones(tmp_path: Path) -> None:
    livestream(tmp_path, "channel", "new", "garden")
    result = livestream(tmp_path, "watch", "kitchen")
    assert result.returncode == 3
    assert b"garden" in result.stderr


def test_a_file_that_is_no_video_is_exit_code_6(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a video\n" * 50)
    result = livestream(tmp_path, "publish", str(text), "--listen", HERE)
    assert result.returncode == 6
    assert b"notes.txt" in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_port_in_use_is_exit_code_4(tmp_path: Path) -> None:
    with publisher(tmp_path, "test", "--listen", HERE) as (_, link):
        port = link.rpartition(":")[2]
        result = livestream(tmp_path, "publish", "test", "--listen", f"127.0.0.1:{port}")
    assert result.returncode == 4
    assert port.encode() in result.stderr


def test_a_channel_is_made_once(tmp_path: Path) -> None:
    first = livestream(tmp_path, "channel", "new", "garden")
    assert first.returncode == 0
    assert first.stdout.startswith(b"magnet:?xs=urn:btpk:")
    assert livestream(tmp_path, "channel", "new", "garden").returncode == 13
    shown = json.loads(livestream(tmp_path, "channel", "show", "garden", "--json").stdout)
    assert shown["link"].encode() == first.stdout.strip()


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(1, id="short"), pytest.param(20, id="long", marks=pytest.mark.long)],
)
def test_a_publisher_in_noise_stays_on_the_air_small_and_quiet(
    tmp_path: Path, seconds: int
) -> None:
    address = free_address()
    log = tmp_path / "log"
    command = [sys.executable, "-m", "livestream", "publish", "test", "--listen"]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, str(address), "-q"],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(tmp_path),
        )
    noise = Noise(address, seed=6)
    try:
        assert process.stdout is not None
        link = process.stdout.readline().decode().strip()
        for _ in noise.batches(seconds):
            time.sleep(0.002)
        words = ["-o", str(tmp_path / "out.ts"), "--duration", "2", "--listen", HERE]
        result = livestream(tmp_path, "watch", link, *words)
        assert result.returncode == 0, result.stderr
        assert process.poll() is None
    finally:
        noise.close()
        end(process)
    assert "h264" in codecs(tmp_path / "out.ts")
    assert log.read_bytes() == b""
