"""Downloads, as processes on loopback."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final

import pytest

from livestream.pieces.pieceset import PieceSet
from livestream.runtime.creation import CreateOptions, make
from livestream.torrent.metainfo import Metainfo
from livestream.wire import bencode
from tests.e2e.hosts import two_hosts
from tests.interop.peers import contents, make_data
from tests.ports import free_address

pytestmark = pytest.mark.e2e

COMMAND = [sys.executable, "-m", "livestream"]


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
    address = str(free_address())
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
    make(CreateOptions(str(shared), str(path)), lambda done, count: None)
    return path


def test_create_seed_download_and_verify(tmp_path: Path, shared: Path) -> None:
    out, torrent = tmp_path / "out", tmp_path / "t.torrent"
    assert livestream(tmp_path, "create", str(shared), "-o", str(torrent)).returncode == 0
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


def test_a_download_goes_on_over_tcp_when_a_firewall_begins_to_drop_udp(tmp_path: Path) -> None:
    data, torrent, stats = tmp_path / "data.bin", tmp_path / "t.torrent", tmp_path / "stats"
    data.write_bytes(Random(1).randbytes(5 << 20))
    make(CreateOptions(str(data), str(torrent)), lambda done, count: None)
    with two_hosts() as (here, there):
        listen = ["--listen", f"{here.address}:7001", "--max-up", "8M"]
        words = ["seed", str(torrent), "--data", str(tmp_path), *listen]
        seeding = subprocess.Popen(
            [*here.prefix, *COMMAND, *words],
            env=environment(tmp_path / "here"),
            stderr=subprocess.PIPE,
            text=True,
        )
        # Whoever is called before it listens is reached over TCP: that answers the first retry.
        assert seeding.stderr is not None
        assert "pieces are here" in seeding.stderr.readline()
        words = ["download", str(torrent), "-o", str(tmp_path / "out"), "--no-seed"]
        words += ["--peer", f"{here.address}:7001", "--stats", str(stats), "-q"]
        fetching = subprocess.Popen(
            [*there.prefix, *COMMAND, *words], env=environment(tmp_path / "there")
        )
        try:
            while not (stats.exists() and '"utp"' in stats.read_text()):
                assert fetching.poll() is None
                time.sleep(0.1)
            there.drop_udp("input", "output")
            assert fetching.wait(30) == 0, "what is left takes 5 s, going over to TCP 10"
        finally:
            for process in (fetching, seeding):
                process.terminate()
                process.communicate(timeout=15)
    assert '"tcp"' in stats.read_text()
    assert (tmp_path / "out" / "data.bin").read_bytes() == data.read_bytes()


def test_one_piece_comes_alone_to_a_file_or_stdout(
    tmp_path: Path, shared: Path, torrent: Path
) -> None:
    metainfo = Metainfo.parse(torrent.read_bytes())
    data = (shared / "deep" / "c.bin").read_bytes()
    number = next(n for n, entry in enumerate(metainfo.files) if entry.path[-1] == "c.bin")
    assert metainfo.files[number].offset % metainfo.piece_length == 0
    piece = metainfo.files[number].offset // metainfo.piece_length + 1
    expected = data[metainfo.piece_length : 2 * metainfo.piece_length]
    output = tmp_path / "piece"
    with seed(tmp_path, torrent, shared.parent) as address:
        words = ["download", str(torrent), "--peer", address, "--piece"]
        result = livestream(tmp_path, *words, str(piece), "-o", str(output))
        assert result.returncode == 0, result.stderr
        assert result.stdout == ""
        out = subprocess.run(
            [*COMMAND, *words, str(piece), "-o", "-"],
            capture_output=True,
            env=environment(tmp_path),
            timeout=60,
            check=True,
        ).stdout
        wrong = livestream(tmp_path, *words, str(metainfo.piece_count), "-o", "-")
        is_folder = livestream(tmp_path, *words, "0", "-o", str(tmp_path))
    assert output.read_bytes() == out == expected
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert f"0 to {metainfo.piece_count - 1}" in wrong.stderr
    assert is_folder.returncode == 2
    assert not (tmp_path / "many").exists()


def test_verify_as_json_names_every_file(tmp_path: Path, shared: Path, torrent: Path) -> None:
    (shared / "a.bin").write_bytes(b"x")
    (shared / "z.bin").write_bytes(bytes(16_384))
    result = livestream(tmp_path, "verify", str(torrent), str(shared.parent), "--json")
    assert result.returncode == 8
    found = json.loads(result.stdout)
    states = {each["path"]: each["state"] for each in found["files"]}
    assert states["many/a.bin"] == "missing"
    assert states["many/z.bin"] == "wrong"
    assert states["many/deep/c.bin"] == "ok"
    assert 0 < found["pieces_ok"] < found["pieces"]


def test_a_terminal_gets_one_block_and_errors_stand_above_it(
    tmp_path: Path, shared: Path, torrent: Path
) -> None:
    leader, follower = pty.openpty()
    with seed(tmp_path, torrent, shared.parent) as address:
        words = ["--peer", address, "--no-seed", "--max-down", "6M"]
        process = subprocess.Popen(
            [*COMMAND, "download", str(torrent), "none.torrent", "-o", str(tmp_path), *words],
            env={**environment(tmp_path), "TERM": "xterm", "COLUMNS": "100"},
            stderr=follower,
        )
        os.close(follower)
        shown = b""
        with suppress(OSError):  # A terminal whose last user has gone is an error on Linux.
            while part := os.read(leader, 65_536):
                shown += part
        os.close(leader)
        assert process.wait(30) == 2
    text = shown.decode()
    assert "%" in text
    assert "peers" in text
    lines = [line for line in text.split("\r\n") if "livestream: none.torrent: No such" in line]
    assert lines
    assert lines[0].endswith("or a URL.")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h"), "the cursor is back"


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


class Killing:
    """A download that is killed again and again, and what it finds each time that it starts."""

    def __init__(self, folder: Path, torrent: Path, shared: Path, address: str) -> None:
        self._folder = folder
        self._out = folder / "out"
        self._shared = shared
        self._metainfo = Metainfo.parse(torrent.read_bytes())
        self._words = [
            "download", str(torrent), "-o", str(self._out), "--peer", address, "--no-seed",
        ]  # fmt: skip

    def recorded(self) -> set[int]:
        """Return the pieces that the record vouches for."""
        paths = list((self._folder / "resume").glob("*.resume"))
        if not paths:
            return set()
        fields = bencode.decode(paths[0].read_bytes())
        assert isinstance(fields, dict)
        bits = fields[b"pieces"]
        assert isinstance(bits, bytes)
        flags = PieceSet.from_bytes(bits, self._metainfo.piece_count).flags
        return {int(index) for index in flags.nonzero()[0]}

    def on_disk(self) -> list[int]:
        """Return the pieces that are on disk as they should be, byte for byte."""
        return [
            index
            for index in range(self._metainfo.piece_count)
            if self._piece(index, self._out) == self._piece(index, self._shared.parent)
        ]

    def spoil(self, index: int) -> None:
        """Change a byte in the middle of a piece."""
        start = index * self._metainfo.piece_length + self._metainfo.piece_size(index) // 2
        (span,) = self._metainfo.spans(start, 1)
        with self._out.joinpath(*self._metainfo.files[span.file].path).open("r+b") as file:
            file.seek(span.start)
            (byte,) = file.read(1)
            file.seek(span.start)
            file.write(bytes((byte ^ 1,)))

    def run_until(self, seconds: float, *, is_read: bool) -> int | None:
        """Start it, kill it after a while, and return how many pieces it said were here."""
        process = subprocess.Popen(
            [*COMMAND, *self._words],
            env=environment(self._folder),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        found: int | None = None
        if is_read:
            found = int(process.stderr.readline().split(" pieces are here")[0].split()[-3])
        time.sleep(seconds)
        process.kill()
        process.communicate()
        return found

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Let it come to its end."""
        return livestream(self._folder, *self._words, *words)

    def _piece(self, index: int, folder: Path) -> list[bytes]:
        start = index * self._metainfo.piece_length
        runs = []
        for span in self._metainfo.spans(start, self._metainfo.piece_size(index)):
            entry = self._metainfo.files[span.file]
            path = folder.joinpath(*entry.path)
            if not entry.is_padding and path.exists():
                runs.append(path.read_bytes()[span.start : span.start + span.length])
        return runs


