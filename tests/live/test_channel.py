"""A publisher and viewers, whole nodes over QUIC, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from livestream.config import LiveConfig, SwarmConfig
from livestream.live.channel import ASKED_MIN, ASKED_US, Channel, PieceVerified
from livestream.live.head import Head
from livestream.live.piece import LivePiece
from livestream.live.signing import Signer
from livestream.live.window import LiveWindow
from livestream.machine import MILLISECOND, SECOND, Address
from livestream.media.records import NO_RECORD, Payload, PayloadFlags
from livestream.media.sample import Track, TrackKind
from livestream.swarm.node import Node
from livestream.swarm.swarm import PeerBanned
from livestream.swarm.uploads import UploadQueue
from livestream.wire.live import Refuse, Rooms, Status, Subscribe
from livestream.wire.messages import Have
from tests.live.neighbourhood import SUBSTREAMS, Neighbourhood, fed
from tests.transport.identity import identity
from tests.world import Link, World

SIGNER = Signer(bytes(range(32)))
TRACK = Track(0, TrackKind.VIDEO, "h264", 90_000, b"\x01", width=64, height=64)
UNIX_OFFSET_US = 1_700_000_000 * SECOND
PIECE_US = 25 * MILLISECOND
PAYLOAD = bytes(4_000)


class Station:
    """One node with its channel."""

    def __init__(
        self,
        world: World,
        number: int,
        *,
        is_source: bool,
        up_bps: int | None,
        window: LiveWindow | None = None,
    ) -> None:
        self.address = Address(f"192.0.2.{number}", 4000)
        self.received: dict[int, int] = {}
        "Index to lag, µs."
        self.banned = 0
        rng = Random(number)
        swarm = SwarmConfig(upload_bps=up_bps)
        me = identity(number)
        self.channel = Channel(
            SIGNER.public_key,
            me.public_key,
            UNIX_OFFSET_US,
            rng,
            live=LiveConfig(),
            swarm=swarm,
            is_source=is_source,
            window=window,
        )
        self.node = Node(me, rng, swarm=swarm)
        self.node.add_swarm(self.channel.swarm, world.now)
        world.add(self.address, self.node)

    def collect(self) -> None:
        """Take events."""
        while (event := self.node.next_event()) is not None:
            if isinstance(event, PieceVerified):
                lag_us = event.received_at - event.captured_at
                self.received[event.piece.index] = lag_us
            elif isinstance(event, PeerBanned):
                self.banned += 1


class Broadcast:
    """A publisher that cuts a piece every 25 ms, and its viewers."""

    def __init__(
        self,
        seed: int,
        viewers: int,
        link: Link,
        *,
        up_bps: int | None = None,
        first_window: LiveWindow | None = None,
    ) -> None:
        self.world = World(seed, link)
        self.source = Station(self.world, 1, is_source=True, up_bps=up_bps)
        self.viewers = [
            Station(
                self.world,
                number + 2,
                is_source=False,
                up_bps=None,
                window=None if number else first_window,
            )
            for number in range(viewers)
        ]
        self.next_index = 0
        everyone = [self.source.address, *(viewer.address for viewer in self.viewers)]
        for viewer in self.viewers:
            others = [address for address in everyone if address != viewer.address]
            info_hash = viewer.channel.swarm.info_hash
            viewer.node.add_candidates(info_hash, others, self.world.now)

    def run(self, seconds: float) -> None:
        """Send for some virtual seconds."""
        end = self.world.now + int(seconds * SECOND)
        while self.world.now < end:
            if self.next_index % 40 == 0:
                self._head()
            self._piece()
            self.world.run_until(self.world.now + PIECE_US, self._collect)

    def _collect(self) -> None:
        for station in (self.source, *self.viewers):
            station.collect()

    def _piece(self) -> None:
        captured_ms = (self.world.now + UNIX_OFFSET_US) // MILLISECOND
        flags = PayloadFlags.KEYFRAME if self.next_index % 40 == 0 else PayloadFlags(0)
        payload = Payload(captured_ms, flags, NO_RECORD, PAYLOAD)
        piece = LivePiece.sign(SIGNER, 7, self.next_index, payload)
        self.next_index += 1
        self.source.channel.publish(piece, self.world.now)

    def _head(self) -> None:
        window = self.source.channel.window
        head = Head(
            epoch=7,
            time_ms=(self.world.now + UNIX_OFFSET_US) // MILLISECOND,
            first_index=window.first,
            newest_index=self.next_index - 1,
            payload_bytes_max=4096,
            substreams=8,
            rate_bps=1_280_000,
            is_ended=False,
            name="test",
            keyframes=tuple(window.keyframes),
            tracks=(TRACK,),
        )
        self.source.channel.set_head(head, head.sign(SIGNER), self.world.now)


def missed(station: Station, first: int, last: int, latency_us: int = SECOND) -> list[int]:
    """Return the pieces that were not there a second after their capture."""
    return [
        index
        for index in range(first, last)
        if station.received.get(index, latency_us + 1) > latency_us
    ]


@pytest.mark.parametrize(
    ("seeds", "seconds"),
    [
        pytest.param([1], 11, id="short"),
        pytest.param(range(1, 5), 15, id="long", marks=pytest.mark.long),
    ],
)
def test_every_viewer_gets_every_piece_in_time_and_most_from_other_viewers(
    seeds: Sequence[int], seconds: int
) -> None:
    for seed in seeds:
        cast = Broadcast(seed, 6, Link(delay_us=15_000), up_bps=1_920_000)
        cast.run(seconds)
        last = cast.next_index - 45
        for viewer in cast.viewers:
            assert missed(viewer, 200, last) == [], f"seed {seed}"
        kept = sum(viewer.channel.swarm.stats.kept_bytes for viewer in cast.viewers)
        source = sum(viewer.channel.swarm.stats.source_bytes for viewer in cast.viewers)
        assert source / kept < 0.5, f"seed {seed}"


def test_lost_datagrams_are_repaired_before_the_deadline() -> None:
    cast = Broadcast(3, 4, Link(delay_us=15_000, loss=0.02))
    cast.run(11)
    for viewer in cast.viewers:
        assert len(missed(viewer, 200, cast.next_index - 45)) <= 2


def test_when_a_feeder_dies_its_children_go_on() -> None:
    cast = Broadcast(4, 5, Link(delay_us=15_000), up_bps=1_920_000)
    cast.run(4)
    victim = max(cast.viewers, key=lambda viewer: viewer.channel.choker.used_slots)
    assert victim.channel.choker.used_slots > 0
    cast.world.remove(victim.address)
    cast.viewers.remove(victim)
    cast.run(8)  # Longer than a connection lasts without a word: it is known to be dead.
    late = cast.next_index - 45
    for viewer in cast.viewers:
        assert missed(viewer, late - 100, late) == []


# Strangers with room


STRANGER = Address("198.51.100.7", 4000)


def is_called(here: Neighbourhood) -> bool:
    """Whether the stranger is called within a second."""
    here.go_on(1)
    return STRANGER in here.swarm.next_attempts(here.now)


def test_who_looks_for_a_feeder_calls_a_stranger_of_whom_a_neighbour_tells() -> None:
    here = Neighbourhood()
    teller = here.join(1)
    assert not is_called(here)
    here.tell(teller, Rooms(((3, STRANGER),)))
    assert is_called(here)


def test_a_stranger_in_a_substream_that_does_not_exist_is_nobody() -> None:
    here = Neighbourhood()
    here.tell(here.join(1), Rooms(((SUBSTREAMS, STRANGER),)))
    assert not is_called(here)


def test_the_publisher_calls_whom_a_head_names_and_nobody_else() -> None:
    here = Neighbourhood(is_source=True)
    head = here.join(1)
    here.tell(head, Rooms(((3, STRANGER),)))
    assert not is_called(here)
    here.tell(head, Subscribe(3, 0))
    here.tell(head, Rooms(((3, STRANGER),)))
    assert is_called(here)


def test_a_feeder_is_told_what_came_from_elsewhere_and_need_not_push_it() -> None:
    here = Neighbourhood()
    feeder, other = here.join(1), here.join(2)
    here.serve(feeder)
    here.go_on(2)
    index = here.next_index + SUBSTREAMS
    here.heard_plainly(feeder)
    here.give(other, index)
    assert Have(index) in here.heard_plainly(feeder)
    here.give(feeder, index + SUBSTREAMS)
    assert Have(index + SUBSTREAMS) not in here.heard_plainly(feeder)


def test_only_whom_we_asked_can_name_others_by_a_refusal() -> None:
    here = Neighbourhood()
    teller = here.join(1)
    here.tell(teller, Refuse(3, (STRANGER,)))
    assert not is_called(here)
    here.tell(teller, Status(False, 3, 1, 0, fed(100)))
    here.go_on(0.3)
    assert Subscribe(3, 0) in here.heard(teller)
    here.tell(teller, Refuse(3, (STRANGER,)))
    assert is_called(here)


def test_a_viewer_takes_as_many_requests_as_its_upload_answers_in_good_time() -> None:
    """And the publisher, whose upload is for heads, as many as any queue."""
    most = {}
    for upload_bps in (100_000, 10_000_000):
        here = Neighbourhood(upload_bps=upload_bps)
        here.join(1)
        most[upload_bps] = here.swarm.uploads.asked_max
    pieces_per_s = 10_000_000 / (8 * here.head().payload_bytes_max)
    assert most == {100_000: ASKED_MIN, 10_000_000: int(pieces_per_s * ASKED_US / SECOND)}
    source = Neighbourhood(is_source=True, upload_bps=100_000)
    assert source.swarm.uploads.asked_max == UploadQueue().asked_max
