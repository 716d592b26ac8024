"""What neighbours are told: how we are, who else has room, and what we hold."""

from __future__ import annotations

from livestream.config import Transport
from livestream.live.neighbours import ANY_HOME
from livestream.swarm.peer import Peer
from livestream.wire import live, messages
from livestream.wire.live import Feed, LiveMessage, Rooms, Status, Subscribe, WindowUpdate
from livestream.wire.messages import Extended, Interested
from tests.live.neighbourhood import RATE_BPS, UNFED, Line, Neighbourhood, fed


def receiving(upload_x: float) -> Neighbourhood:
    """Return a viewer that gets all pieces."""
    here = Neighbourhood(upload_bps=int(upload_x * RATE_BPS))
    here.serve(here.join(90))
    here.go_on(3)
    return here


def windows_told(here: Neighbourhood) -> int:
    """Return how many windows somebody is told in a second who wants to know."""
    eager = here.join(1)
    here.say(eager, Interested())
    here.heard(eager)
    here.go_on(1)
    return sum(isinstance(message, WindowUpdate) for message in here.heard(eager))


def greeting(here: Neighbourhood) -> list[LiveMessage | None]:
    """Return what a newcomer is told at once."""
    line = here.join(2).connection
    assert isinstance(line, Line)
    said = [messages.parse(data) for data in line.sent]
    return [
        live.parse(message.payload)
        for message in said
        if isinstance(message, Extended) and message.extension == 1
    ]


def test_who_can_feed_nobody_tells_no_windows() -> None:
    """It is to be asked for nothing: its upload is for its own requests."""
    assert windows_told(receiving(3.0)) >= 2
    assert windows_told(receiving(0.2)) == 0


def test_a_newcomer_is_told_what_is_held_by_who_can_feed_others_and_by_nobody_else() -> None:
    has_window = {
        upload_x: WindowUpdate in [type(message) for message in greeting(receiving(upload_x))]
        for upload_x in (3.0, 0.2)
    }
    assert has_window == {3.0: True, 0.2: False}


def rooms_told(here: Neighbourhood, peer: Peer) -> list[Rooms]:
    """Return what somebody is told within a second of those who have room."""
    here.heard(peer)
    here.go_on(1)
    return [message for message in here.heard(peer) if isinstance(message, Rooms)]


def test_all_are_told_once_a_second_of_one_with_room_in_each_substream() -> None:
    here = Neighbourhood(upload_bps=3 * RATE_BPS)
    roomy, other, full = here.join(1), here.join(2), here.join(3)
    here.tell(roomy, Status(False, 4, 2, 0, fed(100)))
    here.tell(other, Status(False, ANY_HOME, 0, 0, UNFED))
    here.tell(full, Status(False, 5, 0, 9, fed(100)))
    assert rooms_told(here, other) == [Rooms(((4, roomy.address),))]
    assert rooms_told(here, full) == [Rooms(((4, roomy.address),))]


def test_rooms_that_nobody_can_call_are_not_told_of() -> None:
    here = Neighbourhood()
    hidden, other = here.join(1, transport=Transport.TCP), here.join(2)
    here.tell(hidden, Status(False, 4, 3, 0, fed(50)))
    here.heard(other)
    here.go_on(1.1)
    assert rooms_told(here, other) == []


def test_where_nobody_has_room_nothing_is_told_of_it() -> None:
    here = Neighbourhood(upload_bps=3 * RATE_BPS)
    full = here.join(3)
    here.tell(full, Status(False, 5, 0, 9, fed(100)))
    assert rooms_told(here, full) == []


def test_a_head_tells_the_publisher_of_its_heir_and_nobody_else_does() -> None:
    here = Neighbourhood(upload_bps=RATE_BPS)
    source, heir = here.join(90), here.join(1)
    home = 4
    here.channel.choker.home = home
    here.tell(heir, Status(False, home, 40, 0, fed(100)))
    here.tell(source, Status(True, ANY_HOME, 9, 0, (0,) * 8))
    assert rooms_told(here, source) == [], "it does not feed us"
    while not any(
        isinstance(each, Subscribe) and each.substream == home for each in here.heard(source)
    ):
        here.go_on(0.1)
    here.tell(source, Feed(home, 0, (b"srce",)))
    for index in range(home, 400, 8):
        here.give(source, index)
        here.go_on(0.02)
    here.channel.choker.home = home
    here.tell(heir, Subscribe(home, 0))
    told = rooms_told(here, source)
    assert told
    assert all(rooms == Rooms(((home, heir.address),)) for rooms in told)


def test_nobody_is_told_that_it_has_room_itself() -> None:
    """It would take itself for a stranger, and call itself."""
    here = Neighbourhood(upload_bps=3 * RATE_BPS)
    one, other = here.join(1), here.join(2)
    here.tell(one, Status(False, 4, 2, 0, fed(100)))
    assert rooms_told(here, one) == []
    here.tell(other, Status(False, 5, 2, 0, fed(100)))
    assert rooms_told(here, one) == [Rooms(((5, other.address),))]
    assert rooms_told(here, other) == [Rooms(((4, one.address),))]
