"""Scraping: where, and what answers are worth."""

from __future__ import annotations

from random import Random
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.discovery.scrape import parse_scrape, scrape_query, scrape_url
from livestream.discovery.tracker import Announce, ScrapeCounts, TrackerState
from livestream.discovery.tracker import AnnounceEvent as Event
from livestream.discovery.udp_exchange import UdpExchange, UdpScrape
from livestream.discovery.udp_tracker import UdpTrackerServer
from livestream.errors import MessageDecodeError
from livestream.machine import Address
from livestream.wire import bencode

HASH = bytes(range(20))
SOURCE = Address("192.0.2.9", 4000)


@pytest.mark.parametrize(  # The table of BEP 48.
    ("announce", "scrape"),
    [
        ("http://example.com/announce", "http://example.com/scrape"),
        ("http://example.com/x/announce", "http://example.com/x/scrape"),
        ("http://example.com/announce.php", "http://example.com/scrape.php"),
        ("http://example.com/a", None),
        ("http://example.com/announce?x2%0644", "http://example.com/scrape?x2%0644"),
        ("http://example.com/announce?x=2/4", "http://example.com/scrape?x=2/4"),
        ("http://example.com/x%064announce", None),
        ("http://announce.example.com", None),
        ("http://[::1/announce", None),
    ],
)
def test_scrape_urls_follow_the_convention(announce: str, scrape: str | None) -> None:
    assert scrape_url(announce) == scrape


def swarm_of_three() -> TrackerState:
    state = TrackerState(Random(1))
    for number, is_seed in ((1, True), (2, False), (3, True)):
        event = Event.COMPLETED if number == 3 else Event.STARTED
        peer = Address("192.0.2.1", 6000 + number)
        peer_id = b"%020d" % number
        state.take(Announce(HASH, peer_id, peer, is_seed=is_seed, event=event, wanted=0), 0)
    return state


def test_our_tracker_is_scraped_over_http() -> None:
    query = urlsplit(f"http://t/scrape?{scrape_query(HASH)}").query
    body = swarm_of_three().scrape(query, 0)
    assert parse_scrape(body, HASH) == ScrapeCounts(seeds=2, leechers=1, completed=1)
    other = bytes(20)
    body = swarm_of_three().scrape(scrape_query(other), 0)
    assert parse_scrape(body, other) == ScrapeCounts(0, 0, 0)


def run(machine: UdpExchange, server: UdpTrackerServer) -> None:
    while (datagram := machine.datagram(0)) is not None:
        answer = server.receive(datagram, SOURCE, 0)
        assert answer is not None
        machine.receive(answer, 0, is_v6=False)


def test_our_tracker_is_scraped_over_udp() -> None:
    machine = UdpScrape(HASH, Random(3))
    run(machine, UdpTrackerServer(swarm_of_three(), Random(2)))
    assert machine.counts == ScrapeCounts(seeds=2, leechers=1, completed=1)
    assert machine.is_over


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"le",
        b"de",
        b"d5:filesi1ee",
        b"d5:filesd20:" + HASH + b"i7eee",
        b"d14:failure reason2:noe",
    ],
)
def test_what_is_no_scrape_is_refused(body: bytes) -> None:
    with pytest.raises(MessageDecodeError):
        parse_scrape(body, HASH)


def test_numbers_that_cannot_be_count_as_little_as_they_can() -> None:
    entry: dict[bytes, bencode.Value] = {
        b"complete": -5,
        b"incomplete": b"x",
        b"downloaded": 1 << 40,
    }
    body = bencode.encode({b"files": {HASH: entry}})
    assert parse_scrape(body, HASH) == ScrapeCounts(0, 0, (1 << 32) - 1)


@given(st.binary(max_size=80))
def test_any_datagram_is_taken_or_ignored(data: bytes) -> None:
    machine = UdpScrape(HASH, Random(1))
    server = UdpTrackerServer(TrackerState(Random(1)), Random(2))
    connect = machine.datagram(0)
    assert connect is not None
    machine.receive(data, 0, is_v6=False)
    answer = server.receive(connect, SOURCE, 0)
    assert answer is not None
    machine.receive(answer, 0, is_v6=False)
    question = machine.datagram(0)
    assert question is not None
    machine.receive(b"\x00\x00\x00\x02" + question[12:16] + data, 0, is_v6=False)
    assert (machine.counts is not None) == machine.is_over == (len(data) >= 12)
