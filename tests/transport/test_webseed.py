"""A web server as a peer: what is asked of it, what it reports, and how it ends."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.machine import SECOND
from livestream.swarm.greeting import read_extension_handshake
from livestream.transport.connection import Connected, ConnectionState, MessageReceived
from livestream.transport.fetch import ResponseHead
from livestream.transport.webseed import FETCHES_MAX, RANGE_BYTES_MAX, REQUESTS_TAKEN, WebSeed
from livestream.wire import messages
from livestream.wire.messages import (
    Cancel,
    Choke,
    Extended,
    Handshake,
    HaveAll,
    Interested,
    Reject,
    Request,
    Unchoke,
)
from tests.transport.website import ADDRESS, BLOCK, Website, open_seed

MIXED = [100_000, 3, 1, -28_380, 40_000, -9_152, 70_001]


def ask(seed: WebSeed, requests: list[Request]) -> None:
    seed.send_many([request.to_bytes() for request in requests])


def wanted(site: Website, requests: list[Request]) -> dict[tuple[int, int], bytes]:
    return {(each.index, each.begin): site.block(each) for each in requests}


def test_it_greets_as_a_peer_that_has_everything_and_chokes_nobody() -> None:
    seed = WebSeed(ADDRESS, Website([10]), lambda changed: None, 0)
    assert seed.next_event() == Connected(b"")
    assert seed.next_event() is None
    seed.send(Handshake(b"h" * 20, bytes(20)).to_bytes())
    said = []
    while (event := seed.next_event()) is not None:
        assert isinstance(event, MessageReceived)
        said.append(event.data)
    handshake = Handshake.parse(said[0])
    assert handshake.info_hash == b"h" * 20
    assert handshake.has_fast
    greeting = messages.parse(said[1])
    assert isinstance(greeting, Extended)
    assert read_extension_handshake(greeting.payload).client == "web seed mirror0.example"
    assert [messages.parse(each) for each in said[2:]] == [HaveAll(), Unchoke()]


def test_two_web_seeds_have_two_peer_ids() -> None:
    ids = []
    for number in range(2):
        seed = WebSeed(ADDRESS, Website([10], number=number), lambda changed: None, 0)
        seed.next_event()
        seed.send(Handshake(bytes(20), bytes(20)).to_bytes())
        event = seed.next_event()
        assert isinstance(event, MessageReceived)
        ids.append(Handshake.parse(event.data).peer_id)
    assert ids[0] != ids[1]


@settings(max_examples=60, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_all_blocks_come_however_they_are_asked_for_and_bodies_are_cut(rng: Random) -> None:
    """Goal: files that begin and end anywhere, padding between, blocks in any order."""
    lengths = [rng.choice([1, 100, BLOCK, 3 * BLOCK + 7, -5, -BLOCK, -40_000]) for _ in range(9)]
    site = Website([*lengths, 77], piece_length=2 * BLOCK)
    seed, heard = open_seed(site)
    waiting = site.requests()
    if rng.random() < 0.5:
        rng.shuffle(waiting)
    everything = wanted(site, waiting)
    fetches = []
    bodies = {}
    for _ in range(100_000):
        if len(heard.listen().blocks) == len(everything):
            break
        if waiting and rng.random() < 0.5:
            ask(seed, [waiting.pop(0) for _ in range(min(len(waiting), rng.randrange(1, 6)))])
        while (fetch := seed.next_fetch()) is not None:
            fetches.append(fetch)
            bodies[fetch] = memoryview(site.body(fetch))
            seed.receive_head(fetch, site.head(fetch))
        if fetches:
            fetch = rng.choice(fetches)
            count = rng.choice([1, 100, BLOCK, 1 << 20])
            seed.receive_body(fetch, bodies[fetch][:count])
            bodies[fetch] = bodies[fetch][count:]
            if not seed.is_under_way(fetch):
                assert not bodies[fetch]
                fetches.remove(fetch)
    assert heard.blocks == everything
    assert seed.state is ConnectionState.CONNECTED


def test_blocks_that_follow_each_other_are_one_request_and_files_are_separate() -> None:
    site = Website(MIXED)
    seed, heard = open_seed(site)
    ask(seed, site.requests())
    served = site.serve_all(seed)
    assert [(fetch.url[-1], fetch.range) for fetch in served] == [
        ("0", "bytes=0-99999"),
        ("1", "bytes=0-2"),
        ("2", "bytes=0-0"),
        ("4", "bytes=0-39999"),
        ("6", "bytes=0-70000"),
    ]
    assert heard.listen().blocks == wanted(site, site.requests())


def fetches_of(seed: WebSeed) -> list[int]:
    lengths = []
    while (fetch := seed.next_fetch()) is not None:
        lengths.append(fetch.length)
    return lengths


def test_a_range_is_at_most_four_megabytes() -> None:
    site = Website([20 << 20])
    seed, _ = open_seed(site)
    ask(seed, site.requests()[:REQUESTS_TAKEN])
    assert fetches_of(seed) == [RANGE_BYTES_MAX, REQUESTS_TAKEN * BLOCK - RANGE_BYTES_MAX]


def test_two_requests_are_under_way_at_most() -> None:
    site = Website([1 << 20] * 5)
    seed, _ = open_seed(site)
    ask(seed, site.requests())
    assert fetches_of(seed) == [1 << 20] * FETCHES_MAX


def test_blocks_that_are_asked_for_one_by_one_do_not_make_a_request_each() -> None:
    site = Website([100 * BLOCK])
    seed, heard = open_seed(site)
    requests = site.requests()
    ask(seed, requests[:8])
    first = seed.next_fetch()
    assert first is not None
    assert first.length == 8 * BLOCK
    seed.receive_head(first, site.head(first))
    for number in range(3):
        ask(seed, [requests[8 + number]])
        assert seed.next_fetch() is None, "three blocks wait, five and more are on their way"
        seed.receive_body(first, site.body(first)[number * BLOCK : (number + 1) * BLOCK])
    ask(seed, requests[11:16])
    second = seed.next_fetch()
    assert second is not None
    assert (second.start, second.length) == (8 * BLOCK, 8 * BLOCK)
    assert len(heard.listen().blocks) == 3


def test_padding_is_made_here() -> None:
    site = Website([BLOCK, -3 * BLOCK, 5])
    seed, heard = open_seed(site)
    ask(seed, site.requests()[1:4])
    assert seed.next_fetch() is None
    assert list(heard.listen().blocks.values()) == [bytes(BLOCK)] * 3


@pytest.mark.parametrize("status", [301, 400, 403, 404, 416, 500, 502, 503, 204])
def test_a_status_that_brings_nothing_ends_it(status: int) -> None:
    site = Website([BLOCK])
    seed, heard = open_seed(site)
    ask(seed, site.requests())
    fetch = seed.next_fetch()
    assert fetch is not None
    seed.receive_head(fetch, ResponseHead(status))
    end = heard.listen().end
    assert end is not None
    assert str(status) in end.reason
    assert not end.is_local
    assert seed.retry_after_us is None
    seed.receive_body(fetch, site.body(fetch))
    seed.receive_end(fetch)
    ask(seed, site.requests())
    assert not heard.listen().blocks
    assert seed.next_fetch() is None


@pytest.mark.parametrize(
    ("status", "seconds", "expected_us"),
    [
        (503, 7, 7 * SECOND),
        (429, 120, 120 * SECOND),
        (503, 0, SECOND),
        (503, 10**9, 3_600 * SECOND),
        (404, 7, None),
    ],
)
def test_a_busy_server_says_when_to_come_back(
    status: int, seconds: int, expected_us: int | None
) -> None:
    site = Website([BLOCK])
    seed, _ = open_seed(site)
    ask(seed, site.requests())
    fetch = seed.next_fetch()
    assert fetch is not None
    seed.receive_head(fetch, ResponseHead(status, retry_after_s=seconds))
    assert seed.retry_after_us == expected_us


def test_a_short_body_ends_it_and_what_came_before_counts() -> None:
    site = Website([4 * BLOCK])
    seed, heard = open_seed(site)
    ask(seed, site.requests())
    fetch = seed.next_fetch()
    assert fetch is not None
    seed.receive_head(fetch, site.head(fetch))
    seed.receive_body(fetch, site.body(fetch)[: 2 * BLOCK + 5])
    seed.receive_end(fetch)
    heard.listen()
    assert len(heard.blocks) == 2
    assert heard.end is not None
    assert f"{2 * BLOCK - 5} bytes early" in heard.end.reason
    assert seed.has_given


def test_a_fetch_without_an_answer_ends_it() -> None:
    site = Website([BLOCK])
    seed, heard = open_seed(site)
    ask(seed, site.requests())
    fetch = seed.next_fetch()
    assert fetch is not None
    seed.fail(fetch, "no answer in time")
    end = heard.listen().end
    assert end is not None
    assert end.reason == "no answer in time"


def test_what_is_cancelled_is_rejected_and_not_fetched() -> None:
    site = Website([8 * BLOCK])
    seed, heard = open_seed(site)
    requests = site.requests()
    ask(seed, requests[:4])
    for each in requests[1:3]:
        seed.send(Cancel(each.index, each.begin, each.length).to_bytes())
    served = site.serve_all(seed)
    assert [(fetch.start, fetch.length) for fetch in served] == [(0, BLOCK), (3 * BLOCK, BLOCK)]
    heard.listen()
    assert heard.messages == [Reject(0, each.begin, BLOCK) for each in requests[1:3]]
    assert heard.blocks == wanted(site, [requests[0], requests[3]])


def test_a_fetch_is_broken_off_when_the_rest_of_it_is_cancelled() -> None:
    site = Website([3 * BLOCK])
    seed, heard = open_seed(site)
    requests = site.requests()
    ask(seed, requests)
    fetch = seed.next_fetch()
    assert fetch is not None
    seed.receive_head(fetch, site.head(fetch))
    seed.receive_body(fetch, site.body(fetch)[:BLOCK])
    seed.send(Cancel(0, BLOCK, BLOCK).to_bytes())
    assert seed.take_aborted() == []
    seed.send(Cancel(0, 2 * BLOCK, BLOCK).to_bytes())
    assert seed.take_aborted() == [fetch]
    assert not seed.is_under_way(fetch)
    assert seed.state is ConnectionState.CONNECTED
    ask(seed, requests[1:])
    site.serve_all(seed)
    assert heard.listen().blocks == wanted(site, requests)


def test_a_cancel_of_what_has_come_is_nothing() -> None:
    site = Website([BLOCK])
    seed, heard = open_seed(site)
    ask(seed, site.requests())
    site.serve_all(seed)
    seed.send(Cancel(0, 0, BLOCK).to_bytes())
    assert heard.listen().messages == []


def test_a_request_twice_brings_one_block() -> None:
    site = Website([BLOCK])
    seed, heard = open_seed(site)
    ask(seed, site.requests() * 2)
    assert len(site.serve_all(seed)) == 1
    assert len(heard.listen().blocks) == 1


def test_more_requests_than_it_takes_are_rejected() -> None:
    site = Website([(REQUESTS_TAKEN + 3) * BLOCK])
    seed, heard = open_seed(site)
    ask(seed, site.requests())
    assert heard.listen().messages == [
        Reject(each.index, each.begin, each.length) for each in site.requests()[REQUESTS_TAKEN:]
    ]


def test_closing_breaks_off_what_is_under_way() -> None:
    site = Website([BLOCK])
    seed, heard = open_seed(site)
    ask(seed, site.requests())
    fetch = seed.next_fetch()
    seed.close("sent a forged piece 0", 0)
    assert seed.take_aborted() == [fetch]
    end = heard.listen().end
    assert end is not None
    assert end.is_local
    assert seed.failure == ""
    assert seed.get_timer() is None


def test_an_idle_one_says_that_it_is_there() -> None:
    """Else the swarm would drop it for its silence, and come back, for ever."""
    seed, heard = open_seed(Website([BLOCK]))
    for _ in range(5):
        timer = seed.get_timer()
        assert timer is not None
        assert timer < 180 * SECOND * (1 + len(heard.messages))
        seed.handle_timer(timer)
        heard.listen()
    assert heard.messages == [Unchoke()] * 5


def test_a_server_that_trickles_is_given_up() -> None:
    site = Website([4 * BLOCK])
    seed, heard = open_seed(site)
    ask(seed, site.requests())
    fetch = seed.next_fetch()
    assert fetch is not None
    seed.receive_head(fetch, site.head(fetch))
    body = site.body(fetch)
    seed.handle_timer(60 * SECOND)
    seed.receive_body(fetch, body[:BLOCK])
    seed.handle_timer(120 * SECOND)
    seed.receive_body(fetch, body[BLOCK : BLOCK + 100])
    assert seed.state is ConnectionState.CONNECTED
    seed.handle_timer(180 * SECOND)
    end = heard.listen().end
    assert end is not None
    assert "minute" in end.reason


def test_other_messages_and_nonsense_are_not_its_business() -> None:
    seed, heard = open_seed(Website([BLOCK]))
    for message in (Choke(), Interested(), HaveAll(), Extended(0, b"de")):
        seed.send(message.to_bytes())
    for data in (b"", b"\xff", b"\x06short"):
        seed.send(data)
    seed.send_block(0, 0, memoryview(b"x"))
    heard.listen()
    assert heard.end is None
    assert heard.messages == []
    assert seed.next_fetch() is None
