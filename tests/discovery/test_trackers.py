"""Trackers: what ours answers over HTTP and UDP, and how an announcer behaves."""

from __future__ import annotations

from random import Random
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from livestream.discovery.announce import Announcer, parse_response
from livestream.discovery.tracker import (
    EXPIRY_US,
    PEERS_MAX,
    PEERS_TOTAL_MAX,
    SWARMS_MAX,
    Announce,
    TrackerState,
)
from livestream.discovery.tracker import AnnounceEvent as Event
from livestream.discovery.udp_exchange import UdpAnnounce
from livestream.discovery.udp_tracker import (
    CONNECTION_LIFE_US,
    Progress,
    UdpTrackerServer,
    UdpWords,
)
from livestream.errors import MessageDecodeError
from livestream.machine import SECOND, Address
from livestream.wire import bencode

HASH = bytes(range(20))
SOURCE = Address("192.0.2.9", 4000)


def peer_id(number: int) -> bytes:
    return b"%020d" % number


def ask(
    state: TrackerState, number: int, now: int = 0, left: int = 1, event: str = ""
) -> list[Address]:
    query = (
        f"info_hash={quote_from_bytes(HASH, safe='')}&peer_id={peer_id(number).decode()}"
        f"&port={6000 + number}&left={left}&event={event}"
    )
    return parse_response(state.announce(query, f"192.0.2.{number}", now)).peers


def test_peers_learn_of_each_other_and_not_of_themselves() -> None:
    state = TrackerState(Random(1))
    assert ask(state, 1) == []
    assert ask(state, 2) == [Address("192.0.2.1", 6001)]
    assert ask(state, 1) == [Address("192.0.2.2", 6002)]


def test_whoever_stopped_or_fell_silent_is_forgotten() -> None:
    state = TrackerState(Random(1))
    ask(state, 1)
    ask(state, 2)
    ask(state, 1, event="stopped")
    assert ask(state, 3) == [Address("192.0.2.2", 6002)]
    assert ask(state, 4, now=EXPIRY_US + 10 * SECOND) == []


def test_a_peer_may_be_silent_for_as_long_as_it_is_used_to() -> None:
    """Clients that announce each five minutes stay; of those that come each 30 s one is missed."""
    state = TrackerState(Random(1))
    for second in range(0, 901, 30):
        ask(state, 1, now=second * SECOND)
        if second % 300 == 0:
            event = "completed" if second == 0 else ""
            ask(state, 2, now=second * SECOND, event=event)
    both = [Address("192.0.2.1", 6001), Address("192.0.2.2", 6002)]
    assert sorted(ask(state, 3, now=940 * SECOND)) == both
    assert ask(state, 3, now=1_190 * SECOND) == both[1:]
    assert ask(state, 3, now=(900 + 666) * SECOND) == []


def test_seeds_are_no_use_to_seeds() -> None:
    state = TrackerState(Random(1))
    ask(state, 1, left=0)
    assert ask(state, 2, left=0) == []
    assert ask(state, 3, left=5) != []
    counts = state.counts(HASH, 0)
    assert (counts.seeds, counts.leechers) == (2, 1)


def test_whoever_comes_and_goes_the_others_are_all_told_of() -> None:
    state, rng = TrackerState(Random(1)), Random(2)
    here: dict[int, int] = {}
    for step in range(600):
        number = rng.randrange(1, 30)
        left = rng.randrange(2)
        if rng.randrange(3) == 0:
            ask(state, number, left=left, event="stopped")
            here.pop(number, None)
        else:
            found = ask(state, number, left=left)
            here[number] = left
            expected = {n for n in here if n != number and (left or here[n])}
            assert {address.port - 6000 for address in found} == expected, f"step {step}"
            assert len(found) == len(expected)
        counts = state.counts(HASH, 0)
        seeds = sum(not left for left in here.values())
        assert (counts.seeds, counts.leechers) == (seeds, len(here) - seeds)


def test_a_scrape_counts_who_completed() -> None:
    state = TrackerState(Random(1))
    ask(state, 1)
    ask(state, 1, left=0, event="completed")
    body = bencode.decode(state.scrape(f"info_hash={quote_from_bytes(HASH, safe='')}", 0))
    assert body == {b"files": {HASH: {b"complete": 1, b"downloaded": 1, b"incomplete": 0}}}


