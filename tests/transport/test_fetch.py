"""Answers to range requests: which are of use, and which bytes of them."""

from __future__ import annotations

import pytest

from livestream.transport.fetch import (
    WHOLE_FILE_BYTES_MAX,
    Fetch,
    FileRun,
    Part,
    PendingBlock,
    ResponseHead,
)

FILE = bytes(range(250)) * 4


def fetch(start: int, length: int, file_length: int = len(FILE)) -> Fetch:
    run = FileRun("http://a.example/f", start, length, file_length)
    return Fetch(Part(PendingBlock(0, 0, length), 0, run))


@pytest.mark.parametrize(
    ("head", "is_of_use"),
    [
        (ResponseHead(206, "bytes 100-199/1000"), True),
        (ResponseHead(206, "bytes 100-199/*"), True),
        (ResponseHead(206, " bytes 100-199/1000 ", 100, "identity"), True),
        (ResponseHead(206, "bytes 100-199/1001"), False),
        (ResponseHead(206, "bytes 0-99/1000"), False),
        (ResponseHead(206, "bytes 100-198/1000"), False),
        (ResponseHead(206, "bytes 100-200/1000"), False),
        (ResponseHead(206, "bytes */1000"), False),
        (ResponseHead(206, "bytes " + "9" * 5_000 + "-1/2"), False),
        (ResponseHead(206, "multipart"), False),
        (ResponseHead(206), False),
        (ResponseHead(206, "bytes 100-199/1000", content_encoding="gzip"), False),
        (ResponseHead(200, content_length=1_000), True),
        (ResponseHead(200), True),
        (ResponseHead(200, content_length=999), False),
        (ResponseHead(200, content_length=1_000, content_encoding="br"), False),
        (ResponseHead(404), False),
    ],
)
def test_only_an_answer_that_says_what_was_asked_for_is_of_use(
    head: ResponseHead, is_of_use: bool
) -> None:
    asked = fetch(100, 100)
    assert (asked.receive_head(head) == "") is is_of_use
    asked.receive_body(FILE[100:200])
    assert (asked.remaining < 100) is (is_of_use and head.status == 206)


def test_a_server_without_ranges_is_of_use_for_small_files() -> None:
    asked = fetch(300, 100)
    assert not asked.receive_head(ResponseHead(200, content_length=1_000))
    done = []
    for start in range(0, len(FILE), 70):
        done += asked.receive_body(FILE[start : start + 70])
    assert [bytes(block.buffer) for block in done] == [FILE[300:400]]


def test_a_server_without_ranges_is_of_none_for_large_files() -> None:
    size = WHOLE_FILE_BYTES_MAX + 1
    assert "ranges" in fetch(0, 100, size).receive_head(ResponseHead(200, content_length=size))


def test_a_body_that_is_too_long_writes_no_further() -> None:
    asked = fetch(0, 100)
    assert not asked.receive_head(ResponseHead(206, "bytes 0-99/1000"))
    (block,) = asked.receive_body(FILE[:100] + b"more")
    assert bytes(block.buffer) == FILE[:100]
    assert asked.receive_body(b"and more") == []
    assert asked.remaining == 0