LONG: Final = [10.5 if number == 7 else number / 20 for number in range(20)]
"Once it lives long enough to write its record by itself."


@pytest.mark.parametrize(
    ("moments", "rate"),
    [
        pytest.param([0.1, 0.5, 0.3, 0.0], "3M", id="4"),
        pytest.param(LONG, "500k", id="20", marks=pytest.mark.long),
    ],
)
def test_a_download_killed_at_any_moment_goes_on_and_loses_nothing_recorded(
    tmp_path: Path, shared: Path, torrent: Path, moments: list[float], rate: str
) -> None:
    rng = Random(11)
    seed_home = tmp_path / "home-of-the-seed"
    with seed(seed_home, torrent, shared.parent, "--max-up", rate) as address:
        download = Killing(tmp_path, torrent, shared, address)
        while not download.recorded():  # A busy machine gets nowhere at first.
            assert download.run("--duration", "0.8").returncode == 7
        assert download.recorded() <= set(download.on_disk())
        for number, moment in enumerate(rng.sample(moments, len(moments))):
            recorded = download.recorded()
            if number % 5 == 3:
                download.spoil(rng.choice(download.on_disk()))
            right = set(download.on_disk())  # One that was spoilt before may be wrong yet.
            is_read = number % 4 != 1  # Else it may die before it has looked at its files.
            found = download.run_until(moment + rng.random() / 5, is_read=is_read)
            if found is not None:
                assert found >= len(recorded & right), "what was recorded is still here"
                assert found <= len(right), "nothing is trusted that is not right"
        result = download.run()
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "out" / "many") == contents(shared)


def test_what_names_no_torrent_is_said_so(tmp_path: Path) -> None:
    junk = tmp_path / "junk.torrent"
    junk.write_bytes(b"d4:infoi3ee")
    result = livestream(tmp_path, "download", str(junk), "-o", str(tmp_path))
    assert result.returncode == 1
    assert "junk.torrent" in result.stderr
    assert "Traceback" not in result.stderr
    assert livestream(tmp_path, "download", str(tmp_path / "none"), "-o", ".").returncode == 2
