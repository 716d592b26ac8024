"""How pieces spread: the designs that can be compared (`DESIGNS`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from livestream.sim.baselines import PullParts, RandomParts
from livestream.sim.parts import SimParts

__all__ = ["DESIGNS", "Design"]


@dataclass(frozen=True, slots=True)
class Design:
    """One way for pieces to spread."""

    name: str
    summary: str
    parts: type[SimParts] = SimParts
    substreams: int = 8
    is_checked: bool = True
    "Whether a run ends where a viewer starves, or else what must not happen does (`sim/checks`)."


DESIGNS: Final = {
    design.name: design
    for design in (
        Design("trees", "the product: eight push trees and a mesh that repairs them"),
        Design("pull", "a mesh: everything is asked for", PullParts, is_checked=False),
        Design(
            "random",
            "a random neighbour gets the latest piece that it lacks",
            RandomParts,
            is_checked=False,
        ),
        Design("tree", "one push tree and the product's repairs", substreams=1, is_checked=False),
    )
}
