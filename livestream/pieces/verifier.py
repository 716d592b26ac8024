"""The seam `Verifier`: is this piece genuine?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum

from mypy_extensions import mypyc_attr

__all__ = ["Verdict", "Verifier"]


class Verdict(Enum):
    """What a verifier found."""

    GENUINE = "genuine"
    FORGED = "forged"
    "Whoever sent it altered it or never checked it: an honest peer cannot have done that."
    STRANGE = "strange"
    "Not forged, but not ours to judge: another epoch. No fault of the sender."


@mypyc_attr(allow_interpreted_subclasses=True)
class Verifier(ABC):
    """Tells genuine pieces from forged ones. Nobody stores or forwards what it did not pass."""

    @abstractmethod
    def verify(self, index: int, data: bytes) -> Verdict:
        """Judge a whole piece as it came off the wire."""