@given(st.text(st.characters(), max_size=60))
@example("info_hash=\udcff\ud800&peer_id=\udc80")
def test_any_query_gets_an_answer(query: str) -> None:
    state = TrackerState(Random(1))
    assert isinstance(bencode.decode(state.announce(query, "192.0.2.1", 0)), dict)


def test_an_announcer_tells_started_completed_once_and_stopped() -> None:
    left = [10]
    announcer = Announcer("http://t/announce", HASH, peer_id(1), 5, lambda: Progress(1, 2, left[0]))
    answer = bencode.encode({b"interval": 60, b"peers": b""})
    first = announcer.query(0)
    assert "event=started" in first
    assert "uploaded=1&downloaded=2&left=10" in first
    announcer.receive(answer, 0)
    assert "event" not in announcer.query(0)
    left[0] = 0
    due = [announcer.is_completion_due]
    assert "event=completed" in announcer.query(0)
    announcer.receive(answer, 0)
    due.append(announcer.is_completion_due)
    assert due == [True, False]
    assert "event" not in announcer.query(0)
    assert "event=stopped" in announcer.query(0, is_leaving=True)


def test_a_partial_seed_says_so_in_every_announce_after_the_first() -> None:
    """BEP 21: left alone would have it counted as a downloader, and given seeds."""
    is_paused = [False]
    announcer = Announcer(
        "http://t/announce", HASH, peer_id(1), 5, lambda: Progress(0, 10, 5, is_paused[0])
    )
    answer = bencode.encode({b"interval": 60, b"peers": b""})
    assert "event=started" in announcer.query(0)
    announcer.receive(answer, 0)
    is_paused[0] = True
    for _ in range(2):
        said = announcer.query(0)
        assert "left=5" in said
        assert "event=paused" in said
        announcer.receive(answer, 0)
    assert "event=stopped" in announcer.query(0, is_leaving=True)


def test_a_partial_seed_is_taken_over_udp_and_http_and_is_no_seed() -> None:
    state = TrackerState(Random(1))
    assert ask(state, 1, left=5, event="paused") == []
    counts = state.counts(HASH, 0)
    assert (counts.seeds, counts.leechers, counts.completed) == (0, 1, 0)
    server = UdpTrackerServer(state, Random(2))
    words = UdpWords(HASH, peer_id(2), 6002, Progress(left=5, is_paused=True), Event.PAUSED)
    machine = UdpAnnounce(words, Random(3))
    while (data := machine.datagram(0)) is not None:
        answer = server.receive(data, SOURCE, 0)
        assert answer is not None
        machine.receive(answer, 0, is_v6=False)
    assert machine.peers == [Address("192.0.2.1", 6001)]


def test_an_announcer_backs_off_from_a_tracker_that_fails() -> None:
    announcer = Announcer("http://t/", HASH, peer_id(1), 5)
    waits = []
    now = 0
    for _ in range(8):
        announcer.query(now)
        announcer.receive(None, now)
        waits.append(announcer.get_timer() - now)
        now = announcer.get_timer()
    assert waits == sorted(waits)
    assert waits[-1] > waits[0]


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"i1e", b"d14:failure reason3:noe", b"d8:interval" + b"9" * 2_000_000],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(MessageDecodeError):
        parse_response(body)


def test_a_tracker_that_wants_silence_for_ever_or_none_is_not_obeyed() -> None:
    for interval in (0, -5, 1 << 60):
        body = bencode.encode({b"interval": interval, b"peers": b"\x01\x02\x03\x04\x1a\xe1"})
        answer = parse_response(body)
        assert 5 * SECOND <= answer.interval_us <= 3_600 * SECOND
        assert answer.peers == [Address("1.2.3.4", 6881)]


