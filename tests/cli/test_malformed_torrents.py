"""Malformed .torrent files: a line or two for people and exit code 1, whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from livestream.cli.app import run
from livestream.wire import bencode
from livestream.wire.bencode import Value

HASH = b"h" * 20
ROOT = b"r" * 32
SINGLE: dict[bytes, Value] = {
    b"name": b"n",
    b"piece length": 16_384,
    b"pieces": HASH,
    b"length": 5,
}
FOLDER: dict[bytes, Value] = {key: value for key, value in SINGLE.items() if key != b"length"}
HUGE: Value = {b"length": (1 << 63) - 1, b"path": [b"a"]}
V2: dict[bytes, Value] = {b"name": b"n", b"piece length": 16_384, b"meta version": 2}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").touch()
    monkeypatch.chdir(tmp_path)


def single(**changes: Value) -> bytes:
    """Return a torrent of one file, with some keys of its info dictionary changed."""
    return torrent({**SINGLE, **{key.replace("_", " ").encode(): changes[key] for key in changes}})


def folder(*files: Value) -> bytes:
    """Return a v1 torrent of these entries."""
    return torrent({**FOLDER, b"files": list(files)})


def v2(tree: Value, **outer: Value) -> bytes:
    """Return a v2 torrent of this file tree."""
    return torrent({**V2, b"file tree": tree}, **outer)


def leaf(length: Value, root: Value = ROOT) -> Value:
    return {b"": {b"length": length, b"pieces root": root}}


def nested(depth: int) -> Value:
    found = leaf(5)
    for _ in range(depth):
        found = {b"d": found}
    return found


def torrent(info: Value, **outer: Value) -> bytes:
    return bencode.encode(
        {b"info": info, **{key.replace("_", " ").encode(): outer[key] for key in outer}}
    )


def twice(data: bytes, key: bytes) -> bytes:
    """Return the torrent with a key of its info dictionary there twice."""
    at = data.index(key)
    pair = bencode.encode({key.partition(b":")[2]: 5})[1:-1]
    return data[:at] + pair + data[at:]


MALFORMED = {
    "empty": b"",
    "text": b"<html>404 Not Found</html>",
    "truncated at half": single()[: len(single()) // 2],
    "truncated by one": single()[:-1],
    "bytes after the end": single() + b"\n",
    "no dictionary": b"le",
    "no info": b"d8:announce3:urle",
    "info is a list": b"d4:infolee",
    "lists nested deep": b"d4:info" + b"l" * 100_000 + b"e" * 100_001,
    "dictionaries nested deep": b"d4:info" + b"d1:a" * 100_000 + b"e" * 100_001,
    "a tree nested deep": v2(nested(80)),
    "a string of negative length": b"d4:info-5:aaaaae",
    "a string of huge length": b"d4:info99999999999999999999:ae",
    "an integer of many digits": b"d4:infoi" + b"9" * 5_000 + b"ee",
    "a key twice": twice(single(), b"6:length"),
    "info twice": b"d4:info" + bencode.encode(SINGLE) + b"4:info" + bencode.encode(SINGLE) + b"e",
    "a key that is an integer": b"d4:infodi1ei2eee",
    "negative length": single(length=-1),
    "length 2^63": single(length=1 << 63),
    "length 2^64": single(length=1 << 64),
    "lengths that add up to over 2^63": folder(HUGE, HUGE, HUGE),
    "length is text": single(length=b"5"),
    "no byte": single(length=0, pieces=b""),
    "no length and no files": torrent(FOLDER),
    "zero files": folder(),
    "a file without a path": folder({b"length": 5}),
    "a file with an empty path": folder({b"length": 5, b"path": []}),
    "a path of integers": folder({b"length": 5, b"path": [1]}),
    "a file that is a string": folder(b"a"),
    "too many pieces' hashes": single(pieces=HASH * 2),
    "too few pieces' hashes": single(length=20_000),
    "half a hash": single(pieces=HASH[:10]),
    "hashes that are a list": single(pieces=[HASH]),
    "piece length 0": single(piece_length=0),
    "negative piece length": single(piece_length=-16_384),
    "huge piece length": single(piece_length=1 << 62),
    "more pieces than memory": single(length=(1 << 63) - 1, piece_length=1, pieces=HASH),
    "v2 with zero files": v2({}),
    "v2 without a tree": torrent(V2),
    "v2 with a tree that is a list": v2([]),
    "v2 with an odd piece length": torrent(
        {**V2, b"piece length": 20_000, b"file tree": {b"a": leaf(5)}}
    ),
    "v2 with a negative length": v2({b"a": leaf(-5)}),
    "v2 with length 2^63": v2({b"a": leaf(1 << 63)}),
    "v2 with a short root": v2({b"a": leaf(5, b"r" * 31)}),
    "v2 with a file that is a folder": v2({b"a": {b"": {b"length": 5}, b"b": leaf(5)}}),
    "v2 without layers": v2({b"a": leaf(50_000)}),
    "v2 with layers of another file": v2({b"a": leaf(50_000)}, piece_layers={ROOT: b"x" * 128}),
    "v2 with layers that are no dictionary": v2({b"a": leaf(50_000)}, piece_layers=b"x"),
    "v2 with more pieces than memory": v2({b"a": leaf(1 << 50)}, piece_layers={}),
    "version 3": torrent({**V2, b"meta version": 3, b"file tree": {b"a": leaf(5)}}),
    "a hybrid of two torrents": torrent(
        {**SINGLE, b"meta version": 2, b"file tree": {b"other": leaf(5)}}
    ),
}


@pytest.mark.parametrize("title", list(MALFORMED))
def test_what_is_malformed_is_said_in_a_line_or_two(
    title: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.torrent").write_bytes(MALFORMED[title])
    assert run(["info", "bad.torrent"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("livestream: bad.torrent: ")
    assert captured.err.count("\n") <= 2
    assert len(captured.err) < 250
    assert "error of its own" not in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    "data",
    [
        single(name=b"\xff\xfe\x80"),
        folder({b"length": 5, b"path": [b"\xe9t\xe9", b"\xff"]}),
        v2({b"\xe9t\xe9": leaf(5), b"\xff": leaf(5)}),
        single(name=b"../\x1b]0;title\x07"),
        torrent(SINGLE, comment=b"\x1b[2J", created_by=b"\x9b31m\xc2\x9b31m"),
        torrent(SINGLE, announce=b"http://\x1b[31m/", url_list=b"http://a/\x1b[2J"),
    ],
)
def test_names_that_are_no_text_are_shown_without_harm(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.torrent").write_bytes(data)
    assert run(["info", "odd.torrent"]) == 0
    shown = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert run(["info", "odd.torrent", "--json"]) == 0
