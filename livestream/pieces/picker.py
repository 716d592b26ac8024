"""The seam `Picker`: which piece next, and from whom?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mypy_extensions import mypyc_attr

__all__ = ["Holder", "Pick", "Picker"]


class Holder(ABC):
    """What a picker may know of a peer."""

    @abstractmethod
    def holds(self, index: int) -> bool:
        """Whether the peer says that it has the piece."""

    @property
    @abstractmethod
    def requests_out(self) -> int:
        """Requests that the peer still owes us."""

    @property
    @abstractmethod
    def expected_wait_us(self) -> int:
        """How long a request sent now would take: round trip and what is queued before it."""


H = TypeVar("H", bound=Holder)


@mypyc_attr(native_class=False)  # mypyc cannot make a generic dataclass with slots.
@dataclass(frozen=True, slots=True)
class Pick(Generic[H]):
    """Ask `holder` for piece `index`; after `timeout_us` without it, ask elsewhere."""

    holder: H
    index: int
    timeout_us: int


@mypyc_attr(allow_interpreted_subclasses=True)
class Picker(ABC, Generic[H]):
    """Chooses what to request. Requests under way are its own to remember until told otherwise."""

    @abstractmethod
    def picks(self, holders: Sequence[H], now: int) -> list[Pick[H]]:
        """Return the requests to send now."""

    @abstractmethod
    def get_timer(self) -> int | None:
        """Return when `picks` wants to be asked again, if nothing else happens."""

    def take_given_up(self) -> list[int]:
        """Return the pieces that were asked for and are of no use any more, each once."""
        return []

    @abstractmethod
    def on_stored(self, index: int, now: int) -> None:
        """A wanted piece is verified and kept."""

    @abstractmethod
    def on_failed(self, index: int, holder: H, now: int) -> None:
        """The holder refused, lied or left: the piece is open again, for others first."""
