"""What everybody together has sent and received (`Totals`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livestream.sim.simulation import Simulation

__all__ = ["Totals", "totals_of"]


@dataclass(frozen=True, slots=True)
class Totals:
    """What everybody together has sent and received, bytes."""

    wire: int = 0
    control: int = 0
    publisher: int = 0
    published: int = 0
    "Payload of the pieces that went on the air."
    received: int = 0
    "Of pieces, those included that were there already."
    kept: int = 0
    pieces_kept: int = 0


def totals_of(simulation: Simulation) -> Totals:
    """Return the totals until now."""
    hosts = [viewer.host for viewer in simulation.viewers]
    publisher = simulation.publisher_bytes_out
    stats = [viewer.channel.swarm.stats for viewer in simulation.viewers]
    return Totals(
        wire=sum(host.uplink.bytes_out for host in hosts) + publisher,
        control=sum(host.control_bytes_out for host in (simulation.publisher, *hosts)),
        publisher=publisher,
        published=simulation.ledger.payload_bytes,
        received=sum(each.payload_bytes for each in stats),
        kept=sum(each.kept_bytes for each in stats),
        pieces_kept=sum(each.pieces_received for each in stats),
    )