def test_of_a_swarm_no_more_is_told_than_was_asked_for_and_never_too_much() -> None:
    state = TrackerState(Random(1))
    for number in range(250):
        query = (
            f"info_hash={quote_from_bytes(HASH, safe='')}&peer_id={number:020}&port={number + 1}"
        )
        state.announce(query, "192.0.2.1", 0)
    query = f"info_hash={quote_from_bytes(HASH, safe='')}&peer_id={'x' * 20}&port=9"
    found = []
    for wanted in ("&numwant=7", "", "&numwant=100000", "&numwant=-1", "&numwant=0"):
        body = bencode.decode(state.announce(query + wanted, "192.0.2.2", 0))
        assert isinstance(body, dict)
        peers = body[b"peers"]
        assert isinstance(peers, bytes)
        found.append(len(peers) // 6)
    assert found == [7, 50, 200, 50, 0]


def take(state: TrackerState, swarm: int, number: int, now: int) -> list[Address] | str:
    words = Announce(
        b"%020d" % swarm, peer_id(number), SOURCE, is_seed=False, event=Event.NONE, wanted=5
    )
    return state.take(words, now)


def test_swarms_that_everyone_left_silently_make_room_for_others() -> None:
    state = TrackerState(Random(1))
    for swarm in range(SWARMS_MAX):
        assert take(state, swarm, 1, 0) == []
    assert isinstance(take(state, SWARMS_MAX, 1, EXPIRY_US - 1), str)
    assert take(state, SWARMS_MAX, 1, EXPIRY_US + 10 * SECOND) == []
    assert state.counts(b"%020d" % SWARMS_MAX, EXPIRY_US + 10 * SECOND).leechers == 1


def test_a_flood_of_made_up_peers_fills_a_bounded_table_and_drains_again() -> None:
    state = TrackerState(Random(1))
    flooded = -(-PEERS_TOTAL_MAX // PEERS_MAX)
    for swarm in range(flooded):
        for number in range(PEERS_MAX + 10):
            state.take(
                Announce(
                    b"%020d" % swarm,
                    peer_id(number),
                    SOURCE,
                    is_seed=False,
                    event=Event.NONE,
                    wanted=0,
                ),
                0,
            )
    take(state, flooded, 1, 0)
    counts = [state.counts(b"%020d" % swarm, 0).leechers for swarm in range(flooded + 1)]
    assert max(counts) == PEERS_MAX
    assert sum(counts) == PEERS_TOTAL_MAX
    later = EXPIRY_US + 10 * SECOND
    take(state, flooded, 1, later)
    assert state.counts(b"%020d" % flooded, later).leechers == 1


# UDP


def words(number: int, left: int = 1) -> UdpWords:
    return UdpWords(HASH, peer_id(number), 6000 + number, Progress(left=left), Event.STARTED)


def run_udp(server: UdpTrackerServer, number: int, source: Address) -> UdpAnnounce:
    machine = UdpAnnounce(words(number), Random(number))
    while (datagram := machine.datagram(0)) is not None:
        answer = server.receive(datagram, source, 0)
        if answer is not None:
            machine.receive(answer, 0, is_v6=False)
    return machine


def test_announces_over_udp_meet_those_over_http() -> None:
    state = TrackerState(Random(1))
    server = UdpTrackerServer(state, Random(2))
    ask(state, 1)
    machine = run_udp(server, 2, SOURCE)
    assert machine.is_over
    assert machine.failure == ""
    assert machine.peers == [Address("192.0.2.1", 6001)]
    assert ask(state, 1) == [Address(SOURCE.host, 6002)]


def test_no_address_gets_more_than_it_sent_before_it_has_shown_that_it_hears() -> None:
    state = TrackerState(Random(1))
    for number in range(100):
        ask(state, number)
    server = UdpTrackerServer(state, Random(2))
    machine = UdpAnnounce(words(1), Random(1))
    connect = machine.datagram(0)
    assert connect is not None
    answer = server.receive(connect, SOURCE, 0)
    assert answer is not None
    assert len(answer) <= len(connect)
    machine.receive(answer, 0, is_v6=False)
    announce = machine.datagram(0)
    assert announce is not None
    elsewhere = Address("192.0.2.200", 4000)
    assert server.receive(announce, elsewhere, 0) is None
    assert server.receive(announce, SOURCE, 3 * CONNECTION_LIFE_US) is None


def test_answers_that_are_not_ours_are_ignored_and_silence_ends() -> None:
    machine = UdpAnnounce(words(1), Random(1))
    sent = machine.datagram(0)
    assert sent is not None
    machine.receive(b"\x00" * 16, 0, is_v6=False)
    machine.receive(b"", 0, is_v6=False)
    now = 0
    while not machine.is_over:
        now = machine.get_timer()
        machine.datagram(now)
    assert machine.failure == "no answer"
    assert now > 60 * SECOND


@given(st.binary(max_size=120))
def test_any_datagram_is_answered_or_dropped(data: bytes) -> None:
    server = UdpTrackerServer(TrackerState(Random(1)), Random(2))
    server.receive(data, SOURCE, 0)
    machine = UdpAnnounce(words(1), Random(1))
    machine.datagram(0)
    machine.receive(data, 0, is_v6=False)
