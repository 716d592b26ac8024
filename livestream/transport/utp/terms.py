"""What a µTP connection is made with: what its handshake agreed on, and what all share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from livestream.transport.allowance import Allowance
from livestream.transport.precedence import Precedence
from livestream.transport.utp.receiving import EarlyBudget

if TYPE_CHECKING:
    from livestream.transport.utp.connection import UtpConnection

__all__ = ["Shared", "Terms"]


class Terms(NamedTuple):
    """What the handshake agreed on."""

    receive_id: int
    "By which the other side addresses us."
    send_id: int
    first_seq: int
    "Of our data."
    peer_seq: int | None
    "The first of theirs; None while we call."


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of an endpoint have in common."""

    budget: EarlyBudget
    delay_target_us: int
    precedence: Precedence
    on_change: Callable[[UtpConnection], None]
    "Called whenever there may be something to send or report."
    scratch: bytearray
    "For the payload of a train, until the stream has taken it."
    allowance: Allowance | None
    "What may be handed to streams; None: everything, at once."
    waiting: dict[UtpConnection, None]
    "Those that keep something for want of allowance, whose turn is next first."
