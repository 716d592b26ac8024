"""BEP 19's URLs: where a web server has which file."""

from __future__ import annotations

import pytest

from livestream.torrent.metainfo import Metainfo
from livestream.torrent.webfiles import web_sources
from livestream.torrent.weburl import is_web_url
from livestream.transport.fetch import FileRun
from livestream.wire import bencode
from livestream.wire.bencode import Value

HASH = bytes(20)


def metainfo(urls: Value, *paths: list[Value], name: bytes = b"my name") -> Metainfo:
    info: dict[bytes, Value] = {b"name": name, b"piece length": 16_384}
    if paths:
        info[b"files"] = [{b"length": 7, b"path": path} for path in paths]
        info[b"pieces"] = HASH
    else:
        info |= {b"length": 20_000, b"pieces": HASH * 2}
    return Metainfo.parse(bencode.encode({b"info": info, b"url-list": urls}))


def urls_of(found: Metainfo) -> list[str]:
    (source,) = web_sources(found)
    return [run.url for run in source.runs(0, 0, found.piece_size(0))]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (b"http://a.example/x.iso", "http://a.example/x.iso"),
        (b"http://a.example/", "http://a.example/my%20name"),
        (b"https://a.example/d/", "https://a.example/d/my%20name"),
        (b"http://a.example/my file", "http://a.example/my%20file"),
        (b"http://a.example/a%2Fb?x=1&y=%20", "http://a.example/a%2Fb?x=1&y=%20"),
    ],
)
def test_one_file_is_at_the_url_or_below_it(url: bytes, expected: str) -> None:
    assert urls_of(metainfo(url)) == [expected]


@pytest.mark.parametrize("url", [b"http://a.example/d", b"http://a.example/d/"])
def test_several_files_are_below_the_name(url: bytes) -> None:
    found = metainfo([url], [b"a.txt"], [b"in side", "ü#?.%41".encode()])
    assert urls_of(found) == [
        "http://a.example/d/my%20name/a.txt",
        "http://a.example/d/my%20name/in%20side/%C3%BC%23%3F.%2541",
    ]


def test_the_server_has_the_names_of_the_torrent_not_those_that_are_safe_here() -> None:
    found = metainfo([b"http://a.example/"], [b"what?.txt"], [b"CON"], [b"a:b"], name=b"n")
    assert urls_of(found) == [
        "http://a.example/n/what%3F.txt",
        "http://a.example/n/CON",
        "http://a.example/n/a%3Ab",
    ]


@pytest.mark.parametrize("part", [b"..", b".", b"", b"../x", b"a/../b"])
def test_no_name_leads_out_of_its_folder(part: bytes) -> None:
    (url,) = urls_of(metainfo([b"http://a.example/d/"], [part, b"f"], name=b"n"))
    path = url.removeprefix("http://a.example/d/n/")
    assert path != url
    assert not {"..", "."}.intersection(path.split("/"))
    assert path.count("/") <= 1


def test_a_block_is_cut_at_files_and_knows_their_lengths() -> None:
    found = metainfo([b"http://a.example/"], [b"a"], [b"b"], name=b"n")
    (source,) = web_sources(found)
    assert list(source.runs(0, 5, 4)) == [
        FileRun("http://a.example/n/a", 5, 2, 7),
        FileRun("http://a.example/n/b", 0, 2, 7),
    ]


def test_padding_has_no_url() -> None:
    files: list[Value] = [
        {b"length": 5, b"path": [b"a"]},
        {b"length": 16_379, b"path": [b".pad", b"16379"], b"attr": b"p"},
        {b"length": 5, b"path": [b"b"]},
    ]
    info: Value = {b"name": b"n", b"piece length": 16_384, b"pieces": HASH * 2, b"files": files}
    data = bencode.encode({b"info": info, b"url-list": b"http://a.example/"})
    (source,) = web_sources(Metainfo.parse(data))
    assert [run.url for run in source.runs(0, 0, 16_384)] == ["http://a.example/n/a", ""]


@pytest.mark.parametrize(
    "url",
    [
        b"udp://a.example/",
        b"ftp://a.example/",
        b"http://",
        b"http:///x",
        b"http://[::1/",
        b"http://a.example:99999/",
        b"http://a.example:x/",
        b"file:///etc/passwd",
        b"",
    ],
)
def test_what_is_no_web_address_is_left_out(url: bytes) -> None:
    assert web_sources(metainfo([url])) == []
    assert not is_web_url(url.decode())


def test_one_that_is_named_twice_is_used_once() -> None:
    assert len(web_sources(metainfo([b"http://a.example/"] * 3))) == 1


def test_a_magnets_web_seeds_are_those_of_the_torrent() -> None:
    named = ["http://a.example/x", "ftp://b.example/"]
    found = Metainfo.from_info(metainfo([]).info, web_seeds=named)
    assert [source.url for source in web_sources(found)] == ["http://a.example/x"]
