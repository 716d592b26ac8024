"""What becomes of requests that nobody answers: they are called off, and count no more."""

from __future__ import annotations

from livestream.machine import MILLISECOND
from livestream.swarm.peer import Peer
from livestream.wire.live import LAG_UNKNOWN_MS, Status, WindowUpdate
from livestream.wire.messages import Cancel, Request
from tests.live.neighbourhood import PIECE_US, SUBSTREAMS, Neighbourhood

HELD = 400


def beside_somebody_silent() -> tuple[Neighbourhood, Peer]:
    """Return a viewer, and its only neighbour, who pushes one piece and answers nothing."""
    here = Neighbourhood()
    here.next_index = 1
    other = here.join(1)
    here.next_index = HELD
    here.tell(other, Status(False, 0xFF, 0, 0, (LAG_UNKNOWN_MS,) * SUBSTREAMS))
    here.tell(other, WindowUpdate(0, 0, (1 << HELD) - 1))
    here.give(
        other, HELD - 1
    )  # Only by pieces that are here it is known when others were captured.
    return here, other


def test_what_did_not_come_in_time_is_called_off() -> None:
    here, other = beside_somebody_silent()
    here.go_on(8)
    said = here.heard_plainly(other)
    asked = {message.index for message in said if isinstance(message, Request)}
    called_off = [message.index for message in said if isinstance(message, Cancel)]
    assert asked
    assert sorted(called_off) == sorted(asked), "each once"
    assert not other.requested


def test_who_owed_us_much_is_asked_again_once_that_is_over() -> None:
    here, other = beside_somebody_silent()
    here.go_on(8)
    here.heard_plainly(other)
    end = HELD + 8_000 * MILLISECOND // PIECE_US
    here.next_index = end
    here.tell(other, WindowUpdate(HELD, end - 9, 0x1FF))
    here.give(other, end - 9)
    here.go_on(1)
    said = here.heard_plainly(other)
    assert {message.index for message in said if isinstance(message, Request)} & set(
        range(end - 8, end)
    )
